"""The scheduler's ports in memory, as its tests need them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import scheduler_given as g

from lutlab_events import commands as c
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_scheduler.adapters.memory import MemoryDatabase, MemoryStore
from lutlab_scheduler.app.ports import Batch, Head, Unstorable


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.time = g.T0

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


class CountingStore(MemoryStore):
    """Counts batches, and refuses what it is told to."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.batches: list[Batch] = []
        self.poison: set[UUID] = set()
        self.broken: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.appending = asyncio.Event()

    async def append(self, batch: Batch, head: Head) -> Head:
        self.appending.set()
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        if any(command.envelope.command_id in self.poison for command in batch.commands):
            raise Unstorable("nul character")
        self.batches.append(batch)
        return await super().append(batch, head)


def envelope(body: c.Command, name: str, fingerprint: str = "") -> CommandEnvelope:
    ident = derived(name)
    return CommandEnvelope(
        command_id=ident,
        body=body,
        actor="ada",
        site="main",
        correlation_id=ident,
        issued_at=g.T0,
        fingerprint=fingerprint,
    )
