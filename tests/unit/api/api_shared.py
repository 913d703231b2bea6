"""What API processes share, storage, news and the message bus' health, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from lutlab_api.app.ports import MessagingHealth
from lutlab_api.app.storage import Used
from lutlab_api.domain.errors import Unavailable


@dataclass
class FakeShared:
    """What processes share; `is_down` makes every method fail."""

    taken: dict[str, tuple[int, int]] = field(default_factory=dict)
    seats: dict[UUID, tuple[str, datetime]] = field(default_factory=dict)
    used: dict[UUID, datetime] = field(default_factory=dict)
    takes: int = 0
    is_down: bool = False

    def _up(self) -> None:
        if self.is_down:
            raise Unavailable("the lab's database does not answer")

    async def take(self, bucket: str, window_start: int, units: int) -> int:
        self._up()
        self.takes += 1
        start, taken = self.taken.get(bucket, (window_start, 0))
        taken = taken + units if start == window_start else units
        self.taken[bucket] = (window_start, taken)
        return taken

    async def take_seat(self, owner: str, holder: UUID, *, now: datetime, until: datetime, seats_max: int) -> bool:
        self._up()
        if sum(who == owner and end > now for who, end in self.seats.values()) >= seats_max:
            return False
        self.seats[holder] = (owner, until)
        return True

    async def keep_seat(self, holder: UUID, until: datetime) -> None:
        self.seats[holder] = (self.seats[holder][0], until)

    async def free_seat(self, holder: UUID) -> None:
        self.seats.pop(holder, None)

    async def record_use(self, used: Mapping[UUID, datetime]) -> None:
        self._up()
        self.used.update(used)

    async def sweep(self, before: datetime) -> None:
        self._up()
        self.taken = {name: each for name, each in self.taken.items() if each[0] >= before.timestamp()}


@dataclass
class FakeStorage:
    """What counts for owners, to set by hand."""

    held: dict[str, dict[str, int]] = field(default_factory=dict)
    looks: int = 0

    async def used(self, owner: str, digests: Collection[str]) -> Used:
        self.looks += 1
        mine = self.held.get(owner, {})
        return Used(used_bytes=sum(mine.values()), blobs=len(mine), held=frozenset(mine) & frozenset(digests))


@dataclass
class FakeChanges:
    """News to give by hand."""

    watchers: dict[str, list[asyncio.Event]] = field(default_factory=dict)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def watched(self, stream: str) -> None:
        """Wait until somebody watches."""
        while not self.watchers.get(stream):
            self.began.clear()
            await asyncio.wait_for(self.began.wait(), 5)

    def watch_all(self) -> AbstractContextManager[asyncio.Event]:
        return self.watch("*")

    @contextmanager
    def watch(self, stream: str) -> Iterator[asyncio.Event]:
        watcher = asyncio.Event()
        self.watchers.setdefault(stream, []).append(watcher)
        self.began.set()
        try:
            yield watcher
        finally:
            self.watchers[stream].remove(watcher)

    def happened(self, stream: str) -> None:
        for watcher in self.watchers.get(stream, []):
            watcher.set()


@dataclass
class FakeMessaging:
    """What the message bus says of itself."""

    state: MessagingHealth = field(
        default_factory=lambda: MessagingHealth(nats=True, scheduler=True, commands_waiting=0)
    )

    async def health(self) -> MessagingHealth:
        return self.state
