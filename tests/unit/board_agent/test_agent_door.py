"""The side door of virtual boards: reached over a Unix socket, refused for real ones."""

from __future__ import annotations

import asyncio
import json

import pytest
from agent_rig import rig

from lutlab_board_agent.adapters.door import SocketDoor
from lutlab_board_agent.domain.errors import DoorClosed, DoorRefused
from lutlab_events.busmsg import BusStatus, BusVerb


async def test_a_real_board_shows_no_pins():
    async with rig() as r:
        await r.program(r.work(1))
        reply = await r.ask(BusVerb.PINS)
        assert reply.status is BusStatus.REFUSED and "is real" in reply.message


async def test_setting_pins_needs_the_lease():
    async with rig() as r:
        await r.program(r.work(1))
        assert (await r.ask(BusVerb.DRIVE, epoch=7)).status is BusStatus.STALE_LEASE


async def test_the_socket_is_asked_and_its_words_come_back(tmp_path):
    asked = []
    answers = iter([{"ok": [{"pin": "B2"}]}, {"ok": "$end"}, {"refused": "no design runs"}, {}, 5])

    async def serve(reader, writer):
        asked.append(json.loads(await reader.readline()))
        writer.write(json.dumps(next(answers)).encode() + b"\n")
        await writer.drain()
        writer.close()

    # Longer than the address of a socket may be.
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = folder / "control"
    server = await asyncio.start_unix_server(serve, path=str(tmp_path / "short"))
    (tmp_path / "short").rename(path)
    door = SocketDoor()
    async with server:
        assert json.loads(await door.ask(str(path), BusVerb.PINS, b"")) == [{"pin": "B2"}]
        assert await door.ask(str(path), BusVerb.CAPTURE, b'{"cycles": 3}') == b"$end"
        with pytest.raises(DoorRefused, match="no design runs"):
            await door.ask(str(path), BusVerb.DRIVE, b"{}")
        for _ in range(2):
            with pytest.raises(DoorClosed, match="answers something else"):
                await door.ask(str(path), BusVerb.PINS, b"")
    assert [each["ask"] for each in asked] == ["pins", "capture", "drive", "pins", "pins"] and asked[1]["cycles"] == 3
    with pytest.raises(DoorClosed):
        await door.ask(str(tmp_path / "nothing"), BusVerb.PINS, b"")
    with pytest.raises(DoorRefused):
        await door.ask(str(path), BusVerb.PINS, b"[")
