"""How many WebSockets and followed logs an owner has open, over all API processes: a seat each, kept while it lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from lutlab_api.app.cancelling import end
from lutlab_api.app.ports import Clock, Ids, Shared
from lutlab_api.domain.errors import Code, TooMany, Unavailable

KEEP_EVERY_S = 10.0
SEAT_S = 30.0
"""A seat of a process that died is free after this long."""


class Kind(StrEnum):
    """What somebody sits there for."""

    WEBSOCKET = "WebSocket"
    LOG = "followed log"


class Seats:
    """Gives out seats."""

    def __init__(self, shared: Shared, clock: Clock, ids: Ids, *, seats_max: int) -> None:
        self._shared = shared
        self._clock = clock
        self._ids = ids
        self._seats_max = seats_max

    @asynccontextmanager
    async def seat(self, owner: str, kind: Kind = Kind.WEBSOCKET) -> AsyncIterator[None]:
        """One of `owner`'s seats of a kind for the time of the block. Raises: TooMany, Unavailable."""
        holder = self._ids.new()
        now = self._clock.now()
        until = now + timedelta(seconds=SEAT_S)
        whose = owner if kind is Kind.WEBSOCKET else f"{kind} {owner}"  # no owner's name has a blank
        if not await self._shared.take_seat(whose, holder, now=now, until=until, seats_max=self._seats_max):
            raise TooMany(
                Code.TOO_MANY_WEBSOCKETS if kind is Kind.WEBSOCKET else Code.RATE_LIMITED,
                f"{owner!r} has {self._seats_max} {kind}s open; close one first",
                retry_after_s=int(KEEP_EVERY_S),
            )
        keeping = asyncio.create_task(self._keep(holder))
        try:
            yield
        finally:
            await end([keeping])
            with contextlib.suppress(Unavailable):  # it is free after SEAT_S
                await asyncio.shield(self._shared.free_seat(holder))

    async def _keep(self, holder: UUID) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            with contextlib.suppress(Unavailable):
                await self._shared.keep_seat(holder, self._clock.now() + timedelta(seconds=SEAT_S))
