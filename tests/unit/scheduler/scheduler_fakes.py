"""The scheduler's ports in memory, as its tests need them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import scheduler_given as g

from lutlab_events import commands as c
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_scheduler.adapters.memory import MemoryDatabase, MemoryStore
from lutlab_scheduler.app.ports import Batch, BlobUnavailable, Head, StoredBlob, Unstorable


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.time = g.T0

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


class MemoryBlobs:
    """The port `Blobs`; a blob's digest is its text.

    Attributes:
        asked: how often it was asked whether a blob exists.
        young: blobs that were put there just now.
    """

    def __init__(self, *digests: str) -> None:
        self.digests = set(digests)
        self.asked = 0
        self.young: set[str] = set()

    async def has(self, digest: str) -> bool:
        return digest in self.digests

    async def exists(self, digest: str) -> bool:
        self.asked += 1
        return digest in self.digests

    async def get(self, digest: str) -> bytes:
        if digest not in self.digests:
            raise BlobUnavailable(digest)
        return digest.encode()

    async def put(self, data: bytes) -> None:
        self.digests.add(data.decode())

    async def delete(self, digest: str) -> None:
        self.digests.discard(digest)

    async def stored_bytes(self) -> int:
        return sum(map(len, self.digests))

    async def held(self, digests: Iterable[str]) -> set[str]:
        return set(digests) & self.digests

    async def listed(self) -> list[StoredBlob]:
        at = {True: ManualClock().now(), False: g.T0 - timedelta(days=1)}
        return [StoredBlob(digest, len(digest), at[digest in self.young]) for digest in sorted(self.digests)]


class MemoryArchive(MemoryBlobs):
    """The port `Archive`."""

    async def put(self, digest: str, data: bytes) -> None:  # type: ignore[override]
        self.digests.add(digest)


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
