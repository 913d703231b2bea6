"""The audit routes over the shipped API and scheduler, real Postgres and NATS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from api_whole import ADMIN_KEY, BIN, Hands, Whole, hands, until, whole

from lutlab_events import subjects
from lutlab_ledger.verify import verify

MEMBER = {"owner": "ada"}


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(postgres_url, nats_url, tmp_path_factory.mktemp("audit")) as lab:
        yield lab


@pytest.fixture
async def helper(lab: Whole) -> AsyncIterator[Hands]:
    async with hands(lab.nats_url) as helper:
        yield helper


async def log_of(api: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = (await api.get(f"/api/v1/audit?format=jsonl{query}")).raise_for_status()
    return [json.loads(line) for line in answer.text.splitlines()]


async def session(api: httpx.AsyncClient, helper: Hands) -> tuple[str, int]:
    """A job that got a board; the job and the board."""
    job_id = (await api.post("/submit", files={"file": ("design.v", b"module m(); endmodule")})).json()["job_id"]

    async def complete() -> dict[str, Any] | None:
        job: dict[str, Any] = (await api.get(f"/jobs/{job_id}")).json()
        return job if job["status"] == "complete" else None

    job = await until("the job's end", complete)
    return job_id, job["fpga_id"]


async def release(api: httpx.AsyncClient, board: int) -> None:
    await api.post(f"/fpga/{board}/session/release")

    async def idle() -> bool:
        return bool((await api.get(f"/fpga/{board}")).json()["state"] == "idle")

    await until("the board to be idle", idle)


async def test_the_log_is_told_filtered_and_followed(lab: Whole, helper: Hands, postgres_url: str) -> None:
    async with lab.client() as api:
        heard: list[int] = []
        resumed: list[int] = []

        async def follow(after: int, into: list[int], enough: int) -> None:
            headers = {"Last-Event-ID": str(after)}
            async with api.stream("GET", "/api/v1/events/stream", headers=headers, timeout=20) as events:
                async for line in events.aiter_lines():
                    if line.startswith("data: "):
                        into.append(json.loads(line[6:])["position"])
                    if len(into) >= enough:
                        return

        following = asyncio.create_task(follow(0, heard, 10))
        job_id, board = await session(api, helper)
        await following
        await follow(heard[4], resumed, 5)
        assert heard == list(range(1, 11))
        assert resumed == list(range(6, 11))
        rows = await log_of(api)
        assert [r["position"] for r in rows] == list(range(1, len(rows) + 1))
        assert {r["stream"] for r in await log_of(api, f"&stream=board-{board}")} == {f"board-{board}"}
        assert {r["type"] for r in await log_of(api, "&type=board.registered.v1")} == {"board.registered.v1"}
        assert all(r["type"].startswith("job.") for r in await log_of(api, "&type=job."))
        correlation = next(r["correlation_id"] for r in rows if r["stream"] == f"job-{job_id}")
        caused = await log_of(api, f"&correlation_id={correlation}")
        assert {r["stream"] for r in caused} >= {f"job-{job_id}", f"board-{board}"}
        middle = rows[len(rows) // 2]["at"].replace("+", "%2B")
        early, late = await log_of(api, f"&before={middle}"), await log_of(api, f"&since={middle}")
        assert [*early, *late] == rows
        verdict = await verify(postgres_url)
        assert verdict.intact
        assert verdict.end.hash.hex() == (await log_of(api, f"&after={verdict.end.position - 1}"))[0]["hash"]
        await release(api, board)


async def test_the_past_is_what_was_believed_then(lab: Whole, helper: Hands) -> None:
    async with lab.client() as api:
        _, board = await session(api, helper)
        await release(api, board)
        rows = await log_of(api, f"&stream=board-{board}")
        told = await asyncio.gather(*(api.get(f"/api/v1/audit/state/board-{board}?at={r['position']}") for r in rows))
        states = [t.json()["state"]["state"] for t in told]
        assert states[0] == states[-1] == "idle"
        assert {"programming", "reserved", "resetting"} <= set(states)
        reserved = next(r for r, s in zip(rows, states, strict=True) if s == "reserved")
        by_time = (await api.get(f"/api/v1/audit/state/board-{board}", params={"at": reserved["at"]})).json()
        assert (by_time["position"], by_time["view"]["owner"]) == (reserved["position"], "admin")
        now = (await api.get(f"/api/v1/audit/state/board-{board}")).json()
        assert now["view"]["state"] == (await api.get(f"/fpga/{board}")).json()["state"]
        assert (await api.get("/api/v1/audit/state/board-99")).status_code == 404
        assert (await api.get("/api/v1/audit/state/board-0?at=0")).status_code == 404


async def test_refusals_are_recorded_with_their_reason(lab: Whole, helper: Hands) -> None:
    async with lab.client() as api:
        headers = {"Idempotency-Key": str(uuid4())}
        first = await api.post("/fpga/0/session/release", headers=headers)
        again = await api.post("/fpga/0/session/release", headers=headers)
        other = await api.post("/fpga/1/session/release", headers=headers)
        assert first.json() == again.json()
        assert (first.status_code, other.status_code) == (404, 409)
        listed = (await api.get("/api/v1/commands?code=no_active_session&type=ReleaseSession")).json()
        assert [x["actor"] for x in listed] == ["admin"]
        assert listed[0]["message"] == first.json()["detail"]["message"]
        refused = (await api.get("/api/v1/commands?rejected=true&limit=1000")).json()
        assert "ok" not in {x["code"] for x in refused}


async def test_a_dead_letter_is_replayed_once_it_makes_sense(lab: Whole, helper: Hands) -> None:
    """Nonsense stays dead, each time anew; other origins' letters are kept too, and reach their subject again."""
    js = helper.nc.jetstream()
    subject = subjects.command("main", "RevokeKey")
    await js.publish(subject, b"nonsense")
    async with lab.client() as api:

        async def letters() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await api.get("/api/v1/deadletters")).json()
            return found or None

        (letter,) = await until("the letter", letters)
        assert (letter["origin"], letter["subject"], letter["text"]) == ("COMMANDS", subject, "nonsense")
        assert "nonsense" in letter["reason"]
        replayed = await api.post(f"/api/v1/deadletters/{letter['letter_id']}/replay")
        assert replayed.json()["replayed_by"] == "admin"
        (again,) = await until("the letter to come back", letters)
        assert again["letter_id"] == letter["letter_id"]
        # What an agent could not read goes back to the agents' stream, whoever may publish there; and nowhere else.
        work, forged = "work.main.agent.nobody", subjects.command("main", "IssueKey")
        for where in (work, forged):
            dead = {subjects.H_DEAD_SUBJECT: where}
            await js.publish(subjects.dead("main", "WORK"), b"from the future", headers=dead)

        async def both() -> dict[str, Any] | None:
            found = {x["subject"]: x for x in await letters() or [] if x["origin"] == "WORK"}
            return found if len(found) == 2 else None

        late = await until("the other letters", both)
        assert (await api.post(f"/api/v1/deadletters/{late[work]['letter_id']}/replay")).status_code == 200
        assert (await js.get_last_msg(subjects.WORK.name, work)).data == b"from the future"
        refused = await api.post(f"/api/v1/deadletters/{late[forged]['letter_id']}/replay")
        assert refused.status_code == 422


