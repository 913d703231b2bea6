"""Identities, limits and /api/v1 with the real scheduler, Postgres and NATS, two API processes, and an HTTP identity
provider; at the end no secret of the whole run is in any log or table."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest
from api_whole import ADMIN_KEY, Hands, Whole, hands, until, whole
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lutlab_api.app.auth import TAG_CHARS
from lutlab_events import subjects
from lutlab_events.busmsg import KeyAnswer
from lutlab_events.ids import digest

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
JOBS_PER_HOUR = 40
WEBSOCKETS = 2
TOKENS = {"ghp_graces-very-secret-token": "grace", "ghp_mallorys-very-secret-token": "mallory"}


class Provider(BaseHTTPRequestHandler):
    """`GET /user`, as GitHub answers it."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        login = TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        body = json.dumps({"login": login, "id": 7} if login else {"message": "Bad credentials"}).encode()
        self.send_response(200 if login and self.path == "/user" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *parts: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module")
def lab(
    postgres_url: str, nats_url: str, provider_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    settings = {
        "LUTLAB_GITHUB_API_URL": provider_url,
        "LUTLAB_GITHUB_LOGINS": "grace",
        "LUTLAB_LIMIT_JOBS_PER_HOUR": str(JOBS_PER_HOUR),
        "LUTLAB_WEBSOCKETS_MAX": str(WEBSOCKETS),
        "LUTLAB_LOG_LEVEL": "DEBUG",
        "LUTLAB_KEY_MEMORY_S": "60",  # so that what is said of revocation and rotation is shown of their events
    }
    with whole(postgres_url, nats_url, tmp_path_factory.mktemp("identities"), apis=2, **settings) as lab:
        yield lab


@pytest.fixture(scope="module")
def secrets() -> set[str]:
    """Every secret of this module's run."""
    return {ADMIN_KEY, *TOKENS}


@pytest.fixture
async def helper(lab: Whole) -> AsyncIterator[Hands]:
    async with hands(lab.nats_url, boards=3) as helper:
        yield helper


async def issue(lab: Whole, secrets: set[str], **wish: Any) -> str:
    async with lab.client() as root:
        answer = await root.post("/api/v1/keys", json=wish)
    assert answer.status_code == 201, answer.text
    secret = str(answer.json()["api_key"])
    secrets.add(secret)
    return secret


async def test_a_walk_through_the_clean_api(lab: Whole, helper: Hands, secrets: set[str]) -> None:
    helper.build_gate.clear()
    key = await issue(lab, secrets, owner="ada", scopes=["submit", "run", "read"], team="red")
    async with lab.client(key) as ada, lab.client(key, 1) as elsewhere:
        answer = await ada.post("/api/v1/jobs", files={"file": ("design.v", b"// walk")})
        assert answer.status_code == 202, answer.text
        path = f"/api/v1/jobs/{answer.json()['job_id']}"
        assert [q["job_id"] for q in (await ada.get("/api/v1/queue")).json()["queue"]] == [answer.json()["job_id"]]
        poll = asyncio.create_task(elsewhere.get(path, headers={"Prefer": "wait=10"}))
        await asyncio.sleep(0.3)
        assert not poll.done()
        started = time.monotonic()
        helper.build_gate.set()
        job = (await poll).json()
        assert (job["status"], job["filename"]) == ("complete", "design.v")
        assert time.monotonic() - started < 5  # by news: the look without news is every 5 s, the wait 10 s
        tag = (await ada.get(path)).headers["ETag"]
        assert (await elsewhere.get(path, headers={"If-None-Match": tag})).status_code == 304
        names = [a["name"] for a in (await ada.get(f"{path}/artifacts")).json()["artifacts"]]
        assert set(names) == {"source", "bitstream.bit", "report.json", "build.log"}
        assert (await ada.get(f"{path}/artifacts/source")).content == b"// walk"

        async def archived() -> bool:
            return (await ada.get(f"{path}/artifacts/bitstream.bit")).status_code == 200

        await until("the bitstream in the ledger", archived)
        board = job["fpga_id"]
        run = await ada.post(f"/api/v1/boards/{board}/run", json={"op": 1, "address": 0, "data": [7]})
        assert run.status_code == 202, run.text
        result = await ada.get(f"/api/v1/jobs/{run.json()['job_id']}/result")
        assert result.json() == {"ok": True, "data": [7]}
        assert result.headers["X-RateLimit-Limit"] == "300"
        (session,) = (await ada.get("/api/v1/sessions")).json()["sessions"]
        assert (await ada.delete(f"/api/v1/sessions/{session['session_id']}")).status_code == 202
        page = (await ada.get("/api/v1/jobs?per_page=2")).json()
        assert (page["total"], len(page["jobs"])) == (3, 2)
        rest = (await ada.get("/api/v1/jobs", params={"cursor": page["next_cursor"]})).json()
        assert [j["type"] for j in rest["jobs"]] == ["build_and_program"]
    async with lab.client() as root:
        agents = (await root.get("/api/v1/agents")).json()["agents"]
        assert [(a["agent_id"], a["state"]) for a in agents] == [("bench", "present")]


async def test_teams_roles_and_scopes_in_the_ledger(lab: Whole, helper: Hands, secrets: set[str]) -> None:
    mate = await issue(lab, secrets, owner="cy", role="viewer", team="red")
    stranger = await issue(lab, secrets, owner="eve")
    async with lab.client(mate) as cy, lab.client(stranger) as eve:
        jobs = (await cy.get("/api/v1/jobs?owner=ada")).json()["jobs"]
        assert jobs
        job = f"/api/v1/jobs/{jobs[-1]['job_id']}"
        assert (await cy.get(job)).status_code == 200
        assert (await cy.post("/api/v1/jobs", files={"file": ("design.v", b"//")})).status_code == 403
        assert (await eve.get(job)).json()["error"]["code"] == "not_your_job"
        assert (await eve.get("/api/v1/agents")).json()["error"]["code"] == "scope_missing"


async def test_rotation_and_last_use(lab: Whole, helper: Hands, secrets: set[str]) -> None:
    key = await issue(lab, secrets, owner="ada", label="to rotate")
    async with lab.client(key) as old, lab.client(key, 1) as elsewhere:
        assert (await elsewhere.get("/api/v1/jobs")).status_code == 200
        rotated = (await old.post("/api/v1/keys/me/rotate", headers={"Idempotency-Key": "r1"})).json()
        secrets.add(rotated["api_key"])
        assert (await old.get("/api/v1/jobs")).status_code == 401

        async def refused() -> bool:
            return (await elsewhere.get("/api/v1/jobs")).status_code == 401

        await until("rotation in the other process", refused, 2.5)
    async with lab.client(rotated["api_key"]) as new:
        me = (await new.get("/auth/keys/me")).json()
        assert (me["key_id"], me["label"]) == (rotated["key_id"], "to rotate")

        async def used() -> bool:
            return (await new.get("/auth/keys/me")).json()["last_used_at"] is not None

        await until("the last use", used, 12)

    async def told(secret: str) -> str:
        """What an agent hears of a bridge that was opened with this secret."""
        name = f"{me['key_id']}.{digest(secret.encode())[:TAG_CHARS]}"
        answer = await helper.nc.request(subjects.key_question("main"), name.encode(), timeout=5)
        return msgspec.json.decode(answer.data, type=KeyAnswer).refused

    assert await told(rotated["api_key"]) == ""
    assert "rotated" in await told(key)


async def test_logging_in_over_http(lab: Whole, secrets: set[str]) -> None:
    good, bad = TOKENS
    async with lab.client(None) as client:
        told = (await client.post("/auth/github/exchange", json={"github_token": good})).json()
        assert told["github_username"] == "grace", told
        secrets.add(told["api_key"])
        for token, status in ((bad, 403), ("ghp_unknown", 401)):
            answer = await client.post("/auth/github/exchange", json={"github_token": token})
            assert (answer.status_code, bool(answer.json()["detail"]["message"])) == (status, True)
    async with lab.client(told["api_key"], 1) as grace:
        assert (await grace.get("/auth/keys/me")).json()["owner"] == "grace@github"
        assert (await grace.delete("/auth/keys/me")).status_code == 204
    assert set(Provider.seen) == {"/user"}


async def test_the_page_with_curl_runs_as_written(lab: Whole, helper: Hands, secrets: set[str], tmp_path: Path) -> None:
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", PAGE.read_text())
    assert len(blocks) >= 8
    script = "set -euo pipefail\n" + "\n".join(blocks) + '\necho\necho "KEY=$KEY"\n'
    env = {**os.environ, "LUTLAB_URL": lab.url(), "LUTLAB_KEY": ADMIN_KEY}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=tmp_path, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 100)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out.decode()[-2000:], errors.decode())
    told = out.decode()
    assert '{"ok":true,"data":[0,0,0,0]}' in told  # the test plays a memory, not the page's design
    secrets.update(re.findall(r'"api_key":"([^"]+)"', told))
    secrets.add(told.rpartition("KEY=")[2].strip())


