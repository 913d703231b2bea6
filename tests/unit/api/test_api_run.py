"""`POST /fpga/{id}/run`: carried out on the board first, then recorded; told as it went."""

from __future__ import annotations

import asyncio
import struct
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from api_fakes import BOB, ERROR_FRAME, ROOT, SESSION, Lab, board, error_of, reserved, session

from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_events.busmsg import BusReply, BusStatus, BusVerb
from lutlab_events.commands import RecordRun
from lutlab_events.rejections import Rejection
from lutlab_events.values import BoardState

WRITE = {"op": 1, "address": 0, "data": [42]}
READ = {"op": 2, "address": 0, "data": [], "count": 1}


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.ledger.add(reserved(3), board(0), reserved(4, owner="bob"))
    return lab


async def result_of(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    """The result of an accepted run; its job is over already."""
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["fpga_id"], told["status"]) == (3, "complete")
    for path in (f"/jobs/{told['job_id']}", f"/fpga/3/jobs/{told['job_id']}"):
        job = (await client.get(path)).json()
        assert (job["type"], job["status"]) == ("run", "complete")
    result: dict[str, Any] = (await client.get(f"/fpga/3/jobs/{told['job_id']}/result")).json()
    return result


async def test_the_guides_transaction(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/fpga/3/run", json=WRITE, headers={"X-Session-ID": "anything"})
    assert await result_of(ada, answer) == {"ok": True, "data": [42]}
    assert await result_of(ada, await ada.post("/fpga/3/run", json=READ)) == {"ok": True, "data": [42]}
    agent, headers, frame = lab.bus.seen[0]
    assert (agent, headers.verb, headers.lease.fpga_id) == ("agent-1", BusVerb.EXCHANGE, 3)
    assert (headers.lease.session_id, headers.lease.epoch) == (SESSION, 4)
    assert frame == bytes.fromhex("01000001 00000000 0000002a")
    assert lab.bus.seen[1][2] == bytes.fromhex("02000001 00000000 00000001")
    assert lab.last(RecordRun).data == (42,)


async def test_a_read_without_count_reads_one_word(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.bus.memory[2] = 7
    for body in ({"op": 2, "address": 8}, {"op": 2, "address": 8, "data": [], "count": None}):
        assert await result_of(ada, await ada.post("/fpga/3/run", json=body)) == {"ok": True, "data": [7]}


async def test_bursts_and_fixed_addresses(lab: Lab, ada: httpx.AsyncClient) -> None:
    words = list(range(1, 513))
    burst = {"op": 1, "address": 0, "data": words, "count": 0, "fixed_address": False}
    assert (await result_of(ada, await ada.post("/fpga/3/run", json=burst)))["data"] == words
    read = {"op": 2, "address": 0, "data": [], "count": 512}
    assert (await result_of(ada, await ada.post("/fpga/3/run", json=read)))["data"] == words
    fixed = {"op": 1, "address": 2044, "data": [1, 2, 3], "fixed_address": True}
    assert (await result_of(ada, await ada.post("/fpga/3/run", json=fixed)))["data"] == [1, 2, 3]
    assert lab.bus.seen[-1][2][:8] == bytes.fromhex("81000003 000007fc")
    assert lab.bus.memory[511] == 3


BAD = {
    "op 3": ({"op": 3, "address": 0, "data": [1]}, "invalid_op", "op 3"),
    "op -1": ({"op": -1, "address": 0}, "invalid_op", "op -1"),
    "op as text": ({"op": "1", "address": 0, "data": [1]}, "validation_error", "op"),
    "op as truth": ({"op": True, "address": 0, "data": [1]}, "validation_error", "op"),
    "no op": ({"address": 0}, "validation_error", "op is missing"),
    "unaligned": ({"op": 1, "address": 2, "data": [1]}, "invalid_address", "0x2"),
    "out of range": ({"op": 1, "address": 2048, "data": [1]}, "invalid_address", "0x800"),
    "negative": ({"op": 1, "address": -4, "data": [1]}, "invalid_address", "-0x4"),
    "past the end": ({"op": 2, "address": 2044, "count": 2}, "invalid_address", "0x7fc"),
    "huge address": ({"op": 2, "address": 1 << 70}, "invalid_address", "outside"),
    "no words": ({"op": 1, "address": 0, "data": []}, "invalid_data", "0 words"),
    "no data": ({"op": 1, "address": 0}, "invalid_data", "0 words"),
    "count 0": ({"op": 2, "address": 0, "count": 0}, "invalid_count", "0"),
    "count -1": ({"op": 2, "address": 0, "count": -1}, "invalid_count", "-1"),
    "too many to read": ({"op": 2, "address": 0, "count": 513}, "invalid_count", "513"),
    "too many to write": ({"op": 1, "address": 0, "data": [0] * 513}, "invalid_data", "513"),
    "too many fixed": ({"op": 1, "address": 0, "data": [0] * 513, "fixed_address": True}, "invalid_data", "513"),
    "word too wide": ({"op": 1, "address": 0, "data": [0, 1 << 32]}, "invalid_data", "data[1]"),
    "negative word": ({"op": 1, "address": 0, "data": [-1]}, "invalid_data", "-1"),
    "word as float": ({"op": 1, "address": 0, "data": [1.5]}, "validation_error", "data.0"),
    "word as text": ({"op": 1, "address": 0, "data": ["1"]}, "validation_error", "data.0"),
    "fixed read": ({"op": 2, "address": 0, "count": 2, "fixed_address": True}, "invalid_op", "fixed_address"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_bad_transactions_reach_nothing(lab: Lab, ada: httpx.AsyncClient, case: str) -> None:
    body, code, word = BAD[case]
    status, got, message = error_of(await ada.post("/fpga/3/run", json=body))
    assert (status, got) == (422, code)
    assert word in message
    assert lab.bus.seen == []
    assert lab.commands.sent == []


async def test_the_boards_own_size_counts(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(reserved(3, address_words=4096))
    assert (await ada.post("/fpga/3/run", json={"op": 1, "address": 4 * 4095, "data": [1]})).status_code == 202
    assert error_of(await ada.post("/fpga/3/run", json={"op": 1, "address": 4 * 4096, "data": [1]}))[0] == 422


@pytest.mark.parametrize(
    ("view", "status", "code"),
    [
        (None, 404, "fpga_not_found"),
        (board(3), 409, "fpga_not_reserved"),
        (board(3, BoardState.PROGRAMMING, owner="ada"), 409, "fpga_not_reserved"),
        (board(3, BoardState.ERROR), 409, "fpga_not_reserved"),
        (reserved(3, owner="bob"), 403, "not_your_session"),
        (reserved(3, session=session("ada", 3, ttl_s=59)), 409, "fpga_not_reserved"),
        (reserved(3, state=BoardState.RESTORING), 409, "fpga_not_reserved"),
        (reserved(3, state=BoardState.LOST), 409, "fpga_not_reserved"),
    ],
)
async def test_who_may_not(lab: Lab, ada: httpx.AsyncClient, view: Any, status: int, code: str) -> None:
    del lab.ledger.board_views[3]
    if view is not None:
        lab.ledger.add(view)
    assert error_of(await ada.post("/fpga/3/run", json=WRITE))[:2] == (status, code)
    assert lab.bus.seen == []
    assert lab.commands.sent == []


async def test_an_admin_may(lab: Lab) -> None:
    async with lab.client(ROOT) as root:
        assert (await root.post("/fpga/3/run", json=WRITE)).status_code == 202
    async with lab.client(BOB) as bob:
        assert error_of(await bob.post("/fpga/3/run", json=WRITE))[:2] == (403, "not_your_session")
        assert (await bob.post("/fpga/4/run", json=WRITE)).status_code == 202


async def test_a_session_ends_at_its_moment(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.clock.at = session().expires_at - timedelta(microseconds=1)
    assert (await ada.post("/fpga/3/run", json=WRITE)).status_code == 202
    lab.clock.at = session().expires_at
    status, code, message = error_of(await ada.post("/fpga/3/run", json=WRITE))
    assert (status, code) == (409, "fpga_not_reserved")
    assert "ran out" in message


async def test_a_bus_error_is_no_success(lab: Lab, ada: httpx.AsyncClient) -> None:
    """The reference client raises `Run op failed: <result>` only for complete jobs: so the result says why."""
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.OK, frame=ERROR_FRAME, message="no acknowledge")
    answer = await ada.post("/fpga/3/run", json=READ)
    result = await result_of(ada, answer)
    assert (result["ok"], result["data"], result["error"]["code"]) == (False, [], "bus_error")
    assert "read of 1 words at 0x0" in result["error"]["message"]
    assert "no acknowledge" in result["error"]["message"]
    job = (await ada.get(f"/jobs/{answer.json()['job_id']}")).json()
    assert result["error"].items() <= job["error"].items()
    failure = lab.last(RecordRun).failure
    assert failure is not None
    assert failure.code == "bus_error"
    assert [j["status"] for j in (await ada.get("/jobs?status=complete")).json()] == ["complete"]
    assert (await ada.get("/jobs?status=failed")).json() == []


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (BusReply(status=BusStatus.LINK_FAILED, message="cable pulled"), 502, "board_link_failed"),
        (BusReply(status=BusStatus.BAD_REQUEST, message="what?"), 502, "board_link_failed"),
        (BusReply(status=BusStatus.OK, frame=b"\0\0"), 502, "board_link_failed"),
        (BusReply(status=BusStatus.OK, frame=struct.pack(">II", 2, 1)), 502, "board_link_failed"),
        (BoardFailure(Code.BOARD_TIMEOUT, "board 3 did not answer"), 504, "board_timeout"),
    ],
)
async def test_a_failed_way_to_the_board_is_recorded(
    lab: Lab, ada: httpx.AsyncClient, reply: Any, status: int, code: str
) -> None:
    lab.bus.script = lambda headers, frame: reply
    answer = await ada.post("/fpga/3/run", json=WRITE)
    assert error_of(answer)[:2] == (status, code)
    job_id = answer.json()["detail"]["job_id"]
    job = (await ada.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["error"]["code"]) == ("failed", code)
    result = (await ada.get(f"/jobs/{job_id}/result")).json()
    assert (result["ok"], result["error"]["code"]) == (False, code)


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (BoardFailure(Code.BOARD_UNREACHABLE, "its agent is not there"), 503, "board_unreachable"),
        (BusReply(status=BusStatus.UNKNOWN_BOARD), 503, "board_unreachable"),
        (BusReply(status=BusStatus.STALE_LEASE), 409, "fpga_not_reserved"),
        (BusReply(status=BusStatus.BUSY), 409, "fpga_busy"),
    ],
)
async def test_what_certainly_did_not_run_leaves_no_job(
    lab: Lab, ada: httpx.AsyncClient, reply: Any, status: int, code: str
) -> None:
    lab.bus.script = lambda headers, frame: reply
    answer = await ada.post("/fpga/3/run", json=WRITE)
    assert error_of(answer)[:2] == (status, code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert lab.commands.sent == []


async def test_an_unrecorded_transaction_says_so(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.swallow = 1
    answer = await ada.post("/fpga/3/run", json=WRITE)
    status, code, message = error_of(answer)
    assert (status, code) == (503, "scheduler_unavailable")
    assert "was carried out" in message
    assert UUID(answer.json()["detail"]["job_id"]) == lab.last(RecordRun).job_id


async def test_a_refused_recording_is_told(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.rejections[RecordRun] = Rejection.FPGA_NOT_RESERVED
    assert error_of(await ada.post("/fpga/3/run", json=WRITE))[:2] == (409, "fpga_not_reserved")


async def test_an_idempotency_key_runs_once(lab: Lab, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = await ada.post("/fpga/3/run", json=WRITE, headers=key)
    lab.ledger.add(board(3))  # released meanwhile: the answer stays the same
    again = await ada.post("/fpga/3/run", json=WRITE, headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(lab.bus.seen) == 1
    other = await ada.post("/fpga/3/run", json=READ, headers=key)
    assert error_of(other)[:2] == (409, "idempotency_mismatch")
    assert len(lab.bus.seen) == 1


async def test_the_agent_knows_a_repetition_through_another_process(lab: Lab, ada: httpx.AsyncClient) -> None:
    """Both processes name it the same; the agent carries out one name once."""
    lab.commands.swallow = 1
    assert (await ada.post("/fpga/3/run", json=WRITE, headers={"Idempotency-Key": "k"})).status_code == 503
    await ada.post("/fpga/3/run", json=WRITE)
    lab.services.run._unrecorded.clear()  # the other process was not told
    await ada.post("/fpga/3/run", json=WRITE, headers={"Idempotency-Key": "k"})
    first, unnamed, again = [headers.request_id for _, headers, _ in lab.bus.seen]
    assert first == again != unnamed == ""


async def test_a_repetition_after_an_unanswered_recording_does_not_run_again(lab: Lab, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    lab.commands.swallow = 1
    assert (await ada.post("/fpga/3/run", json=WRITE, headers=key)).status_code == 503
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.LINK_FAILED)
    assert await result_of(ada, await ada.post("/fpga/3/run", json=WRITE, headers=key)) == {"ok": True, "data": [42]}
    assert len(lab.bus.seen) == 1
    assert lab.commands.sent[0].body == lab.commands.sent[1].body


async def test_a_key_whose_recording_was_unanswered_is_still_good_for_that_request_only(
    lab: Lab, ada: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "k"}
    lab.commands.swallow = 1
    assert (await ada.post("/fpga/3/run", json=WRITE, headers=key)).status_code == 503
    other = WRITE | {"data": [7]}
    assert error_of(await ada.post("/fpga/3/run", json=other, headers=key))[:2] == (409, "idempotency_mismatch")
    assert await result_of(ada, await ada.post("/fpga/3/run", json=WRITE, headers=key)) == {"ok": True, "data": [42]}
    assert len(lab.bus.seen) == 1


async def test_a_repeated_failure_is_told_the_same_way(lab: Lab, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.LINK_FAILED, message="cable")
    first = await ada.post("/fpga/3/run", json=WRITE, headers=key)
    again = await ada.post("/fpga/3/run", json=WRITE, headers=key)
    assert first.status_code == again.status_code == 502
    assert first.json() == again.json()
    assert len(lab.bus.seen) == 1


async def test_the_same_key_twice_at_once(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.bus.delay_s = 0.05
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(ada.post("/fpga/3/run", json=WRITE, headers=key) for _ in range(3)))
    assert sorted(a.status_code for a in answers) == [202, 409, 409]
    refused = next(a for a in answers if a.status_code == 409)
    assert error_of(refused)[1] == "request_in_progress"
    assert len(lab.bus.seen) == 1
