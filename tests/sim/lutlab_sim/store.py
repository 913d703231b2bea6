"""Postgres in memory: the contract-tested event store behind connections that break, and one leader's lock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from lutlab_events.commands import Command
from lutlab_events.envelope import EventEnvelope, Happened
from lutlab_events.work import LogChunk
from lutlab_scheduler.adapters.memory import MemoryDatabase, MemoryPositions, MemoryShelf, MemoryStore
from lutlab_scheduler.adapters.postgres_leader import STANDBY_POLL_S
from lutlab_scheduler.app.ports import (
    NOTHING,
    Batch,
    BlobUnavailable,
    Checkpoint,
    Head,
    RecordedCommand,
    StoreUnavailable,
)
from lutlab_sim.loop import Process

LATENCY_S = 0.002
FLUSH_S = 0.2
"""Positions are not waited for: a crash of the server may lose those of the last moments."""
VANISHED_S = 11.0
"""After this long at most, the server notices that a leader's host is gone."""


class Session:
    """One connection of a process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lost = asyncio.Event()

    def end(self) -> None:
        """It broke."""
        self.lost.set()


class SimDatabase(MemoryDatabase):
    """What is on disk, and who holds the leader's lock.

    Attributes:
        trouble: chance that a statement ends in a broken connection, before or after it was carried out.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.up = True
        self.trouble = 0.0
        self.leader: Session | None = None
        self.sessions: list[Session] = []
        self.logs: dict[tuple[UUID, int, int], LogChunk] = {}
        self.durable_positions: dict[str, int] = {}
        self.bodies: dict[UUID, Command] = {}
        self.committed: Callable[[EventEnvelope], None] = lambda event: None
        self.letters: list[tuple[str, str, bytes, str]] = []
        self.terms = 0

    def crash(self) -> None:
        """Every connection breaks; the lock is free; positions may go back."""
        self.up = False
        self.positions = dict(self.durable_positions)
        for session in self.sessions:
            session.end()
        self.sessions.clear()
        self.leader = None

    def restart(self) -> None:
        """Take connections again."""
        self.up = True

    def forget(self, session: Session) -> None:
        """A connection was closed, or found dead."""
        session.end()
        if session in self.sessions:
            self.sessions.remove(session)
        if self.leader is session:
            self.leader = None

    def set_position(self, name: str, position: int) -> None:
        """Remembered at once, on disk a little later."""
        self.positions[name] = position

        def flush() -> None:
            if self.positions.get(name) == position:
                self.durable_positions[name] = position

        asyncio.get_running_loop().call_later(FLUSH_S, flush)


class Connection:
    """Statements over one session."""

    def __init__(self, database: SimDatabase, session: Session, process: Process) -> None:
        self.database = database
        self._session = session
        self._process = process

    async def pause(self) -> None:
        """On the way, one direction. Raises: StoreUnavailable."""
        await asyncio.sleep(LATENCY_S * (0.2 + self.database.rng.random()))
        if not self._process.alive or self._session.lost.is_set():
            raise StoreUnavailable("the connection broke")
        if self.database.trouble and self.database.rng.random() < self.database.trouble:
            self.database.forget(self._session)
            raise StoreUnavailable("the connection breaks")


class SimStore(MemoryStore):
    """The EventStore port."""

    def __init__(self, database: SimDatabase, connection: Connection) -> None:
        super().__init__(database)
        self._connection = connection

    async def head(self) -> Head:
        await self._connection.pause()
        return await super().head()

    async def load(self, streams: Iterable[str]) -> Sequence[EventEnvelope]:
        await self._connection.pause()
        return await super().load(streams)

    async def replay(
        self,
        take: Callable[[Sequence[Happened]], None],
        streams: Sequence[str] | None = None,
        after: Mapping[str, int] = NOTHING,
    ) -> None:
        await self._connection.pause()
        await super().replay(take, streams, after)

    async def live_streams(self) -> list[str]:
        await self._connection.pause()
        return await super().live_streams()

    async def read(self, after: int, limit: int) -> Sequence[EventEnvelope]:
        await self._connection.pause()
        return await super().read(after, limit)

    async def held_by(self, owners: Iterable[str]) -> dict[str, dict[str, int]]:
        await self._connection.pause()
        return await super().held_by(owners)

    async def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        await self._connection.pause()
        return await super().sizes(digests)

    async def recorded(self, command_ids: Iterable[UUID]) -> dict[UUID, RecordedCommand]:
        await self._connection.pause()
        return await super().recorded(command_ids)

    async def append(self, batch: Batch, head: Head) -> Head:
        """Broken before it, nothing was stored; broken after it, everything was, and nobody knows."""
        await self._connection.pause()
        stored = await super().append(batch, head)
        for command in batch.commands:
            self._connection.database.bodies[command.envelope.command_id] = command.envelope.body
        for event in batch.events:
            self._connection.database.committed(event)
        await self._connection.pause()
        return stored