async def test_two_processes_share_a_limit(lab: Whole, secrets: set[str]) -> None:
    key = await issue(lab, secrets, owner="busy")
    async with lab.client(key) as here, lab.client(key, 1) as there:
        codes: list[int] = []
        for number in range(JOBS_PER_HOUR + 10):
            answer = await (here, there)[number % 2].post("/api/v1/jobs", files={"nothing": ("x", b"")})
            codes.append(answer.status_code)
        assert codes.count(422) + codes.count(429) == len(codes)
        assert JOBS_PER_HOUR - 2 <= codes.count(422) <= JOBS_PER_HOUR
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0


async def test_websockets_are_counted_over_all_processes(lab: Whole, helper: Hands, secrets: set[str]) -> None:
    key = await issue(lab, secrets, owner="ws")
    async with lab.client(key) as api, AsyncExitStack() as stack:
        boards = []
        for _ in range(3):
            answer = await api.post("/submit", files={"file": ("design.v", f"// {uuid4()}".encode())})
            job = await api.get(f"/api/v1/jobs/{answer.json()['job_id']}", headers={"Prefer": "wait=10"})
            boards.append(job.json()["fpga_id"])

        async def open_on(number: int, board: int) -> None:
            url = lab.url(number).replace("http", "ws", 1) + f"/fpga/{board}/stream"
            await stack.enter_async_context(connect(url, additional_headers={"X-API-Key": key}, proxy=None))

        await open_on(0, boards[0])
        await open_on(1, boards[1])
        with pytest.raises(InvalidStatus) as refused:
            await open_on(1, boards[2])
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"]


