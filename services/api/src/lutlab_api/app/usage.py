"""When keys were used last: noted in memory, written every few seconds, never an event."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from lutlab_api.app.ports import Clock, Shared
from lutlab_api.domain.errors import Unavailable

WRITE_EVERY_S = 5.0
NOTED_MAX = 10_000
"""Keys noted between two writes; those beyond are noted the next time they are used."""
SWEEP_EVERY = 120
"""Writes between two sweeps of what is over."""
KEPT = timedelta(days=1)


class KeyUsage:
    """Notes uses, and writes them down."""

    def __init__(self, shared: Shared, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._noted: dict[UUID, datetime] = {}

    def note(self, key_id: UUID, at: datetime) -> None:
        """A key was used."""
        if key_id in self._noted or len(self._noted) < NOTED_MAX:
            self._noted[key_id] = at

    async def write(self) -> None:
        """Write what was noted; kept for the next time if the database does not answer."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._shared.record_use(noted)
        except Unavailable:
            self._noted = noted | self._noted

    async def run(self) -> None:
        """Write every few seconds, and sweep what is long over now and then."""
        writes = 0
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()
            writes += 1
            if writes % SWEEP_EVERY == 1:
                await self._sweep()

    async def _sweep(self) -> None:
        try:
            await self._shared.sweep(self._clock.now() - KEPT)
        except Unavailable:
            return
