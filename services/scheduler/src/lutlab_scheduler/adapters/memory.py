"""The EventStore and Positions ports in memory: a stand-in for Postgres in tests, held to the same contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from lutlab_events import events as e
from lutlab_events import verification as v
from lutlab_events.envelope import EventEnvelope, Happened
from lutlab_events.events import Event
from lutlab_events.values import Json
from lutlab_ledger.chain import GENESIS, chain_hash
from lutlab_scheduler.adapters.postgres import log_row
from lutlab_scheduler.app.ports import (
    NOTHING,
    AlreadyRecorded,
    AppendConflict,
    Batch,
    Checkpoint,
    Head,
    RecordedCommand,
)
from lutlab_scheduler.app.projections import KEYS

STREAM_KINDS = {"boards": "board", "agents": "agent", "api_keys": "key", "profiles": "profile", "webhooks": "webhook"}
OPEN = {"queued", "running"}


class MemoryDatabase:
    """What would be on disk; several stores may share it."""

    def __init__(self) -> None:
        self.events: list[EventEnvelope] = []
        self.hashes: list[bytes] = []
        self.versions: dict[str, int] = {}
        self.commands: dict[UUID, RecordedCommand] = {}
        self.views: dict[str, dict[str, Json]] = {table: {} for table in KEYS}
        self.positions: dict[str, int] = {}
        self.blobs: dict[str, bytes] = {}
        self.checkpoints: dict[str, Checkpoint] = {}


class MemoryStore:
    """The EventStore port."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def head(self) -> Head:
        """The end of the log."""
        return self._head()

    def _head(self) -> Head:
        database = self._database
        return Head(len(database.events), database.hashes[-1] if database.hashes else GENESIS)

    async def load(self, streams: Iterable[str]) -> Sequence[EventEnvelope]:
        """All events of these streams, in log order."""
        wanted = set(streams)
        return [event for event in self._database.events if event.stream in wanted]

    async def replay(
        self,
        take: Callable[[Sequence[Happened]], None],
        streams: Sequence[str] | None = None,
        after: Mapping[str, int] = NOTHING,
    ) -> None:
        """Give `take` all events of these streams, or of all, in log order."""
        events = self._database.events if streams is None else await MemoryStore.load(self, streams)
        take([event for event in events if event.version > after.get(event.stream, 0)])

    async def live_streams(self) -> list[str]:
        """Every stream but those of jobs that have ended and of projects that were deleted."""
        views = self._database.views
        streams = [f"{kind}-{key}" for table, kind in STREAM_KINDS.items() for key in views[table]]
        streams += [f"project-{key}" for key, row in views["projects"].items() if row["status"] != "deleted"]
        streams += [f"verification-{key}" for key, row in views["verifications"].items() if row["status"] in OPEN]
        return streams + [f"job-{key}" for key, row in views["jobs"].items() if row["status"] in OPEN]

    async def read(self, after: int, limit: int) -> Sequence[EventEnvelope]:
        """Up to `limit` events after a position."""
        return self._database.events[after : after + limit]

    async def held_by(self, owners: Iterable[str]) -> dict[str, dict[str, int]]:
        """What counts for each of these owners."""
        found: dict[str, dict[str, int]] = {owner: {} for owner in owners}
        owner_of: dict[str, str] = {}
        for event in self._database.events:
            owner = owner_of.setdefault(event.stream, getattr(event.body, "owner", ""))
            for name, size_bytes in _spoken_of(event.body).items() if owner in found else ():
                known = len(self._database.blobs.get(name, b""))
                found[owner][name] = known if size_bytes is None else size_bytes
        return found

    async def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """How many bytes these blobs have."""
        blobs = self._database.blobs
        return {name: len(blobs[name]) for name in digests if name in blobs}

    async def recorded(self, command_ids: Iterable[UUID]) -> dict[UUID, RecordedCommand]:
        """Which of these commands were recorded."""
        commands = self._database.commands
        return {ident: commands[ident] for ident in command_ids if ident in commands}

    async def append(self, batch: Batch, head: Head) -> Head:
        """Store a batch after `head`. Raises: AppendConflict."""
        database = self._database
        self._check(batch, head)
        for event in batch.events:
            previous = database.hashes[-1] if database.hashes else GENESIS
            database.events.append(event)
            database.versions[event.stream] = event.version
            database.hashes.append(chain_hash(previous, log_row(event)))
        for command in batch.commands:
            recorded = RecordedCommand(command.envelope.fingerprint, command.answer)
            database.commands[command.envelope.command_id] = recorded
        for row in batch.rows:
            values = msgspec.to_builtins(row.values)
            database.views[row.table][str(values[KEYS[row.table]])] = values
        return self._head()

    def _check(self, batch: Batch, head: Head) -> None:
        database = self._database
        idents = [c.envelope.command_id for c in batch.commands]
        if len(set(idents)) < len(idents) or any(ident in database.commands for ident in idents):
            raise AlreadyRecorded("a command of the batch is recorded already")
        if batch.events and head.position != len(database.events):
            raise AppendConflict(f"the log ends at {len(database.events)}, not at {head.position}")
        versions: dict[str, int] = {}
        for position, event in enumerate(batch.events, head.position + 1):
            expected = versions.get(event.stream, database.versions.get(event.stream, 0)) + 1
            if event.position != position or event.version != expected:
                raise AppendConflict(f"{event.stream} version {event.version} does not fit at {position}")
            versions[event.stream] = event.version


def _spoken_of(body: Event) -> dict[str, int | None]:
    """The blobs an event speaks of, with the sizes it says."""
    match body:
        case e.JobSubmitted(source_digest=str() as source):
            return {source: None}
        case e.BuildSucceeded():
            return {body.bitstream.digest: body.bitstream.size_bytes}
        case v.FilesUploaded():
            return {file.digest: file.size_bytes for file in body.files.values()}
        case v.VerificationSubmitted():
            return {body.files_digest: None}
        case v.StageCompleted():
            found: dict[str, int | None] = {artifact.digest: artifact.size_bytes for artifact in body.outcome.artifacts}
            return found if body.outcome.details_digest is None else found | {body.outcome.details_digest: None}
        case _:
            return {}


class MemoryShelf:
    """The Shelf port."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def kept(self) -> Sequence[Checkpoint]:
        """What there is."""
        versions = self._database.versions
        return [c for c in self._database.checkpoints.values() if c.version <= versions.get(c.stream, 0)]

    async def keep(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep these in place of earlier ones."""
        self._database.checkpoints |= {checkpoint.stream: checkpoint for checkpoint in checkpoints}


class MemoryPositions:
    """The Positions port."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def get(self, name: str) -> int:
        """The last position the reader has dealt with."""
        return self._database.positions.get(name, 0)

    async def set(self, name: str, position: int) -> None:
        """Remember a position."""
        self._database.positions[name] = position

    async def keep(self, name: str, position: int) -> None:
        """Remember a number for good."""
        await self.set(name, position)
