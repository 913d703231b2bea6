"""The end of the log in memory: readers that are up to date are woken at once and need no query."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lutlab_events.envelope import EventEnvelope
from lutlab_scheduler.app.ports import EventReader

TAIL_MAX = 4096
POLL_S = 0.25


class Tail:
    """The newest `TAIL_MAX` events, and one wake-up flag per reader."""

    def __init__(self, log: EventReader, position: int) -> None:
        self._log = log
        self._events: deque[EventEnvelope] = deque(maxlen=TAIL_MAX)
        self._position = position
        self._flags: list[asyncio.Event] = []

    @property
    def position(self) -> int:
        """The end of the log."""
        return self._position

    def extend(self, events: Sequence[EventEnvelope]) -> None:
        """Events were committed: keep them and wake every reader."""
        if not events:
            return
        assert events[0].position == self._position + 1, "the tail has a gap"
        self._events.extend(events)
        self._position = events[-1].position
        for flag in self._flags:
            flag.set()

    @contextmanager
    def flag(self) -> Iterator[asyncio.Event]:
        """A flag that is set whenever something was committed, for as long as the block runs."""
        flag = asyncio.Event()
        self._flags.append(flag)
        try:
            yield flag
        finally:
            self._flags.remove(flag)

    async def read(self, after: int, limit: int) -> Sequence[EventEnvelope]:
        """Up to `limit` events after a position: from memory if they are there, else from the log.

        Never one beyond `position`: the log may hold a batch already that this process has not taken in yet, and
        whoever acts on an event looks up in the world what it is about.
        """
        if after >= self._position:
            return []
        if self._events and after + 1 >= self._events[0].position:
            start = after + 1 - self._events[0].position
            return [self._events[i] for i in range(start, min(start + limit, len(self._events)))]
        found = await self._log.read(after, limit)
        return [event for event in found if event.position <= self._position]


async def wait(flag: asyncio.Event, timeout_s: float = POLL_S) -> None:
    """Wait until something was committed, or for `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await flag.wait()
    except TimeoutError:
        pass
    flag.clear()
