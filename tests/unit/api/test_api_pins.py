"""Pins and recordings of boards without hardware: who may, what the agent is asked, what it may refuse."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes import BOB, PINS, ROOT, Lab, board, error_of, reserved

from lutlab_events.busmsg import BusReply, BusStatus, BusVerb
from lutlab_events.values import BoardState

CAPTURE = {"cycles": 40, "signals": ["tx"], "trigger": {"signal": "tx", "level": 0}, "wait_s": 2.0}


async def test_looking_needs_no_session(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    assert (await ada.get("/fpga/0/pins")).json() == PINS
    assert lab.bus.seen[-1][1].verb is BusVerb.PINS


async def test_what_can_be_recorded_needs_no_session(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    assert (await ada.get("/fpga/0/signals")).json() == [{"name": "led0", "bits": 1}, {"name": "count", "bits": 16}]
    assert lab.bus.seen[-1][1].verb is BusVerb.SIGNALS


async def test_a_designs_names_are_for_those_who_may_read_it(lab: Lab) -> None:
    lab.ledger.add(reserved(0), board(1, BoardState.PROGRAMMING, owner="ada"), board(2, BoardState.RESETTING))
    lab.ledger.add_key("mate", "mate", team="red")
    lab.ledger.add_key("adas in the team", "ada", team="red")
    async with lab.client() as ada, lab.client(BOB) as bob, lab.client("mate") as mate, lab.client(ROOT) as root:
        for client, may in ((ada, (0, 1)), (bob, ()), (mate, (0, 1)), (root, (0, 1, 2))):
            for number in range(3):
                answer = await client.get(f"/fpga/{number}/signals")
                assert answer.status_code == (200 if number in may else 403), (client, number)
        assert error_of(await bob.get("/fpga/0/signals"))[:2] == (403, "not_your_session")


async def test_setting_and_recording_need_the_board(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    set_pins = await ada.put("/fpga/0/pins", json={"pins": {"C4": 1}})
    recorded = await ada.post("/fpga/0/capture", json=CAPTURE)
    for answer in (set_pins, recorded):
        assert error_of(answer)[:2] == (409, "fpga_not_reserved")
    assert lab.bus.seen == []


async def test_what_is_asked_reaches_the_agent(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(reserved(0))
    assert (await ada.put("/fpga/0/pins", json={"pins": {"C4": 1}})).json() == PINS
    (_, headers, frame) = lab.bus.seen[-1]
    assert headers.verb is BusVerb.DRIVE and json.loads(frame) == {"pins": {"C4": 1}}
    answer = await ada.post("/fpga/0/capture", json=CAPTURE)
    assert answer.headers["content-type"].startswith("text/x-vcd") and "$timescale" in answer.text
    assert json.loads(lab.bus.seen[-1][2]) == CAPTURE


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (BusReply(status=BusStatus.REFUSED, message="board bench-0 is real"), 409, "board_refused"),
        (BusReply(status=BusStatus.LINK_FAILED), 502, "board_link_failed"),
        (BusReply(status=BusStatus.OK, frame=b"nonsense"), 502, "board_link_failed"),
    ],
)
async def test_what_an_agent_cannot_do(
    lab: Lab, ada: httpx.AsyncClient, reply: BusReply, status: int, code: str
) -> None:
    lab.ledger.add(reserved(0))
    lab.bus.script = lambda headers, frame: reply
    assert error_of(await ada.get("/fpga/0/pins"))[:2] == (status, code)


@pytest.mark.parametrize("levels", [{"C4": 2}, {"C4": "1"}, {"C4": True}])
async def test_levels_are_zero_or_one(lab: Lab, ada: httpx.AsyncClient, levels: dict[str, object]) -> None:
    lab.ledger.add(reserved(0))
    assert (await ada.put("/fpga/0/pins", json={"pins": levels})).status_code == 422
