"""Following the log: one reader a process, any number of followers, each of which keeps nothing but its position and
what it wants to hear.

A follower that is up to date is served from a window of the newest events; one that fell behind reads from the ledger
until it has caught up. So a slow follower costs no memory, misses nothing, and sees everything once and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from lutlab_api.app.audit import AuditFilter, AuditRow
from lutlab_api.domain.errors import ApiError, Code, Unavailable

log = structlog.get_logger(__name__)

WINDOW_MAX = 4096
BATCH_MAX = 500
LOOK_EVERY_S = 1.0
"""Between two looks when no news come: they are lost while the message bus is away."""
FOLLOWERS_MAX = 5000
FOLLOWERS_OF_ONE_MAX = 4000
"""Of one owner: nobody takes all places."""


@dataclass(frozen=True, slots=True)
class Followed:
    """An event, whose job it is about, and how followers are told."""

    event: AuditRow
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

    async def after(self, wanted: AuditFilter) -> Sequence[Followed]:
        """Events, oldest first."""
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
    """What a follower gets next, perhaps nothing, and where it is then; `behind` is how far that is from the end of the
    log, if it had to catch up."""

    entries: Sequence[Followed]
    position: int
    behind: int = 0


def is_wanted(wanted: AuditFilter, followed: Followed) -> bool:
    """Whether a follower wants, and may see, an event; its place in the log is not looked at."""
    event = followed.event
    kind = wanted.type
    return (
        (wanted.stream is None or event.stream == wanted.stream)
        and (kind is None or (event.type.startswith(kind) if kind.endswith(".") else event.type == kind))
        and (wanted.actor is None or event.actor == wanted.actor)
        and (wanted.correlation_id is None or event.correlation_id == wanted.correlation_id)
        and (wanted.until is None or event.position <= wanted.until)
        and (wanted.since is None or event.at >= wanted.since)
        and (wanted.before is None or event.at < wanted.before)
        and (
            wanted.visible_to is None
            or event.stream.startswith("board-")
            or (followed.owner is not None and followed.owner == wanted.visible_to)
        )
    )


class Follower:
    """Reads the log once for everybody.

    Args:
        tell: how followers are told of an event; done once for all of them.
    """

    def __init__(self, source: LogSource, news: News, tell: Callable[[AuditRow], bytes]) -> None:
        self._source = source
        self._news = news
        self._tell = tell
        self._window: deque[Followed] = deque(maxlen=WINDOW_MAX)
        self._position: int | None = None
        self._grown = asyncio.Event()
        self.followers = 0
        self._of_one: Counter[str] = Counter()
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
            # With a full window from the start, all who come back after a restart are served from memory.
            self._position = max(0, await self._source.head() - WINDOW_MAX)
        while found := await self._source.after(AuditFilter(after=self._position, limit=BATCH_MAX)):
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

    async def end(self) -> int:
        """The end of the log. Raises: Unavailable."""
        return await self._source.head()

    async def follow(self, wanted: AuditFilter, wait_s: float, whose: str = "") -> AsyncIterator[Batch]:
        """What happened after `wanted.after`, for ever; an empty batch where nothing did for `wait_s`.

        Args:
            whose: who follows, for the limit of each owner.

        Raises:
            ApiError: `overloaded`: too many follow already.
            Unavailable: the ledger does not answer.
        """
        if self.followers >= FOLLOWERS_MAX:
            raise ApiError(Code.OVERLOADED, f"{FOLLOWERS_MAX} clients follow the log already; try again later")
        if self._of_one[whose] >= FOLLOWERS_OF_ONE_MAX:
            raise ApiError(Code.OVERLOADED, f"{FOLLOWERS_OF_ONE_MAX} clients of yours follow the log already")
        self.followers += 1
        self._of_one[whose] += 1
        try:
            after, choosy = wanted.after, replace(wanted, after=0, limit=0) != AuditFilter(limit=0)
            while not self.closing:
                grown = self._grown
                batch = await self._next(wanted, after, choosy)
                if batch is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):  # unlike `wait_for` it makes no task, and there are many
                            await grown.wait()
                        continue
                    batch = Batch((), after)
                after = batch.position
                yield batch
        finally:
            self.followers -= 1
            self._of_one[whose] -= 1
            if not self._of_one[whose]:
                del self._of_one[whose]

    async def _next(self, wanted: AuditFilter, after: int, choosy: bool) -> Batch | None:
        """The next events after a position, None if nothing happened yet."""
        if self._position is not None and after >= self._position:
            return None
        if self._window and after + 1 >= self._window[0].event.position:
            start = after + 1 - self._window[0].event.position
            entries = [self._window[i] for i in range(start, min(start + BATCH_MAX, len(self._window)))]
            chosen = [e for e in entries if is_wanted(wanted, e)] if choosy else entries
            return Batch(chosen, entries[-1].event.position)
        return await self._catch_up(replace(wanted, after=after))

    async def _catch_up(self, wanted: AuditFilter) -> Batch | None:
        head = self._position or 0
        found = await self._source.after(replace(wanted, limit=BATCH_MAX))
        told = [Followed(f.event, f.owner, self._tell(f.event)) for f in found]
        last = told[-1].event.position if told else wanted.after
        if len(told) < BATCH_MAX:  # nothing more is wanted of what there was before the query
            last = max(last, head)
        if last == wanted.after:
            return None
        return Batch(told, last, behind=max((self._position or 0) - last, 0))
