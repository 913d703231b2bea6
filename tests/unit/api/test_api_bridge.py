"""`POST /api/v1/boards/{id}/bridge`: the way to a board's TCP bridge, for whoever holds its session."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from api_fakes import BOB, SESSION, WAY, Lab, board, reserved

from lutlab_events.busmsg import BusReply, BusStatus, BusVerb


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.ledger.add(reserved(3), board(0))
    return lab


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_sessions_owner_is_told(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/v1/boards/3/bridge")
    assert (answer.status_code, answer.json()) == (200, msgspec.to_builtins(WAY))
    ((_, headers, frame),) = lab.bus.seen
    assert (headers.verb, headers.lease.session_id, headers.lease.epoch, frame) == (BusVerb.BRIDGE, SESSION, 4, b"")


async def test_nobody_else_is(lab: Lab, ada: httpx.AsyncClient) -> None:
    assert code_of(await ada.post("/api/v1/boards/0/bridge")) == (409, "fpga_not_reserved")
    async with lab.client(BOB) as bob:
        assert code_of(await bob.post("/api/v1/boards/3/bridge")) == (403, "not_your_session")
    assert lab.bus.seen == []


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (BusReply(status=BusStatus.NOT_OFFERED, message="no bridge_port"), 404, "no_bridge"),
        (BusReply(status=BusStatus.STALE_LEASE), 409, "fpga_not_reserved"),
        (BusReply(status=BusStatus.OK, frame=b"{}"), 502, "board_link_failed"),
    ],
)
async def test_refusals(lab: Lab, ada: httpx.AsyncClient, reply: BusReply, status: int, code: str) -> None:
    lab.bus.script = lambda headers, frame: reply
    assert code_of(await ada.post("/api/v1/boards/3/bridge")) == (status, code)
