"""/api/v1: its error form, hints, pages, conditional reads, long polls, artifacts."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from api_fakes import ADA, BOB, ROOT, SESSION, T0, Lab, board, error_of, job, reserved

from lutlab_api.domain.views import AgentView
from lutlab_api.web.paging import cursor_of
from lutlab_events.commands import ReleaseSession, SubmitBuild
from lutlab_events.ids import digest
from lutlab_events.values import BoardState, JobStatus, Scope

FILE = {"file": ("design.v", b"module m; endmodule")}


async def error(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> dict[str, Any]:
    answer = await client.request(method, path, **more)
    error_of(answer)
    found: dict[str, Any] = answer.json()["error"]
    return found


async def test_hints_name_the_field_and_the_nearest_valid_value(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(reserved())
    cases: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
        ("GET", "/api/v1/jobs?statsu=queued", {}, {"field": "statsu", "suggestion": "status"}),
        ("GET", "/api/v1/jobs?status=complet", {}, {"field": "status", "suggestion": "complete"}),
        (
            "POST",
            "/api/v1/boards/0/run",
            {"json": {"op": 1, "adress": 0}},
            {"field": "adress", "suggestion": "address"},
        ),
        ("POST", "/api/v1/keys", {"json": {"owner": "ada", "scopes": ["submitt"]}}, {"suggestion": "submit"}),
        ("POST", "/api/v1/keys", {"json": {"owner": "ada", "lable": "x"}}, {"field": "lable", "suggestion": "label"}),
        ("POST", "/api/v1/jobs", {"files": {"fiel": ("design.v", b"x")}}, {"field": "fiel", "suggestion": "file"}),
        ("GET", "/api/v1/boards/x", {}, {"field": "fpga_id"}),
        (
            "POST",
            "/api/v1/boards/0/run",
            {"json": {"ops": [{"op": 4, "address": 0, "vlaue": 1}]}},
            {"field": "ops.0.vlaue", "suggestion": "value"},
        ),
        ("GET", "/api/v1/jobs?per_page=0", {}, {"field": "per_page"}),
        ("GET", "/api/v1/jobs?cursor=!!", {}, {"field": "cursor"}),
    ]
    for method, path, more, details in cases:
        found = await error(ada, method, path, **more)
        assert details.items() <= found["details"].items(), (path, found)
        if "suggestion" in details:
            assert details["suggestion"] in found["message"], found
    assert lab.commands.sent == []


async def test_hints_are_about_this_request(ada: httpx.AsyncClient) -> None:
    """Not about what some other one knows, least of all by the same name."""
    for method, path, body in (
        ("POST", "/api/v1/projects", {"op": 1}),
        ("POST", "/api/v1/keys", {"owner": "ada", "name": "x"}),
        ("GET", "/api/v1/projects?foo=1", None),
    ):
        found = await error(ada, method, path, json=body)
        assert "did you mean" not in found["message"]
        assert "suggestion" not in found["details"]
    for content in (b"[" * 5000, b"\xff", b'{"name": ' + b"9" * 5000 + b"}"):
        answer = await ada.post("/api/v1/projects", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert "POST /api/v1/projects cannot be read" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/projects", "/api/v1/boards/0/run"])
async def test_what_was_sent_is_not_sent_back_whole(ada: httpx.AsyncClient, path: str) -> None:
    for body in ({"x" * 80_000: 1}, {"owner": "y" * 80_000, "name": "y" * 80_000, "op": "y" * 80_000}):
        answer = await ada.post(path, json=body)
        assert answer.status_code in (400, 422)
        assert len(answer.text) < 1500, answer.text[:300]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "NOT_FOUND"),
        ("PUT", "/api/v1/boards", 405, "method_not_allowed"),
        ("GET", "/api/v1/boards/9", 404, "fpga_not_found"),
        ("GET", "/api/v1/jobs/x", 404, "job_not_found"),
        ("GET", f"/api/v1/sessions/{UUID(int=4)}", 404, "session_not_found"),
        ("DELETE", f"/api/v1/sessions/{UUID(int=4)}", 404, "session_not_found"),
        ("GET", "/api/v1/keys/x", 404, "key_not_found"),
        ("GET", f"/api/v1/jobs/{UUID(int=1)}/artifacts/x", 404, "artifact_not_found"),
        ("GET", "/api/v1/agents", 403, "scope_missing"),
    ],
)
async def test_errors_have_one_form(
    lab: Lab, ada: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    lab.ledger.add(job(1))
    assert error_of(await ada.request(method, path))[:2] == (status, code)


async def test_pages_and_cursors_of_jobs(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(*(job(n) for n in range(1, 8)))
    first = (await ada.get("/api/v1/jobs?per_page=3")).json()
    assert (first["total"], first["page"], first["per_page"]) == (7, 1, 3)
    assert [j["job_id"] for j in first["jobs"]] == [str(UUID(int=n)) for n in (7, 6, 5)]
    lab.ledger.add(job(8))  # does not shift what the cursor gives
    second = (await ada.get("/api/v1/jobs", params={"per_page": 3, "cursor": first["next_cursor"]})).json()
    assert [j["job_id"] for j in second["jobs"]] == [str(UUID(int=n)) for n in (4, 3, 2)]
    third = (await ada.get("/api/v1/jobs", params={"per_page": 3, "cursor": second["next_cursor"]})).json()
    assert ([j["job_id"] for j in third["jobs"]], third["next_cursor"]) == ([str(UUID(int=1))], None)
    page = (await ada.get("/api/v1/jobs?page=2&per_page=3")).json()
    assert [j["job_id"] for j in page["jobs"]] == [str(UUID(int=n)) for n in (5, 4, 3)]
    assert (await ada.get("/api/v1/builds?page=9")).json()["jobs"] == []


async def test_pages_of_boards(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(*(board(n) for n in range(5)))
    seen, cursor = [], None
    while True:
        query = {"per_page": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await ada.get("/api/v1/boards", params=query)).json()
        seen += [b["fpga_id"] for b in page["boards"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [0, 1, 2, 3, 4]
    assert [b["fpga_id"] for b in (await ada.get("/api/v1/boards?page=2&per_page=3")).json()["boards"]] == [3, 4]


async def test_a_cursor_is_not_shifted_by_what_comes_and_goes(lab: Lab, ada: httpx.AsyncClient) -> None:
    """Neither is a board left out because one before it was forgotten, nor told twice because one came."""

    async def page(path: str, **query: str) -> tuple[list[int], str | None]:
        answer = (await ada.get(path, params={"per_page": "2", **query})).json()
        entries = answer.get("boards") or answer["queue"]
        return [each.get("place", each["fpga_id"]) for each in entries], answer["next_cursor"]

    lab.ledger.add(*(board(n) for n in (1, 2, 3, 4)))
    shown, cursor = await page("/api/v1/boards")
    assert (shown, bool(cursor)) == ([1, 2], True)
    del lab.ledger.board_views[1]
    assert await page("/api/v1/boards", cursor=str(cursor)) == ([3, 4], None)
    lab.ledger.add(board(0), board(1))
    assert await page("/api/v1/boards", cursor=str(cursor)) == ([3, 4], None)
    lab.ledger.add(*(job(n, status=JobStatus.QUEUED) for n in (1, 2, 3, 4)))
    shown, first = await page("/api/v1/queue")
    lab.ledger.add(job(1))  # the first in line is through, and everybody moves up
    assert await page("/api/v1/queue", cursor=str(first)) == ([2, 3], None)
    assert (await error(ada, "GET", f"/api/v1/agents?cursor={cursor}"))["code"] == "scope_missing"
    for wrong in (cursor_of("2"), cursor_of('["x"]'), cursor_of("[[1]]"), cursor_of("{}")):
        found = await error(ada, "GET", f"/api/v1/boards?cursor={wrong}")
        assert (found["code"], found["details"]) == ("invalid_cursor", {"field": "cursor"}), wrong


async def test_the_last_page_has_no_cursor_even_if_it_is_full(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(*(job(n) for n in range(1, 5)))
    first = (await ada.get("/api/v1/jobs?per_page=2")).json()
    last = (await ada.get("/api/v1/jobs", params={"per_page": 2, "cursor": first["next_cursor"]})).json()
    assert (len(last["jobs"]), last["next_cursor"]) == (2, None)


@pytest.mark.parametrize("path", ["/api/v1/boards/0", f"/api/v1/jobs/{UUID(int=1)}", f"/jobs/{UUID(int=1)}", "/fpga/0"])
async def test_what_has_not_changed_is_not_sent_again(lab: Lab, ada: httpx.AsyncClient, path: str) -> None:
    lab.ledger.add(board(0), job(1, status=JobStatus.RUNNING))
    first = await ada.get(path)
    tag = first.headers["ETag"]
    again = await ada.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    lab.ledger.add(board(0, BoardState.ERROR), job(1))
    changed = await ada.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json() == first.json()) == (200, False)


async def test_a_long_poll_answers_when_the_job_ends(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, status=JobStatus.RUNNING))
    stream = f"job-{UUID(int=1)}"
    poll = asyncio.create_task(ada.get(f"/api/v1/jobs/{UUID(int=1)}", headers={"Prefer": "respond-async, wait=30"}))
    await lab.changes.watched(stream)
    lab.changes.happened(stream)  # a stage, say: not the end
    await asyncio.sleep(0.02)
    assert not poll.done()
    lab.ledger.add(job(1))
    lab.changes.happened(stream)
    answer = await asyncio.wait_for(poll, 5)
    assert (answer.json()["status"], answer.headers["Preference-Applied"]) == ("complete", "wait=30")
    assert lab.changes.watchers[stream] == []


async def test_a_long_poll_ends_with_its_time_and_with_any_change(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, status=JobStatus.RUNNING))
    path, stream = f"/api/v1/jobs/{UUID(int=1)}", f"job-{UUID(int=1)}"
    tag = (await ada.get(path)).headers["ETag"]
    poll = asyncio.create_task(ada.get(path, headers={"Prefer": "wait=30", "If-None-Match": tag}))
    await lab.changes.watched(stream)
    lab.clock.seconds += 31
    lab.changes.happened(stream)
    assert (await asyncio.wait_for(poll, 5)).status_code == 304
    poll = asyncio.create_task(ada.get(path, headers={"Prefer": "wait=30", "If-None-Match": tag}))
    await lab.changes.watched(stream)
    lab.ledger.add(job(1, status=JobStatus.RUNNING, stage="pack"))
    lab.changes.happened(stream)
    assert (await asyncio.wait_for(poll, 5)).json()["build_stage"] == "pack"


async def test_only_so_many_wait(lab: Lab) -> None:
    lab = Lab(waits_max=0)
    lab.ledger.add(job(1, status=JobStatus.RUNNING))
    async with lab.client() as ada:
        answer = await asyncio.wait_for(ada.get(f"/api/v1/jobs/{UUID(int=1)}", headers={"Prefer": "wait=30"}), 5)
        assert answer.json()["status"] == "running"


async def test_nobody_takes_all_places_to_wait() -> None:
    async def read() -> None:
        return

    lab = Lab(waits_max=10)
    until = lab.services.waiting.until
    tasks = [asyncio.create_task(until("x", read, lambda _: False, 30, "owner:ada")) for _ in range(12)]
    await asyncio.sleep(0.01)
    assert lab.services.waiting.waits == 8
    tasks.append(asyncio.create_task(until("x", read, lambda _: False, 30, "owner:bob")))
    await asyncio.sleep(0.01)
    assert lab.services.waiting.waits == 9
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert lab.services.waiting.waits == 0


async def test_sessions_queue_and_agents(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(reserved(0), board(1), job(1), job(2, status=JobStatus.QUEUED, owner="bob"))
    lab.ledger.add(job(3, status=JobStatus.RUNNING))
    lab.ledger.agent_views = [AgentView(agent_id="a1", site="main", state="present", board_keys=("b",), updated_at=T0)]
    sessions = (await ada.get("/api/v1/sessions")).json()["sessions"]
    assert [s["session_id"] for s in sessions] == [str(SESSION)]
    assert (await ada.get(f"/api/v1/sessions/{SESSION}")).json() == sessions[0]
    queue = (await ada.get("/api/v1/queue")).json()["queue"]
    assert [(q["place"], q["owner"], q["status"]) for q in queue] == [(1, "bob", "queued"), (2, "ada", "running")]
    async with lab.client(ROOT) as root:
        assert (await root.get("/api/v1/agents")).json()["agents"][0]["agent_id"] == "a1"
        assert (await root.get("/api/v1/agents/a1")).json()["state"] == "present"
        assert error_of(await root.get("/api/v1/agents/a2"))[:2] == (404, "agent_not_found")
    once = {"Idempotency-Key": "end"}
    ended = await ada.delete(f"/api/v1/sessions/{SESSION}", headers=once)
    sent = lab.last(ReleaseSession)
    assert (ended.status_code, sent.fpga_id, sent.session_id) == (202, 0, SESSION)
    lab.ledger.add(board(0))
    again = await ada.delete(f"/api/v1/sessions/{SESSION}", headers=once)
    assert (again.status_code, again.json()) == (202, ended.json())
    assert error_of(await ada.delete(f"/api/v1/sessions/{SESSION}"))[:2] == (404, "session_not_found")
    other = await ada.delete(f"/api/v1/sessions/{UUID(int=78)}", headers=once)
    assert error_of(other)[:2] == (409, "idempotency_mismatch")


async def test_a_design_goes_to_the_board_named_or_to_any(lab: Lab, ada: httpx.AsyncClient) -> None:
    assert (await ada.post("/api/v1/jobs?fpga_id=3", files=FILE, data={"top": "m"})).status_code == 202
    assert (lab.last(SubmitBuild).fpga_id, lab.last(SubmitBuild).top) == (3, "m")
    assert (await ada.post("/api/v1/jobs", files=FILE)).status_code == 202
    assert lab.last(SubmitBuild).fpga_id is None


async def test_artifacts_are_for_their_owner(public_lab: Lab) -> None:
    lab = public_lab
    lab.ledger.add(job(1))
    source, bits = b"module m; endmodule", b"\xff\x00bits"
    lab.ledger.blobs = {digest(source): source, digest(bits): bits}
    lab.ledger.logs[UUID(int=1)] = "yosys was here\n"
    lab.ledger.details[UUID(int=1)] = {
        "source_digest": digest(source),
        "filename": "design.v",
        "report": {"fmax_mhz": 88.5},
        "bitstream": {"digest": digest(bits), "size_bytes": len(bits)},
    }
    base = f"/api/v1/jobs/{UUID(int=1)}/artifacts"
    async with lab.client(ADA) as ada, lab.client(BOB) as bob, lab.client(None) as nobody:
        listed = {a["name"]: a for a in (await nobody.get(base)).json()["artifacts"]}
        assert set(listed) == {"source", "bitstream.bit", "report.json", "build.log"}
        assert listed["bitstream.bit"]["sha256"] == digest(bits)
        got = await ada.get(listed["bitstream.bit"]["url"])
        assert (got.content, got.headers["Content-Type"]) == (bits, "application/octet-stream")
        assert (await ada.get(f"{base}/source")).content == source
        assert "design.v" in (await ada.get(f"{base}/source")).headers["Content-Disposition"]
        for name, told in (
            ("схема.v", "filename=\"_____.v\"; filename*=UTF-8''%D1%81%D1%85%D0%B5%D0%BC%D0%B0.v"),
            ('a"; x=".v', "filename=\"a__ x=_.v\"; filename*=UTF-8''a%22%3B%20x%3D%22.v"),
        ):
            lab.ledger.details[UUID(int=1)]["filename"] = name
            assert (await ada.get(f"{base}/source")).headers["Content-Disposition"] == f"attachment; {told}"
        assert (await nobody.get(f"{base}/report.json")).json() == {"fmax_mhz": 88.5}
        assert (await nobody.get(f"{base}/build.log")).text == "yosys was here\n"
        assert (
            await ada.get(
                f"{base}/build.log", headers={"If-None-Match": (await ada.get(f"{base}/build.log")).headers["ETag"]}
            )
        ).status_code == 304
        for name in ("source", "bitstream.bit"):
            assert error_of(await nobody.get(f"{base}/{name}"))[:2] == (401, "missing_api_key")
            assert error_of(await bob.get(f"{base}/{name}"))[:2] == (403, "not_your_job")
        lab.ledger.blobs.clear()
        assert error_of(await ada.get(f"{base}/source"))[:2] == (404, "artifact_not_found")


@pytest.mark.parametrize(
    ("filename", "told"),
    [
        ("design.v", 'attachment; filename="design.v"'),
        ('a";b.v', "attachment; filename=\"a__b.v\"; filename*=UTF-8''a%22%3Bb.v"),
        (
            "счётчик.v",
            "attachment; filename=\"_______.v\"; filename*=UTF-8''%D1%81%D1%87%D1%91%D1%82%D1%87%D0%B8%D0%BA.v",
        ),
    ],
)
async def test_a_download_has_its_name_whatever_it_is(
    lab: Lab, ada: httpx.AsyncClient, filename: str, told: str
) -> None:
    lab.ledger.add(job(1))
    lab.ledger.blobs = {digest(b"x"): b"x"}
    lab.ledger.details[UUID(int=1)] = {"source_digest": digest(b"x"), "filename": filename}
    got = await ada.get(f"/api/v1/jobs/{UUID(int=1)}/artifacts/source")
    assert (got.status_code, got.content, got.headers["Content-Disposition"]) == (200, b"x", told)
    assert got.headers["Cache-Control"] == "private, no-cache"


async def test_media_types_have_no_case(lab: Lab, ada: httpx.AsyncClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="d.v"\r\n\r\nmodule m; endmodule\r\n--b--\r\n'
    answer = await ada.post("/submit", content=body, headers={"Content-Type": "Multipart/Form-Data; boundary=b"})
    assert answer.status_code == 202, answer.text


def test_every_post_takes_an_idempotency_key(lab: Lab) -> None:
    paths = lab.app.openapi()["paths"]
    posts = {path: methods["post"] for path, methods in paths.items() if "post" in methods}
    assert len(posts) >= 10
    for path, operation in posts.items():
        names = {p["name"].lower() for p in operation.get("parameters", ())}
        assert "idempotency-key" in names, path


def test_scopes_are_named_in_the_document(lab: Lab) -> None:
    assert {s.value for s in Scope} == {"submit", "run", "read", "admin", "agent"}
    schema = lab.app.openapi()["components"]["schemas"]["Scope"]
    assert set(schema["enum"]) == {s.value for s in Scope}
