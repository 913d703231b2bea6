"""`POST /api/v1/boards/{id}/bridge`: the way to a board's TCP bridge, for whoever holds its session."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import httpx
import msgspec
import pytest
from api_fakes import ADA, BOB, SESSION, WAY, Lab, board, reserved

from lutlab_events.busmsg import BusReply, BusStatus, BusVerb
from lutlab_events.ids import digest


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
    assert await lab.services.authenticator.refusal(headers.key) is None


async def test_an_agent_hears_when_the_key_is_no_longer_good(lab: Lab, ada: httpx.AsyncClient) -> None:
    async def named() -> str:
        await ada.post("/api/v1/boards/3/bridge")
        return lab.bus.seen[-1][1].key

    refusal = lab.services.authenticator.refusal
    before = await named()
    assert digest(ADA.encode()) not in before and len(before) < 48
    rotated = await ada.post("/api/v1/keys/me/rotate", json={"grace_s": 60})
    assert await refusal(before) is None, "its grace is not over"
    ada.headers["X-API-Key"] = rotated.json()["api_key"]
    after = await named()
    lab.clock.at += timedelta(seconds=61)
    assert "rotated" in str(await refusal(before))
    assert await refusal(after) is None
    (key,) = (key for key in lab.ledger.key_views.values() if key.owner == "ada")
    lab.ledger.key_views[key.key_sha256] = replace(key, expires_at=lab.clock.at)
    assert "expired" in str(await refusal(after))
    lab.ledger.key_views[key.key_sha256] = key
    assert (await ada.delete("/auth/keys/me")).status_code == 204
    assert "revoked" in str(await refusal(after))
    for nonsense in ("", ".", "x", f"{UUID(int=1)}", f"{UUID(int=1)}."):
        assert "not known" in str(await refusal(nonsense))


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
