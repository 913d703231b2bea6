"""Boards, jobs, logs, results, sessions, events: what is shown, to whom."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import httpx
import pytest
from api_fakes import BOB, ROOT, SESSION, T0, Lab, board, error_of, job, reserved, session

from lutlab_api.domain.views import EventView, Failure
from lutlab_events.values import BoardState, JobStatus, JobType

FAILURE = Failure(code="verilog_error", message="design.v:3: syntax error", stage="synthesize")


async def test_boards_have_the_contracts_fields(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(
        board(0), reserved(1, current_job_id=UUID(int=5), current_job_created_at=T0, labels=("fast",)), board(2)
    )
    boards = (await ada.get("/fpga")).json()
    assert [b["fpga_id"] for b in boards] == [0, 1, 2]
    assert boards[0] == {
        "fpga_id": 0,
        "state": "idle",
        "owner": None,
        "session": None,
        "current_job_id": None,
        "current_job_created_at": None,
        "profile": "lfe5u-25f",
        "online": True,
        "labels": [],
        "error": None,
    }
    assert boards[1]["session"] == (await ada.get("/fpga/1/session")).json()
    assert boards[1]["session"]["session_id"] == str(SESSION)
    assert boards[1]["current_job_id"] == str(UUID(int=5))
    assert boards[1]["labels"] == ["fast"]
    assert datetime.fromisoformat(boards[1]["session"]["expires_at"]).tzinfo is not None
    assert (await ada.get("/fpga/1")).json() == boards[1]


@pytest.mark.parametrize(
    ("state", "public", "online"),
    [
        (BoardState.QUEUED, "queued", True),
        (BoardState.BUILDING, "building", True),
        (BoardState.PROGRAMMING, "programming", True),
        (BoardState.RESETTING, "programming", True),
        (BoardState.RESTORING, "programming", True),
        (BoardState.ERROR, "error", True),
        (BoardState.LOST, "error", False),
    ],
)
async def test_states_are_told_in_the_contracts_words(
    lab: Lab, ada: httpx.AsyncClient, state: BoardState, public: str, online: bool
) -> None:
    lab.ledger.add(board(0, state, error=FAILURE if public == "error" else None))
    told = (await ada.get("/fpga/0")).json()
    assert (told["state"], told["online"]) == (public, online)
    assert (told["error"] is not None) == (public == "error")


@pytest.mark.parametrize("path", ["/fpga/x", "/fpga/-1", "/fpga/10000", "/fpga/1.5", "/fpga/99999999999999999999"])
async def test_board_number_out_of_range(ada: httpx.AsyncClient, path: str) -> None:
    status, code, message = error_of(await ada.get(path))
    assert (status, code) == (422, "validation_error")
    assert "fpga_id" in message
    assert path.rsplit("/", 1)[1] in message


@pytest.mark.parametrize("path", ["/fpga/7", "/fpga/7/session", "/api/v1/boards/7/events"])
async def test_unknown_board(ada: httpx.AsyncClient, path: str) -> None:
    assert error_of(await ada.get(path))[:2] == (404, "fpga_not_found")


async def test_no_session(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    assert error_of(await ada.get("/fpga/0/session"))[:2] == (404, "no_active_session")


async def test_job_has_the_contracts_fields(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, assigned_fpga_id=3))
    lab.ledger.details[UUID(int=1)] = {"report": {"fmax_mhz": 88.5}, "filename": "design.py", "attempt": 1}
    told = (await ada.get(f"/jobs/{UUID(int=1)}")).json()
    assert {k: told[k] for k in ("job_id", "fpga_id", "type", "status", "build_stage", "error")} == {
        "job_id": str(UUID(int=1)),
        "fpga_id": 3,
        "type": "build_and_program",
        "status": "complete",
        "build_stage": None,
        "error": None,
    }
    assert told["report"] == {"fmax_mhz": 88.5}
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(told[name]).tzinfo is not None
    assert (await ada.get(f"/fpga/3/jobs/{UUID(int=1)}")).json() == told
    details = (await ada.get(f"/api/v1/jobs/{UUID(int=1)}")).json()
    assert details["filename"] == "design.py"
    assert told.items() <= details.items()


@pytest.mark.parametrize(
    ("fields", "stage", "fpga_id"),
    [
        ({"status": JobStatus.QUEUED}, None, None),
        ({"status": JobStatus.QUEUED, "pinned_fpga_id": 2}, None, 2),
        ({"status": JobStatus.RUNNING, "stage": "synthesize"}, "synthesize", None),
        ({"status": JobStatus.RUNNING, "stage": "pack", "built": True}, "wait-for-board", None),
        ({"status": JobStatus.RUNNING, "stage": "pack", "built": True, "assigned_fpga_id": 1}, "program", 1),
        ({"status": JobStatus.COMPLETE, "stage": "pack", "built": True, "assigned_fpga_id": 1}, None, 1),
        ({"status": JobStatus.RUNNING, "type": JobType.RESET, "assigned_fpga_id": 1}, None, 1),
    ],
)
async def test_what_a_job_is_doing(
    lab: Lab, ada: httpx.AsyncClient, fields: dict[str, object], stage: str | None, fpga_id: int | None
) -> None:
    lab.ledger.add(job(1, **fields))
    told = (await ada.get(f"/jobs/{UUID(int=1)}")).json()
    assert (told["build_stage"], told["fpga_id"]) == (stage, fpga_id)


async def test_a_failed_build_tells_the_tools_message(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, status=JobStatus.FAILED, failure=FAILURE))
    lab.ledger.logs[UUID(int=1)] = "yosys says\n"
    told = (await ada.get(f"/jobs/{UUID(int=1)}")).json()
    assert told["error"] == {"code": "verilog_error", "message": "design.v:3: syntax error", "stage": "synthesize"}
    log = await ada.get(f"/jobs/{UUID(int=1)}/logs")
    assert log.headers["content-type"].startswith("text/plain")
    assert log.text == "yosys says\n\nFAILED in synthesize: verilog_error\ndesign.v:3: syntax error\n"
    result = (await ada.get(f"/jobs/{UUID(int=1)}/result")).json()
    assert (result["ok"], result["data"], result["error"]["code"]) == (False, [], "verilog_error")


async def test_logs_and_results_under_both_paths(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(
        job(1, type=JobType.RUN, assigned_fpga_id=3, result={"ok": True, "data": [42]}), job(2, assigned_fpga_id=3)
    )
    lab.ledger.logs[UUID(int=2)] = "one\ntwo\n"
    for base in ("", "/fpga/3"):
        assert (await ada.get(f"{base}/jobs/{UUID(int=1)}/result")).json() == {"ok": True, "data": [42]}
        assert (await ada.get(f"{base}/jobs/{UUID(int=1)}/logs")).text == ""
        assert (await ada.get(f"{base}/jobs/{UUID(int=2)}/logs")).text == "one\ntwo\n"
        assert (await ada.get(f"{base}/jobs/{UUID(int=2)}/result")).json() == {"ok": True, "data": []}


@pytest.mark.parametrize("tail", ["", "/logs", "/result"])
@pytest.mark.parametrize("job_id", ["nonsense", "00000000-0000-0000-0000-0000000000ff", "%00", "1" * 300])
async def test_unknown_job(ada: httpx.AsyncClient, tail: str, job_id: str) -> None:
    for base in ("", "/fpga/3"):
        assert error_of(await ada.get(f"{base}/jobs/{job_id}{tail}"))[:2] == (404, "job_not_found")


@pytest.mark.parametrize("tail", ["", "/logs", "/result"])
async def test_a_job_of_another_board_is_not_found_there(lab: Lab, ada: httpx.AsyncClient, tail: str) -> None:
    lab.ledger.add(job(1, assigned_fpga_id=3))
    assert error_of(await ada.get(f"/fpga/4/jobs/{UUID(int=1)}{tail}"))[:2] == (404, "job_not_found")


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLED])
async def test_result_before_completion(lab: Lab, ada: httpx.AsyncClient, status: JobStatus) -> None:
    lab.ledger.add(job(1, status=status))
    answer = await ada.get(f"/jobs/{UUID(int=1)}/result")
    assert error_of(answer)[:2] == (409, "job_not_complete")
    assert status.value in error_of(answer)[2]
    assert answer.json()["detail"]["job_id"] == str(UUID(int=1))


async def test_listing_is_own_newest_first_and_filtered(lab: Lab, ada: httpx.AsyncClient) -> None:
    for number in range(1, 6):
        lab.ledger.add(job(number, owner="bob" if number == 3 else "ada"))
    lab.ledger.add(job(6, status=JobStatus.FAILED), job(7, type=JobType.RUN))

    async def numbers(query: str = "") -> list[int]:
        answer = await ada.get(f"/jobs{query}")
        assert answer.status_code == 200, answer.text
        return [UUID(j["job_id"]).int for j in answer.json()]

    assert await numbers() == [7, 6, 5, 4, 2, 1]
    assert await numbers("?status=failed") == [6]
    assert await numbers("?type=run") == [7]
    assert await numbers("?limit=2") == [7, 6]
    assert await numbers(f"?limit=2&before={UUID(int=6)}") == [5, 4]
    assert await numbers(f"?before={UUID(int=1)}") == []
    strange = await ada.get(f"/jobs?before={UUID(int=99)}")
    assert error_of(strange)[:2] == (422, "invalid_cursor"), "an empty page would look like the end"
    assert await numbers("?owner=ada&limit=1") == [7]
    assert error_of(await ada.get("/jobs?owner=bob"))[:2] == (403, "admin_only")
    async with lab.client(ROOT) as root:
        assert len((await root.get("/jobs?owner=*")).json()) == 7
        assert (await root.get("/jobs")).json() == []


@pytest.mark.parametrize("query", ["status=done", "limit=0", "limit=x", "before=1", "type=x", "owner=a b"])
async def test_bad_listing_queries(ada: httpx.AsyncClient, query: str) -> None:
    status, code, message = error_of(await ada.get(f"/jobs?{query}"))
    assert (status, code) == (422, "validation_error")
    assert all(part in message for part in query.split("="))


async def test_reads_are_private_by_default(lab: Lab) -> None:
    lab.ledger.add(board(0), job(1))
    async with lab.client(None) as anyone:
        for path in (
            "/fpga",
            "/fpga/0",
            f"/jobs/{UUID(int=1)}",
            f"/jobs/{UUID(int=1)}/logs",
            "/jobs",
            "/api/v1/events",
        ):
            assert error_of(await anyone.get(path))[:2] == (401, "missing_api_key")
    async with lab.client(BOB) as bob:
        assert (await bob.get("/fpga")).status_code == 200
        for tail in ("", "/logs", "/result"):
            assert error_of(await bob.get(f"/jobs/{UUID(int=1)}{tail}"))[:2] == (403, "not_your_job")
    async with lab.client(ROOT) as root:
        assert (await root.get(f"/jobs/{UUID(int=1)}")).status_code == 200


async def test_public_reads(public_lab: Lab) -> None:
    public_lab.ledger.add(reserved(0), job(1))
    for key in (None, BOB):
        async with public_lab.client(key) as anyone:
            for path in ("/fpga", "/fpga/0", "/fpga/0/session", "/api/v1/boards/0/events"):
                assert (await anyone.get(path)).status_code == 200
            for tail in ("", "/logs", "/result"):
                assert (await anyone.get(f"/jobs/{UUID(int=1)}{tail}")).status_code == 200
            assert (await anyone.get(f"/api/v1/jobs/{UUID(int=1)}")).status_code == 200
    async with public_lab.client(None) as anyone:
        for path in ("/jobs", "/api/v1/events", "/auth/keys"):
            assert error_of(await anyone.get(path))[:2] == (401, "missing_api_key")


def event(position: int, stream: str) -> EventView:
    return EventView(
        position=position,
        stream=stream,
        version=1,
        type="job.submitted.v1",
        at=T0,
        actor="ada",
        correlation_id=UUID(int=9),
        data={"owner": "ada"},
    )


async def test_history(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0), job(1), job(2, owner="bob"))
    lab.ledger.event_views = [
        event(1, "board-0"),
        event(2, f"job-{UUID(int=1)}"),
        event(3, f"job-{UUID(int=2)}"),
        event(4, "board-0"),
        event(5, "key-1"),
    ]

    async def positions(client: httpx.AsyncClient, path: str) -> list[int]:
        return [e["position"] for e in (await client.get(path)).json()["events"]]

    assert await positions(ada, "/api/v1/boards/0/events") == [1, 4]
    assert await positions(ada, "/api/v1/boards/0/events?after=1") == [4]
    assert await positions(ada, "/api/v1/events") == [1, 2, 4]
    page = (await ada.get("/api/v1/events?limit=2")).json()
    assert page["next_after"] == 2
    assert page["events"][0]["data"] == {"owner": "ada"}
    assert (await ada.get("/api/v1/events?after=99")).json() == {"events": [], "next_after": 99}
    async with lab.client(ROOT) as root:
        assert await positions(root, "/api/v1/events") == [1, 2, 3, 4, 5]
    assert error_of(await ada.get("/api/v1/events?limit=1001"))[:2] == (422, "validation_error")


async def test_a_session_is_shown_as_it_is(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(reserved(2))
    told = (await ada.get("/fpga/2/session")).json()
    expected = session("ada", 2)
    assert told == {
        "session_id": str(SESSION),
        "fpga_id": 2,
        "owner": "ada",
        "created_at": expected.created_at.isoformat().replace("+00:00", "Z"),
        "expires_at": expected.expires_at.isoformat().replace("+00:00", "Z"),
    }