class SimShelf(MemoryShelf):
    """The Shelf port."""

    def __init__(self, database: SimDatabase, connection: Connection) -> None:
        super().__init__(database)
        self._connection = connection

    async def kept(self) -> Sequence[Checkpoint]:
        await self._connection.pause()
        return await super().kept()

    async def keep(self, checkpoints: Sequence[Checkpoint]) -> None:
        await self._connection.pause()
        await super().keep(checkpoints)
        await self._connection.pause()


class SimPositions(MemoryPositions):
    """The Positions port."""

    def __init__(self, database: SimDatabase, connection: Connection) -> None:
        super().__init__(database)
        self._sim = database
        self._connection = connection

    async def get(self, name: str) -> int:
        await self._connection.pause()
        return await super().get(name)

    async def set(self, name: str, position: int) -> None:
        await self._connection.pause()
        self._sim.set_position(name, position)

    async def keep(self, name: str, position: int) -> None:
        await self._connection.pause()
        self._sim.positions[name] = self._sim.durable_positions[name] = position


class SimArchive:
    """The Archive and LogStore ports."""

    def __init__(self, database: SimDatabase, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    async def has(self, digest: str) -> bool:
        await self._connection.pause()
        return digest in self._database.blobs

    async def held(self, digests: Iterable[str]) -> set[str]:
        await self._connection.pause()
        return set(digests) & self._database.blobs.keys()

    async def get(self, digest: str) -> bytes:
        await self._connection.pause()
        if digest not in self._database.blobs:
            raise BlobUnavailable(f"blob {digest} is not in Postgres")
        return self._database.blobs[digest]

    async def put(self, digest: str, data: bytes) -> None:
        await self._connection.pause()
        self._database.blobs[digest] = data

    async def log_bytes(self, job_id: UUID) -> int:
        await self._connection.pause()
        return sum(len("".join(c.lines)) + len(c.lines) for k, c in self._database.logs.items() if k[0] == job_id)

    async def add_logs(self, chunks: Sequence[LogChunk]) -> None:
        await self._connection.pause()
        for chunk in chunks:
            self._database.logs.setdefault((chunk.job_id, chunk.attempt, chunk.seq), chunk)


HISTORY_AT_ONCE = 3


class SimHistory:
    """The History port."""

    def __init__(self, database: SimDatabase, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    async def history(
        self, stream: str, position: int | None, at: datetime | None
    ) -> AsyncGenerator[Sequence[EventEnvelope], None]:
        await self._connection.pause()
        found = [
            event
            for event in self._database.events
            if event.stream == stream
            and (position is None or event.position <= position)
            and (at is None or event.at <= at)
        ]
        for first in range(0, len(found), HISTORY_AT_ONCE):
            yield found[first : first + HISTORY_AT_ONCE]
            await self._connection.pause()


class SimLetters:
    """The Letters port."""

    def __init__(self, connection: Connection, clock: object) -> None:
        self._connection = connection

    async def bury(self, origin: str, subject: str, data: bytes, reason: str) -> None:
        await self._connection.pause()
        self._connection.database.letters.append((origin, subject, data, reason))

    async def letter(self, letter_id: UUID) -> None:
        raise NotImplementedError("nobody wishes for one here")


class SimLeadership:
    """The ports of one term."""

    def __init__(self, database: SimDatabase, session: Session, process: Process) -> None:
        connection = Connection(database, session, process)
        self.store = SimStore(database, connection)
        self.positions = SimPositions(database, connection)
        self.archive = SimArchive(database, connection)
        self.history = SimHistory(database, connection)
        self.shelf = SimShelf(database, connection)
        self.pool = connection
        self._session = session

    async def watch(self) -> None:
        await self._session.lost.wait()
        raise StoreUnavailable("the writer's connection was lost")


class SimLedger:
    """In place of `lutlab_scheduler.adapters.postgres_leader.Ledger`."""

    def __init__(self, database: SimDatabase, process: Process) -> None:
        self._database = database
        self._process = process

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[SimLeadership]:
        database, session = self._database, Session(self._process)
        await asyncio.sleep(LATENCY_S)
        self._check(session)
        database.sessions.append(session)
        try:
            while database.leader is not None:
                await asyncio.sleep(STANDBY_POLL_S)
                self._check(session)
            database.leader = session
            database.terms += 1
            yield SimLeadership(database, session, self._process)
        finally:
            if self._process.alive or database.rng.random() < 0.7:
                database.forget(session)
            else:
                # The whole host vanished: nothing tells the server.
                after_s = VANISHED_S * database.rng.random()
                asyncio.get_running_loop().call_later(after_s, database.forget, session)

    def _check(self, session: Session) -> None:
        if not self._database.up or session.lost.is_set():
            raise StoreUnavailable("the database is down")