async def test_the_command_line_issues_lists_rotates_and_revokes(lab: Whole, secrets: set[str]) -> None:
    async def lutlab(*arguments: str, key: str = ADMIN_KEY) -> str:
        env = {**os.environ, "LUTLAB_API_URL": lab.url(), "LUTLAB_API_KEY": key}
        command = [Path(sys.executable).parent / "lutlab", "keys", *arguments]
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=-1, stderr=-1)
        printed, problem = await process.communicate()
        assert process.returncode == 0, problem.decode()
        return printed.decode().strip()

    key = await lutlab("issue", "eve", "--scope", "read", "--scope", "run", "--team", "reds", "--expires", "2d")
    async with lab.client(key) as eve:
        told = (await eve.get("/auth/keys/me")).json()
        assert (told["owner"], told["role"], told["team"]) == ("eve", "member", "reds")
        assert sorted(told["scopes"]) == ["read", "run"]
        left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
        refused = await eve.post("/submit", files={"file": ("design.v", b"// x")})
        assert (refused.status_code, refused.json()["detail"]["error"]) == (403, "scope_missing")
    other = await lutlab("rotate", "me", key=key)
    secrets |= {key, other}
    assert other != key and told["key_id"] in await lutlab("list", key=other)
    await lutlab("revoke", told["key_id"])
    async with lab.client(other) as eve:
        assert (await eve.get("/auth/keys/me")).status_code == 401


def test_the_first_look_is_the_documents(lab: Whole, secrets: set[str]) -> None:
    document = httpx.get(f"{lab.url()}/openapi.json", timeout=10).json()
    assert "/api/v1/jobs/{job_id}/artifacts/{name}" in document["paths"]


async def test_no_secret_is_in_any_log_or_table(lab: Whole, postgres_url: str, secrets: set[str]) -> None:
    """Runs last: over everything that the tests above left behind."""
    assert len(secrets) >= 8
    logs = [path for service in (*lab.apis, lab.scheduler) for path in [Path(service.log)]]
    texts = {path.name: path.read_text() for path in logs}
    assert all("http_request_handled" in texts[f"api-{n}.log"] for n in range(2))
    connection = await asyncpg.connect(postgres_url)
    try:
        tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        assert len(tables) > 10
        for (table,) in tables:
            rows = await connection.fetch(f'select t::text from "{table}" t')
            texts[table] = "\n".join(row[0] for row in rows)
    finally:
        await connection.close()
    assert "key-" in texts["events"]
    found = [(where, secret) for where, text in texts.items() for secret in secrets if secret in text]
    assert found == []