async def test_the_commands_of_the_command_line(lab: Whole, helper: Hands, postgres_url: str) -> None:
    env = {
        **os.environ,
        "LUTLAB_API_URL": lab.url(),
        "LUTLAB_API_KEY": ADMIN_KEY,
        "LUTLAB_DATABASE_URL": postgres_url,
    }

    async def run(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            BIN / "lutlab", *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    end = (await run("audit", "verify")).strip()
    follower = await asyncio.create_subprocess_exec(
        BIN / "lutlab",
        "events",
        "--follow",
        "--after",
        "1",
        env=env,
        stdout=asyncio.subprocess.PIPE,
        # Whoever runs the tests in the background has them ignore the interrupts of a terminal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert follower.stdout is not None
    first = (await asyncio.wait_for(follower.stdout.readline(), 20)).split()
    assert first[0] == b"2"
    follower.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(follower.wait(), 10) == 130
    verified, state, exported, views = await asyncio.gather(
        run("audit", "verify", "--noted", end),
        run("audit", "state", "board-0", "--at", end.partition(":")[0]),
        run("audit", "export", "--csv", "--stream", "board-0"),
        run("replay", "--verify"),
    )
    assert int(verified.partition(":")[0]) >= int(end.partition(":")[0])
    assert json.loads(state)["stream"] == "board-0"
    assert exported.startswith("position,at,stream")
    assert views == ""  # no difference
    assert "RevokeKey" in await run("deadletters", "list", "--replayed")
