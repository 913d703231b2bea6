"""One board as this agent has it: what it remembers, its open line, whether it is plugged in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any

import structlog

from lutlab_board_agent.app.ports import Memories, SerialLine, SerialPorts
from lutlab_board_agent.domain.errors import SerialUnavailable
from lutlab_board_agent.domain.fencing import BoardMemory, lost_design
from lutlab_board_agent.domain.lab import LabBoard
from lutlab_bus import BoardInfo, BusLink, LinkCounters
from lutlab_events.values import BoardReport

log = structlog.get_logger(__name__)


class Seat:
    """State of one board; every use case of the agent works on it.

    Attributes:
        board: what the lab file says.
        memory: what survives the process. Changed only by `remember`.
        link: the open bus, None while the line is closed.
        attached: the board is plugged in, as far as the scheduler was told.
        running_build_id: what answered the latest hello, None if nothing did.
        wheel: whoever opens the line or uses the cable holds it; turns go in order of arrival.
        linked: set while `link` is there.
        doubt: set when something suggests that the board is gone; the watch looks at once.
        loading: the load under way.
        counters: what happened on the line since this agent started, over all its openings.
    """

    def __init__(self, board: LabBoard, ports: SerialPorts, memories: Memories) -> None:
        self.board = board
        self.memory: BoardMemory = memories.load(board.key)
        self.link: BusLink | None = None
        self.attached = False
        self.running_build_id: int | None = None
        self.wheel = asyncio.Lock()
        self.linked = asyncio.Event()
        self.doubt = asyncio.Event()
        self.loading: asyncio.Task[None] | None = None
        self.counters = LinkCounters()
        self._ports = ports
        self._memories = memories
        self._line: SerialLine | None = None
        self._saving = asyncio.Lock()
        self._saved = self.memory

    @property
    def present(self) -> bool:
        """Whether the serial line is plugged in now."""
        return self._ports.present(self.board.serial.path)

    @property
    def runs_as_remembered(self) -> bool:
        """Whether the latest hello was that of the design the board should run."""
        return self.memory.loaded and self.running_build_id == self.memory.build_id

    async def remember(self, memory: BoardMemory) -> None:
        """Change the memory: in force at once, durable on return. Its epoch never goes back."""
        assert memory.epoch >= self.memory.epoch, f"epoch {memory.epoch} after {self.memory.epoch}"
        self.memory = memory
        await self.make_durable()

    async def make_durable(self) -> None:
        """Return once the memory is on the disk, whoever changed it: before that nothing may be done in its name."""
        async with self._saving:
            # A later change may have overtaken the caller's; the file must never go back.
            memory = self.memory
            if memory is not self._saved:
                await _to_its_end(self._memories.save(self.board.key, memory))
                self._saved = memory

    async def connect(self, timeout_s: float) -> BoardInfo:
        """Open the line at the remembered speed and say hello.

        Raises:
            SerialUnavailable: the line cannot be opened.
            lutlab_bus.errors.BusFault: nothing, or nothing intelligible, answered; the line is closed again.
        """
        assert self.memory.baud is not None, "nothing was ever loaded, so the line's speed is unknown"
        self.disconnect()
        line = await self._ports.open(self.board.serial.path, self.memory.baud, self.doubt.set)
        self._line = line
        try:
            link = await BusLink.open(line, timeout_s=timeout_s, counters=self.counters)
        except BaseException:
            if self._line is line:
                self.disconnect()
            raise
        if self._line is not line:
            # Another load cut the line between the hello's answer and now.
            raise SerialUnavailable("the line was closed while it was being opened")
        self.link = link
        self.linked.set()
        self.running_build_id = link.info.build_id
        return link.info

    async def settle(self) -> None:
        """Forget a design that the board turned out not to run any more; its session then has no rights here."""
        if self.memory.loaded and not self.runs_as_remembered:
            log.warning("design_lost", board_key=self.board.key, running_build_id=self.running_build_id)
            await self.remember(lost_design(self.memory))

    def disconnect(self) -> None:
        """Close the line at once; what was not sent never will be."""
        line, self._line, self.link = self._line, None, None
        self.linked.clear()
        self.running_build_id = None
        if line is not None:
            with contextlib.suppress(OSError):
                line.close()

    def link_stats(self) -> dict[str, Any]:
        """How the line does, for people: speeds, the adapter's latency timer, counters."""
        link, latency = self.link, None if self._line is None else self._line.latency
        return {
            "open": link is not None,
            "in_step": link is not None and link.in_step,
            "device": None if link is None else asdict(link.info),
            "line_baud": self.memory.baud,
            "latency_timer": None if latency is None else asdict(latency),
            "counters": self.counters.as_dict(),
        }

    def report(self) -> BoardReport:
        """The board as the scheduler is told about it."""
        return BoardReport(
            board_key=self.board.key,
            profile=self.board.profile,
            running_build_id=self.running_build_id,
            epoch=self.memory.epoch,
            labels=self.board.labels,
        )


async def _to_its_end(saving: Coroutine[Any, Any, None]) -> None:
    """Wait for a save, even where whoever asked for it is cancelled: the thread that writes cannot be stopped, and a
    later save that began before its end would be overtaken by it, or share its file."""
    task = asyncio.ensure_future(saving)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
