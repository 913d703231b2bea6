"""Tell a job's story while it happens: log lines in small chunks, and the stage the build is in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)

FLUSH_S = 0.1
CHUNK_LINES = 200
CHUNK_CHARS = 64 << 10
LINE_CHARS_MAX = 8000
"""Of one line: engines quote names and messages that a design made as long as it liked. With a full chunk it fits into
a message of NATS whatever its characters are."""
PENDING_LINES_MAX = 100_000
"""Lines that wait while NATS is away; more are dropped, and the log says so."""


K = TypeVar("K", bound=StrEnum)
"""What lines are filed under: the stage of a build, or how important a line of a verification stage is."""
K_contra = TypeVar("K_contra", bound=StrEnum, contravariant=True)


class LinesRefused(Exception):
    """There is no room for these lines now; nothing of them was kept."""


class Outlet(Protocol[K_contra]):
    """Where a story goes. Both calls return once it is safe, however long nobody is there to take it."""

    async def lines(self, stage: K_contra, lines: Sequence[str]) -> None:
        """Some lines of the log, in order. Raises: LinesRefused."""
        ...

    async def stage(self, stage: K_contra) -> None:
        """The build is in this stage now."""
        ...


class Story(Generic[K]):
    """A LogSink that hands on what it hears, in order, without ever holding the build up.

    Stages that a build passes between two flushes are told by the last of them.
    """

    def __init__(self, outlet: Outlet[K]) -> None:
        self._outlet = outlet
        self._lines: deque[tuple[K, str]] = deque()
        self._entered: K | None = None
        self._dropped = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._pump = asyncio.create_task(self._run())

    def stage(self, stage: K) -> None:
        """See `lutlab_builder.app.ports.LogSink.stage`."""
        self._entered = stage
        self._wake.set()

    def line(self, stage: K, text: str) -> None:
        """See `lutlab_builder.app.ports.LogSink.line`."""
        if len(self._lines) >= PENDING_LINES_MAX:
            self._dropped += 1
            return
        self._lines.append((stage, text if len(text) <= LINE_CHARS_MAX else f"{text[:LINE_CHARS_MAX]} [line cut]"))
        self._wake.set()

    async def close(self) -> None:
        """Hand on every line that is left; the last stage is old news by then."""
        self._closed = True
        self._entered = None
        self._wake.set()
        await self._pump

    async def abandon(self) -> None:
        """Stop without handing on the rest."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def _run(self) -> None:
        while not (self._closed and not self._lines):
            await self._wake.wait()
            self._wake.clear()
            if not self._closed:
                await asyncio.sleep(FLUSH_S)  # lines come in bursts: gather one
            await self._flush()

    async def _flush(self) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            await self._outlet.stage(entered)
        stage: K | None = None
        while self._lines:
            stage, lines = self._next_chunk()
            await self._hand_on(stage, lines)
        if self._dropped and stage is not None:
            dropped, self._dropped = self._dropped, 0
            lines = [f"[{dropped} lines were dropped: the log could not be sent in time]"]
            if not await self._hand_on(stage, lines):
                self._dropped = dropped

    async def _hand_on(self, stage: K, lines: list[str]) -> bool:
        """Whether lines were taken. If not they are dropped, with all that waits behind them: it would wait as long."""
        try:
            await self._outlet.lines(stage, lines)
        except LinesRefused as error:
            self._dropped += len(lines) + len(self._lines)
            self._lines.clear()
            log.warning("lines_dropped", dropped=self._dropped, reason=str(error))
            return False
        return True

    def _next_chunk(self) -> tuple[K, list[str]]:
        """The next lines of one stage, few enough for one message."""
        stage = self._lines[0][0]
        lines: list[str] = []
        chars = 0
        while self._lines and self._lines[0][0] is stage and len(lines) < CHUNK_LINES and chars < CHUNK_CHARS:
            lines.append(self._lines.popleft()[1])
            chars += len(lines[-1])
        return stage, lines
