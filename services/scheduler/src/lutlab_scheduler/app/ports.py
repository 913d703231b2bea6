"""What the scheduler needs from the world outside, as protocols; adapters implement them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from lutlab_events.envelope import Answer, CommandEnvelope, EventEnvelope, Happened
from lutlab_events.values import Json
from lutlab_events.work import Control, LogChunk, Work


class SchedulerError(Exception):
    """Root of this service's errors."""

    code = "scheduler_error"


class StoreUnavailable(SchedulerError):
    """Postgres cannot be reached or went away: this process is no longer the writer; start over."""

    code = "store_unavailable"


class AppendConflict(SchedulerError):
    """Somebody else appended meanwhile: this process's picture of the log is old; start over."""

    code = "append_conflict"


class AlreadyRecorded(AppendConflict):
    """A command of the batch is recorded already; nothing of the batch was stored.

    Only if `EventStore.recorded` knows none of them, somebody else appended meanwhile.
    """


class Unstorable(SchedulerError):
    """Postgres refuses a value in this batch; nothing of it was stored."""

    code = "unstorable"


class BusUnavailable(SchedulerError):
    """NATS cannot be reached, or a stream is missing."""

    code = "bus_unavailable"


class BusFull(BusUnavailable):
    """NATS is there, but refuses for lack of room: nothing was stored."""

    code = "bus_full"


class BlobUnavailable(SchedulerError):
    """A blob is not where it should be; whoever has it must put it again."""

    code = "blob_unavailable"


def first_reason(error: BaseException) -> str:
    """The first exception of a group, however deep, as a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: position and hash of its last event; 0 and `chain.GENESIS` for an empty log."""

    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class RecordedCommand:
    """A command as it was recorded: enough to answer its repetition."""

    fingerprint: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedCommand:
    """A command and its answer, to be recorded."""

    envelope: CommandEnvelope
    answer: Answer
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a view: the whole of it, to be inserted or to replace the one with the same key."""

    table: str
    values: Json


@dataclass(slots=True)
class Batch:
    """What one transaction stores: all of it or nothing."""

    commands: list[DecidedCommand] = field(default_factory=list)
    events: list[EventEnvelope] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An aggregate as it was at a version of its stream; `state` is JSON."""

    stream: str
    version: int
    state: bytes


