"""Watching a board: it may be unplugged, lose power, or come back, at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from lutlab_board_agent.app.ports import Commands
from lutlab_board_agent.app.serve_bus import BoardBus
from lutlab_board_agent.domain.errors import SerialUnavailable
from lutlab_bus import BusFault, LinkLost
from lutlab_events.busmsg import BusStatus
from lutlab_events.commands import ReportBoardFound, ReportBoardLost

log = structlog.get_logger(__name__)

POLL_S = 1.0
HELLO_TIMEOUT_S = 10.0
"""A board that was caught in the middle of a long exchange must finish it before it can answer."""
FIRST_HELLO_TIMEOUT_S = 3.0
"""The same when the agent starts or a board comes back: nothing is under way then, and others wait for the answer."""
IDLE_HELLO_TIMEOUT_S = 1.0
"""The same where nothing is known to run; an answer would only be told to the scheduler."""
OPEN_TRIES_MAX = 5
"""A line that was just plugged in may belong to root for a moment; after this many polls it is reported as it is."""


async def report_lost(bus: BoardBus, commands: Commands, agent_id: str, message: str) -> None:
    """Cut what is under way and tell the scheduler that the board is gone."""
    seat = bus.seat
    bus.cut(BusStatus.LINK_FAILED, f"{message}; operations may or may not have run")
    seat.attached = False
    log.warning("board_lost", board_key=seat.board.key, reason=message)
    if seat.memory.fpga_id is not None:
        await commands.send(ReportBoardLost(fpga_id=seat.memory.fpga_id, agent_id=agent_id, message=message))


class BoardWatch:
    """Looks after one board's presence.

    Args:
        bus: the board.
        commands: the way to the scheduler.
        agent_id: this agent.
        register: registers the whole agent again; for a board the scheduler has no number for yet.
    """

    def __init__(
        self, bus: BoardBus, commands: Commands, agent_id: str, register: Callable[[], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self._commands = commands
        self._agent_id = agent_id
        self._register = register
        self._open_tries = 0

    async def run(self) -> None:
        """Watch for ever: at every doubt at once, and once a poll interval anyway."""
        seat = self._bus.seat
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await seat.doubt.wait()
            except TimeoutError:
                pass
            doubted = seat.doubt.is_set()
            seat.doubt.clear()
            try:
                async with seat.wheel:
                    await self._look(doubted)
            except Exception:
                # A defect here must not end the watch, and with it the way back from a lost board.
                log.exception("board_watch_failed", board_key=seat.board.key)

    async def start(self) -> None:
        """Look for the first time, before the agent registers; tells nobody."""
        seat = self._bus.seat
        async with seat.wheel:
            for _ in range(OPEN_TRIES_MAX):
                if not seat.present or await self._connect():
                    return
                await asyncio.sleep(POLL_S)

    async def _look(self, doubted: bool) -> None:
        seat = self._bus.seat
        if not seat.present:
            if seat.attached:
                await self._lost(f"{seat.board.serial.path} is gone: the board was unplugged")
        elif not seat.attached:
            if await self._connect():
                await self._tell_found()
        elif seat.memory.loaded:
            if doubted or seat.link is None:
                await self._examine()
        elif doubted:
            seat.disconnect()  # nothing is expected to answer; the next load opens the line again

    async def _examine(self) -> None:
        """The board should run its design; see whether it does."""
        seat = self._bus.seat
        try:
            await self._say_hello()
        except (SerialUnavailable, BusFault) as error:
            await self._lost(str(error))
            return
        if not seat.runs_as_remembered:
            await self._lost(f"the board runs build {seat.running_build_id:08x} instead of what was loaded")

    async def _say_hello(self) -> None:
        """On the open line, or on a new one if it ended. Raises: SerialUnavailable, BusFault."""
        seat = self._bus.seat
        if seat.link is not None:
            try:
                seat.running_build_id = (await seat.link.hello(HELLO_TIMEOUT_S)).build_id
            except LinkLost as error:
                log.info("serial_line_ended", board_key=seat.board.key, error=str(error))
            else:
                return
        await seat.connect(HELLO_TIMEOUT_S)

    async def _connect(self) -> bool:
        """The board was not attached and its line is there: find out what it runs; True once it is attached."""
        seat = self._bus.seat
        try:
            if seat.memory.baud is not None:
                await seat.connect(FIRST_HELLO_TIMEOUT_S if seat.memory.loaded else IDLE_HELLO_TIMEOUT_S)
        except SerialUnavailable as error:
            self._open_tries += 1
            log.warning("serial_unavailable", board_key=seat.board.key, error=str(error), tries=self._open_tries)
            if not seat.present or self._open_tries < OPEN_TRIES_MAX:
                return False
        except BusFault as error:
            log.info("board_silent", board_key=seat.board.key, error=str(error))
            if not seat.present:
                return False
        self._open_tries = 0
        await seat.settle()
        seat.attached = True
        log.info("board_found", board_key=seat.board.key, running_build_id=seat.running_build_id)
        return True

    async def _lost(self, message: str) -> None:
        await report_lost(self._bus, self._commands, self._agent_id, message)

    async def _tell_found(self) -> None:
        seat = self._bus.seat
        if seat.memory.fpga_id is None:
            await self._register()
            return
        await self._commands.send(
            ReportBoardFound(fpga_id=seat.memory.fpga_id, agent_id=self._agent_id, report=seat.report())
        )
