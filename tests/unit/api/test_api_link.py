"""How a board's line does: asked of the agent, told in the API's words."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes import STATS, Lab, board, error_of

from lutlab_events.busmsg import BusReply, BusStatus, BusVerb


async def test_the_agents_words_are_passed_on(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.OK, frame=json.dumps(STATS).encode())
    assert (await ada.get("/api/v1/boards/0/link")).json() == STATS
    (_, headers, _) = lab.bus.seen[-1]
    assert headers.verb is BusVerb.STATS and headers.lease.fpga_id == 0


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (BusReply(status=BusStatus.UNKNOWN_BOARD), "board_unreachable"),
        (BusReply(status=BusStatus.OK, frame=b"nonsense"), "board_link_failed"),
        (BusReply(status=BusStatus.OK, frame=b"[1]"), "board_link_failed"),
        (BusReply(status=BusStatus.OK, frame=b"{}"), "board_link_failed"),
        (BusReply(status=BusStatus.STALE_LEASE), "board_link_failed"),
    ],
)
async def test_an_agent_that_cannot_tell(lab: Lab, ada: httpx.AsyncClient, reply: BusReply, code: str) -> None:
    lab.ledger.add(board(0))
    lab.bus.script = lambda headers, frame: reply
    assert error_of(await ada.get("/api/v1/boards/0/link"))[1] == code


async def test_no_such_board(ada: httpx.AsyncClient) -> None:
    assert error_of(await ada.get("/api/v1/boards/3/link"))[:2] == (404, "fpga_not_found")