class Shelf(Protocol):
    """Where checkpoints are kept; those that other code made are not found."""

    async def kept(self) -> Sequence[Checkpoint]:
        """What there is. Raises: StoreUnavailable."""
        ...

    async def keep(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep these in place of earlier ones of their streams. Raises: StoreUnavailable."""
        ...


class EventReader(Protocol):
    """Reading the log."""

    async def read(self, after: int, limit: int) -> Sequence[EventEnvelope]:
        """Up to `limit` events after a position, in order, without gaps."""
        ...


class EventStore(EventReader, Protocol):
    """The ledger as its only writer sees it."""

    async def head(self) -> Head:
        """The end of the log."""
        ...

    async def load(self, streams: Iterable[str]) -> Sequence[EventEnvelope]:
        """All events of these streams, in log order."""
        ...

    async def replay(
        self,
        take: Callable[[Sequence[Happened]], None],
        streams: Sequence[str] | None = None,
        after: Mapping[str, int] = NOTHING,
    ) -> None:
        """Give `take` all events of these streams, or of all, in log order, some thousands at a time.

        The fastest way to read many; nothing else can be asked of the store meanwhile.

        Args:
            after: of these among `streams`, only events after this version.
        """
        ...

    async def live_streams(self) -> list[str]:
        """Every stream but those of jobs that have ended and of projects that were deleted."""
        ...

    async def held_by(self, owners: Iterable[str]) -> dict[str, dict[str, int]]:
        """What counts for each of these owners: digest -> size in bytes. See `lutlab_ledger.storage`."""
        ...

    async def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """How many bytes these blobs have, as far as they are archived."""
        ...

    async def recorded(self, command_ids: Iterable[UUID]) -> dict[UUID, RecordedCommand]:
        """Which of these commands were recorded, and how they were answered."""
        ...

    async def append(self, batch: Batch, head: Head) -> Head:
        """Store a batch in one transaction after `head`; the new end of the log.

        Raises:
            AlreadyRecorded: a command is recorded already.
            AppendConflict: the log does not end at `head`, or a stream is not at the version before.
            Unstorable: a value cannot be stored.
            StoreUnavailable: it is unknown whether the batch was stored.
        """
        ...


class Positions(Protocol):
    """Where each reader of the log stands."""

    async def get(self, name: str) -> int:
        """The last position the reader has dealt with; 0 if it never did."""
        ...

    async def set(self, name: str, position: int) -> None:
        """Remember a position. May be lost in a crash: then the reader repeats itself, harmlessly."""
        ...

    async def keep(self, name: str, position: int) -> None:
        """Remember a number that no crash may lose."""
        ...


class Archive(Protocol):
    """Blobs in Postgres: they stay when NATS is wiped."""

    async def has(self, digest: str) -> bool:
        """Whether the blob is archived; if so, it is kept for a while, as if it were put now."""
        ...

    async def held(self, digests: Iterable[str]) -> set[str]:
        """Which of these are archived."""
        ...

    async def get(self, digest: str) -> bytes:
        """The blob. Raises: BlobUnavailable."""
        ...

    async def put(self, digest: str, data: bytes) -> None:
        """Archive a blob; durable when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob in NATS, and when it was put, by the clock of whoever put it."""

    digest: str
    size_bytes: int
    put_at: datetime


class Blobs(Protocol):
    """Blobs in NATS: how they travel between hosts."""

    async def exists(self, digest: str) -> bool:
        """Whether the blob is there. Raises: BusUnavailable."""
        ...

    async def get(self, digest: str) -> bytes:
        """The blob, verified. Raises: BlobUnavailable, BusUnavailable."""
        ...

    async def delete(self, digest: str) -> None:
        """Take a blob out, if it is there. Raises: BusUnavailable."""
        ...

    async def put(self, data: bytes) -> None:
        """Put a blob unless it is there. Raises: BusFull, BusUnavailable."""
        ...

    async def stored_bytes(self) -> int:
        """How much all blobs take up. Raises: BusUnavailable."""
        ...

    async def listed(self) -> Sequence[StoredBlob]:
        """Every blob. Raises: BusUnavailable."""
        ...


class Attic(Protocol):
    """Forgetting what is not kept for ever."""

    async def forget_logs(self, before: datetime, limit: int) -> int:
        """Delete the logs of up to `limit` jobs that ended before; of how many. Raises: StoreUnavailable."""
        ...

    async def forget_blobs(self, before: datetime, kept: timedelta, limit: int) -> int:
        """Delete up to `limit` blobs that no job needed since, nor a project or a board; how many.

        Args:
            kept: none that was put, or looked for, within this time by the clock of the store itself: APIs put blobs,
                and neither their clocks nor the scheduler's need be right.

        Raises: StoreUnavailable.
        """
        ...


class Bus(Protocol):
    """What the scheduler says to others. Each method raises BusUnavailable if it cannot be said now."""

    async def publish_event(self, envelope: EventEnvelope) -> None:
        """Publish a recorded event; recognised as a repetition by its id."""
        ...

    async def publish_work(self, subject: str, message_id: str, work: Work) -> None:
        """Publish work; recognised as a repetition by `message_id`."""
        ...

    async def control(self, subject: str, message: Control) -> None:
        """Send a control message to whoever listens now."""
        ...

    async def answer(self, reply_to: str, answer: Answer) -> None:
        """Send an answer to whoever waits for it."""
        ...


class History(Protocol):
    """Streams as they were."""

    def history(
        self, stream: str, position: int | None, at: datetime | None
    ) -> AsyncGenerator[Sequence[EventEnvelope], None]:
        """The events of a stream up to and with a position and a moment (None: no limit), in order.

        Some at a time, so that folding a long one holds nobody up.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message nobody could do anything with, and the stream and subject it came from."""

    origin: str
    subject: str
    data: bytes


class Letters(Protocol):
    """Messages nobody can do anything with, kept until somebody replays them."""

    async def bury(self, origin: str, subject: str, data: bytes, reason: str) -> None:
        """Keep a message. Raises: StoreUnavailable."""
        ...

    async def letter(self, letter_id: UUID) -> DeadLetter | None:
        """A message that is kept. Raises: StoreUnavailable."""
        ...


class LogStore(Protocol):
    """Where job logs are kept."""

    async def log_bytes(self, job_id: UUID) -> int:
        """How many bytes of this job's log are stored."""
        ...

    async def add_logs(self, chunks: Sequence[LogChunk]) -> None:
        """Store chunks; those that are stored already are ignored."""
        ...
