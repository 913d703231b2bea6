"""Following the log: one reader a process, any number of followers, each of which keeps nothing but its position.

A follower that is up to date is served from a window of the newest events; one that fell behind reads from the ledger
until it has caught up. So a slow follower costs no memory, misses nothing, and sees everything once and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from lutlab_api.domain.errors import ApiError, Code, Unavailable
from lutlab_api.domain.views import EventView

log = structlog.get_logger(__name__)

WINDOW_MAX = 4096
BATCH_MAX = 500
LOOK_EVERY_S = 1.0
"""Between two looks when no news come: they are lost while the message bus is away."""
FOLLOWERS_MAX = 5000


@dataclass(frozen=True, slots=True)
class Followed:
    """An event, whose job it is about, and how followers are told."""

    event: EventView
    owner: str | None
    told: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Lines of a job's log as they were stored together."""

    attempt: int
    seq: int
    stage: str
    text: str
    at: datetime


class LogSource(Protocol):
    """The log, and jobs' logs, by position. Raises `Unavailable`."""

    async def head(self) -> int:
        """The end of the log."""
        ...

    async def after(self, position: int, limit: int) -> Sequence[Followed]:
        """Events after a position, oldest first."""
        ...

    async def lines_after(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[LogPiece]:
        """Pieces of a job's log from (attempt, seq) on, that one included."""
        ...


class News(Protocol):
    """Where news of the log come from."""

    def watch_all(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever anything happened, for the time of the block."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What a follower gets next; `behind` is how far it is from the end of the log, if it had to catch up."""

    entries: Sequence[Followed]
    position: int
    behind: int = 0


class Follower:
    """Reads the log once for everybody.

    Args:
        tell: how followers are told of an event; done once for all of them.
    """

    def __init__(self, source: LogSource, news: News, tell: Callable[[EventView], bytes]) -> None:
        self._source = source
        self._news = news
        self._tell = tell
        self._window: deque[Followed] = deque(maxlen=WINDOW_MAX)
        self._position: int | None = None
        self._grown = asyncio.Event()
        self.followers = 0
        self.closing = False

    async def run(self) -> None:
        """Read until cancelled."""
        with self._news.watch_all() as news:
            while True:
                news.clear()
                with contextlib.suppress(Unavailable):
                    await self._read()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_EVERY_S)

    async def _read(self) -> None:
        if self._position is None:
            self._position = await self._source.head()
        while found := await self._source.after(self._position, BATCH_MAX):
            self._window.extend(Followed(f.event, f.owner, self._tell(f.event)) for f in found)
            self._position = found[-1].event.position
            self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def close(self) -> None:
        """Let every follower end: the server stops."""
        self.closing = True
        self._wake()

    async def follow(self, after: int, wait_s: float) -> AsyncIterator[Batch]:
        """What happened after a position, for ever; an empty batch where nothing did for `wait_s`.

        Raises:
            ApiError: `overloaded`: too many follow already.
            Unavailable: the ledger does not answer.
        """
        if self.followers >= FOLLOWERS_MAX:
            raise ApiError(Code.OVERLOADED, f"{FOLLOWERS_MAX} clients follow the log already; try again later")
        self.followers += 1
        try:
            while not self.closing:
                grown = self._grown
                batch = await self._next(after)
                if batch is None:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(grown.wait(), wait_s)
                        continue
                    batch = Batch((), after)
                after = batch.position
                yield batch
        finally:
            self.followers -= 1

    async def _next(self, after: int) -> Batch | None:
        """The next events after a position, None if there are none yet."""
        if self._position is not None and after >= self._position:
            return None
        if self._window and after + 1 >= self._window[0].event.position:
            start = after + 1 - self._window[0].event.position
            entries = [self._window[i] for i in range(start, min(start + BATCH_MAX, len(self._window)))]
            return Batch(entries, entries[-1].event.position)
        found = await self._source.after(after, BATCH_MAX)
        if not found:
            return None
        told = [Followed(f.event, f.owner, self._tell(f.event)) for f in found]
        last = told[-1].event.position
        return Batch(told, last, behind=max((self._position or 0) - last, 0))
