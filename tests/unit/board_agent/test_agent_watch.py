"""Boards that vanish, lose power and come back; and registration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from agent_rig import ALICE, Rig, rig

from lutlab_board_agent.app import bus_lane, watch_board
from lutlab_board_agent.domain.errors import SerialUnavailable
from lutlab_board_agent.fake import FakeLine
from lutlab_bus import Read
from lutlab_bus.fake import FakeBridge
from lutlab_events.busmsg import BusStatus, BusVerb
from lutlab_events.commands import Command, RegisterAgent, ReportBoardFound, ReportBoardLost
from lutlab_events.values import BoardReport


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_board, "POLL_S", 0.02)
    monkeypatch.setattr(watch_board, "HELLO_TIMEOUT_S", 0.2)
    monkeypatch.setattr(watch_board, "FIRST_HELLO_TIMEOUT_S", 0.2)


async def sent(r: Rig, count: int) -> list[Command]:
    async with asyncio.timeout(5):
        while len(r.commands.sent) < count:
            r.commands.arrived.clear()
            await r.commands.arrived.wait()
    return r.commands.sent


async def serving(r: Rig) -> None:
    await r.program(r.work(1))
    r.commands.sent.clear()
    r.watch()


async def test_unplugged_while_an_exchange_waits() -> None:
    async with rig() as r:
        await serving(r)
        r.board.mute = True
        waiting = r.ask(BusVerb.EXCHANGE, Read(0))
        await asyncio.sleep(0.01)
        r.board.unplug()
        assert (await waiting).status is BusStatus.LINK_FAILED
        (lost,) = await sent(r, 1)
        assert isinstance(lost, ReportBoardLost)
        assert (lost.fpga_id, lost.agent_id) == (0, "agent-1") and "unplugged" in lost.message
        assert (await r.write(0, 1)).status is BusStatus.LINK_FAILED
        await asyncio.sleep(0.1)
        assert len(r.commands.sent) == 1


async def test_back_with_its_design() -> None:
    async with rig() as r:
        await serving(r)
        bridge = r.board.bridge
        r.board.unplug()
        await sent(r, 1)
        r.board.bridge, r.board.present = bridge, True
        _, found = await sent(r, 2)
        report = BoardReport(board_key="bench-0", profile="lfe5u-25f", running_build_id=0xABC, epoch=1)
        assert found == ReportBoardFound(fpga_id=0, agent_id="agent-1", report=report)
        assert (await r.write(0, 1)).status is BusStatus.OK


@pytest.mark.parametrize("runs", [None, 0x777])
async def test_back_without_its_design(runs: int | None) -> None:
    async with rig() as r:
        await serving(r)
        r.board.unplug()
        await sent(r, 1)
        r.board.bridge = None if runs is None else FakeBridge(build_id=runs)
        r.board.present = True
        _, found = await sent(r, 2)
        assert isinstance(found, ReportBoardFound) and found.report.running_build_id == runs
        reply = await r.write(0, 1)
        assert reply.status is BusStatus.STALE_LEASE and "does not run" in reply.message
        assert not r.memories.saved["bench-0"].loaded


async def test_power_loss_behind_a_line_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_lane, "EXECUTE_TIMEOUT_S", 0.05)
    async with rig() as r:
        await serving(r)
        r.board.power_cycle()
        assert (await r.write(0, 1)).status is BusStatus.LINK_FAILED
        lost, found = await sent(r, 2)
        assert isinstance(lost, ReportBoardLost) and "no answer to hello" in lost.message
        assert isinstance(found, ReportBoardFound) and found.report.running_build_id is None


async def test_a_line_that_hiccups_is_opened_again_without_a_report() -> None:
    async with rig() as r:
        await serving(r)
        assert r.board.line is not None
        r.board.line.end()
        async with asyncio.timeout(5):
            while (await r.write(0, 5)).status is not BusStatus.OK:
                pass
        assert len(r.board.opened) == 2
        assert r.commands.of(ReportBoardLost) == []


async def test_registration_says_what_runs() -> None:
    async with rig(boards=2) as r:
        await r.program(r.work(4))
        await r.again()
        await r.registration.register()
        (register,) = r.commands.sent
        assert isinstance(register, RegisterAgent) and register.agent_id == "agent-1"
        assert register.boards == (
            BoardReport(board_key="bench-0", profile="lfe5u-25f", running_build_id=0xABC, epoch=4),
            BoardReport(board_key="bench-1", profile="lfe5u-25f", running_build_id=None, epoch=0),
        )


async def test_registration_after_power_loss() -> None:
    async with rig() as r:
        await r.program(r.work(4))
        r.board.power_cycle()
        await r.again()
        assert r.seat.report().running_build_id is None
        assert r.seat.report().epoch == 4
        assert (await r.write(0, 1, epoch=4)).status is BusStatus.STALE_LEASE


async def test_a_board_that_is_missing_is_left_out() -> None:
    async with rig(boards=2) as r:
        await r.program(r.work(4))
        r.board.unplug()
        await r.again()
        await r.registration.register()
        (register,) = r.commands.sent
        assert isinstance(register, RegisterAgent)
        assert [board.board_key for board in register.boards] == ["bench-1"]


async def test_a_new_board_that_appears_registers_the_agent_again() -> None:
    async with rig() as r:
        r.board.unplug()
        await r.again()
        r.watch()
        r.board.present = True
        (register,) = await sent(r, 1)
        assert isinstance(register, RegisterAgent) and len(register.boards) == 1


async def test_a_line_in_use_is_tried_again_then_reported_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig() as r:
        await serving(r)
        bridge = r.board.bridge
        r.board.unplug()
        await sent(r, 1)
        r.board.bridge, r.board.present = bridge, True
        r.board.line = other = await r.host.open("/dev/fake0", 1, lambda: None)
        refused = asyncio.Event()
        open_line = r.host.open

        async def observed(path: str, baud: int, on_gone: Callable[[], None]) -> FakeLine:
            try:
                return await open_line(path, baud, on_gone)
            except SerialUnavailable:
                refused.set()
                raise

        monkeypatch.setattr(r.host, "open", observed)
        async with asyncio.timeout(5):
            await refused.wait()
        other.close()
        _, found = await sent(r, 2)
        assert isinstance(found, ReportBoardFound) and found.report.running_build_id == 0xABC
        assert (await r.write(0, 1, session=ALICE)).status is BusStatus.OK
