"""Work that NATS has no room for: it waits, visibly and not for ever, and holds up no other work.

While anything waits, room is made again and again, and what waits is tried in its order. That something waits is
remembered for good (`owe`): a scheduler that leads later sends everything outstanding again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from lutlab_scheduler.app.ports import BusFull, Clock

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 5.0
WORK_WAITS = timedelta(minutes=15)
"""How long a build or a stage waits for room."""
LOAD_WAITS = timedelta(seconds=45)
"""How long a load waits, whose board waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A piece of work without room.

    Attributes:
        since: when it found none.
        send: sends it, if it is still wanted. Raises: BusFull, BusUnavailable.
        give_up: what happens when it waited too long; gets the reason.
        waits: how long that is.
    """

    since: datetime
    send: Callable[[], Awaitable[None]]
    give_up: Callable[[str], Awaitable[None]]
    waits: timedelta


class Postponed:
    """The work that waits, by its name."""

    def __init__(
        self,
        *,
        clock: Clock,
        owe: Callable[[int], Awaitable[None]],
        make_room: Callable[[], Awaitable[None]],
    ) -> None:
        """
        Args:
            owe: remembers for good whether something waits (1) or not (0).
            make_room: takes from NATS what nobody needs. Raises: StoreUnavailable, BusUnavailable.
        """
        self._clock = clock
        self._owe = owe
        self._make_room = make_room
        self._waiting: dict[str, Waiting] = {}
        self._news = asyncio.Event()
        self._owing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How much waits."""
        return len(self._waiting)

    async def now_or_later(
        self,
        name: str,
        send: Callable[[], Awaitable[None]],
        give_up: Callable[[str], Awaitable[None]],
        waits: timedelta,
    ) -> bool:
        """Send work, or have it wait; whether it was sent. Raises: BusUnavailable, StoreUnavailable."""
        try:
            await send()
        except BusFull as error:
            log.warning("work_postponed", work=name, reason=str(error), waiting=len(self._waiting))
            async with self._owing:
                await self._owe(1)
                kept = self._waiting.get(name)
                since = self._clock.now() if kept is None else kept.since
                self._waiting[name] = Waiting(since=since, send=send, give_up=give_up, waits=waits)
            self._news.set()
            return False
        self._waiting.pop(name, None)
        return True

    async def run(self) -> None:
        """Make room and try again, while anything waits. Raises: BusUnavailable, StoreUnavailable."""
        while True:
            if not self._waiting:
                await self._news.wait()
            self._news.clear()
            await self._make_room()
            await self.look()
            if self._waiting:
                await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Try once what waits. Raises: BusUnavailable, StoreUnavailable."""
        for name, waiting in list(self._waiting.items()):
            try:
                await waiting.send()
            except BusFull as error:
                waited = self._clock.now() - waiting.since
                if waited < waiting.waits:
                    continue
                self._forget(name, waiting)
                log.error("work_given_up", work=name, waited_s=waited.total_seconds(), reason=str(error))
                await waiting.give_up(f"the lab's message bus had no room for {waited.total_seconds():.0f} s: {error}")
            else:
                self._forget(name, waiting)
                log.info("postponed_work_sent", work=name)
        await self.settle()

    def _forget(self, name: str, waiting: Waiting) -> None:
        """It waits no more, unless it was postponed anew meanwhile."""
        if self._waiting.get(name) is waiting:
            del self._waiting[name]

    async def settle(self) -> None:
        """Remember that nothing waits, if so. Raises: StoreUnavailable."""
        async with self._owing:
            if not self._waiting:
                await self._owe(0)
