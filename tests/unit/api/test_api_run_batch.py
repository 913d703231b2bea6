"""`POST /fpga/{id}/run` with `ops`: one bus round, one job, each operation told for itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_fakes import SESSION, Lab, error_of, reserved

from lutlab_bus import Result, Status, batch
from lutlab_bus.operations import as_words
from lutlab_events.busmsg import BusReply, BusStatus, BusVerb
from lutlab_events.commands import RecordRun
from lutlab_events.values import BusFailure, RunStep

EVERY = {
    "ops": [
        {"op": 1, "address": 16, "data": [1, 2, 3]},
        {"op": 2, "address": 16, "count": 3},
        {"op": 3, "address": 20, "mask": 15, "value": 9},
        {"op": 4, "address": 20, "mask": 255, "value": 9, "timeout_cycles": 100},
        {"op": 1, "address": 28, "data": [5, 6], "fixed_address": True},
        {"op": 2, "address": 28, "count": 2, "fixed_address": True},
        {"op": 2, "address": 0},
    ]
}
FAILING = {"ops": [*EVERY["ops"][:2], {"op": 4, "address": 16, "value": 7, "timeout_cycles": 50}, EVERY["ops"][1]]}


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.ledger.add(reserved(3))
    return lab


async def result_of(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "complete"
    job = (await client.get(f"/jobs/{answer.json()['job_id']}")).json()
    assert (job["type"], job["status"]) == ("run", "complete")
    result: dict[str, Any] = (await client.get(f"/jobs/{job['job_id']}/result")).json()
    return result


@pytest.mark.parametrize("path", ["/fpga/3/run", "/api/v1/boards/3/run"])
async def test_every_kind_in_one_round_and_one_job(lab: Lab, ada: httpx.AsyncClient, path: str) -> None:
    result = await result_of(ada, await ada.post(path, json=EVERY))
    assert result["ok"] is True and "error" not in result
    assert [op["data"] for op in result["ops"]] == [[1, 2, 3], [1, 2, 3], [2], [9], [5, 6], [6, 6], [0]]
    assert result["data"] == [word for op in result["ops"] for word in op["data"]]
    assert all(op["ok"] and "error" not in op for op in result["ops"])
    ((agent, headers, _),) = lab.bus.seen
    assert (agent, headers.verb, headers.lease.session_id) == ("agent-1", BusVerb.BATCH, SESSION)
    record = lab.last(RecordRun)
    assert len(lab.commands.sent) == 1
    assert (record.op, record.address_bytes, record.count, record.data) == (0, 16, 13, ())
    assert record.ops[2] == RunStep(op=3, address_bytes=20, data=(2,), mask=15, value=9)


async def test_a_failed_operation_is_told_by_its_index_and_the_others_ran(lab: Lab, ada: httpx.AsyncClient) -> None:
    result = await result_of(ada, await ada.post("/fpga/3/run", json=FAILING))
    assert result["ok"] is False
    assert result["error"]["code"] == "bus_error"
    assert result["error"]["message"] == "ops[2]: " + result["ops"][2]["error"]["message"]
    assert [op["ok"] for op in result["ops"]] == [True, True, False, True]
    assert result["ops"][2]["error"]["code"] == "poll_timeout"
    assert "within 50 cycles; the poll at 0x10 read 0x1" in result["ops"][2]["error"]["message"]
    assert (result["ops"][2]["data"], result["ops"][3]["data"]) == ([1], [1, 2, 3])


async def test_faults_of_the_design(lab: Lab, ada: httpx.AsyncClient) -> None:
    results = [Result(Status.BUS_ERROR), Result(Status.BUS_TIMEOUT), Result(Status.OK, as_words([4]))]
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.OK, frame=batch.encode_results(results))
    ops = [{"op": 1, "address": 8, "data": [1]}, {"op": 2, "address": 12}, {"op": 2, "address": 0}]
    result = await result_of(ada, await ada.post("/fpga/3/run", json={"ops": ops}))
    assert [op.get("error", {}).get("code") for op in result["ops"]] == ["bus_error", "bus_timeout", None]
    assert "ops[0]: the design answered the write at 0x8" in result["error"]["message"]
    failure = lab.last(RecordRun).ops[1].failure
    assert failure == BusFailure(code="bus_timeout", message=result["ops"][1]["error"]["message"])


READ = {"op": 2, "address": 0}
BAD: dict[str, tuple[Any, str, str]] = {
    "none": ([], "invalid_ops", "0 operations"),
    "too many": ([READ] * 257, "invalid_ops", "257 operations"),
    "too many words": ([{"op": 2, "address": 0, "count": 512}] * 5, "invalid_ops", "2560 words together"),
    "too long polls": ([{"op": 4, "address": 0, "value": 1, "timeout_cycles": 20_000_000}] * 2, "invalid_ops", "poll"),
    "op 5": ([READ, {"op": 5, "address": 0}], "invalid_op", "ops[1]: op 5"),
    "unaligned": ([READ, READ, {"op": 2, "address": 2}], "invalid_address", "ops[2]: address 0x2"),
    "past the end": ([{"op": 2, "address": 2044, "count": 2}], "invalid_address", "ops[0]: 2 words"),
    "modify outside": ([READ, {"op": 3, "address": 2048, "value": 1}], "invalid_address", "ops[1]: address 0x800"),
    "no words": ([READ, {"op": 1, "address": 0}], "invalid_data", "ops[1]: data has 0 words"),
    "word too wide": ([READ, {"op": 1, "address": 0, "data": [1 << 32]}], "invalid_data", "ops[1]: data[0]"),
    "count 0": ([{"op": 2, "address": 0, "count": 0}], "invalid_count", "ops[0]: count is 0"),
    "no value": ([{"op": 3, "address": 0, "mask": 1}], "invalid_data", "ops[0]: a modify needs a value"),
    "mask too wide": ([{"op": 3, "address": 0, "mask": -1, "value": 0}], "invalid_data", "ops[0]: mask is -1"),
    "no timeout": ([READ, {"op": 4, "address": 0, "value": 1}], "invalid_count", "ops[1]: timeout_cycles is missing"),
    "op as text": ([READ, {"op": "1", "address": 0}], "validation_error", "ops.1.op"),
    "no address": ([READ, {"op": 2}], "validation_error", "ops.1.address is missing"),
    "unknown field": ([{"op": 2, "address": 0, "cuont": 2}], "validation_error", "ops.0.cuont is not known"),
    "not a list": (7, "validation_error", "ops 7"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_batches_reach_nothing(lab: Lab, ada: httpx.AsyncClient, case: str) -> None:
    ops, code, word = BAD[case]
    status, got, message = error_of(await ada.post("/fpga/3/run", json={"ops": ops}))
    assert (status, got) == (422, code)
    assert word in message
    assert lab.bus.seen == []
    assert lab.commands.sent == []


@pytest.mark.parametrize(
    "reply", [BusReply(status=BusStatus.LINK_FAILED, message="cable pulled"), BusReply(status=BusStatus.OK, frame=b"1")]
)
async def test_a_failed_way_to_the_board_is_recorded(lab: Lab, ada: httpx.AsyncClient, reply: BusReply) -> None:
    lab.bus.script = lambda headers, frame: reply
    answer = await ada.post("/fpga/3/run", json=EVERY)
    assert error_of(answer)[:2] == (502, "board_link_failed")
    result = (await ada.get(f"/jobs/{answer.json()['detail']['job_id']}/result")).json()
    assert (result["ok"], result["error"]["code"]) == (False, "board_link_failed")
    assert {op["error"]["code"] for op in result["ops"]} == {"board_link_failed"}


async def test_an_idempotency_key_runs_once(lab: Lab, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = await ada.post("/fpga/3/run", json=EVERY, headers=key)
    again = await ada.post("/fpga/3/run", json=EVERY, headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(lab.bus.seen) == 1
    other = await ada.post("/fpga/3/run", json={"ops": EVERY["ops"][:1]}, headers=key)
    assert error_of(other)[:2] == (409, "idempotency_mismatch")
