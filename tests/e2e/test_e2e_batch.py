"""A batch through the shipped stack: SDK, API, agent, the bus of a real build, the ledger, the result."""

from __future__ import annotations

import httpx
from e2e_support import ROOT, Stack, reserve

from lutlab import Batch, Client

ECHO = ROOT / "examples/echo_memory/design.py"


def test_a_batch_is_one_job_and_over_when_answered(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    batch = (
        Batch()
        .write(16, [1, 2, 3])
        .modify(20, 9, mask=15)
        .poll(20, 9, mask=255, timeout_cycles=1000)
        .poll(24, 0, timeout_cycles=0)
        .write(28, [5, 6], fixed_address=True)
        .read(28, 2, fixed_address=True)
        .read(16, 4)
    )
    with Client(stack.ready["api_url"], stack.ready["api_key"]) as lab:
        before = len(lab.jobs())
        done = lab.run_batch(board, batch, check=False)
        assert len(lab.jobs()) == before + 1
        assert [op.ok for op in done] == [True, True, True, False, True, True, True]
        assert [op.data for op in done] == [[1, 2, 3], [2], [9], [3], [5, 6], [6, 6], [1, 9, 3, 6]]
        assert done[3].error is not None and done[3].error.code == "poll_timeout"
        # Complete when answered: two round trips and no sleep, whatever the batch holds.
        reads = Batch()
        for address in range(0, 2048, 8):
            reads.read(address)
        asked: list[str] = []
        lab._http.event_hooks["request"].append(lambda request: asked.append(request.method))
        for _ in range(9):
            assert len(lab.run_batch(board, reads)) == 256
        assert asked == ["POST", "GET"] * 9
    refused = api.post(f"/fpga/{board}/run", json={"ops": [{"op": 2, "address": 0}, {"op": 2, "address": 3}]})
    assert refused.status_code == 422
    assert refused.json()["detail"]["message"].startswith("ops[1]: address 0x3")
