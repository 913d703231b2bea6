"""The ledger in Postgres.

Who may write is said by `postgres_leader`; on top of that the unique keys of `events` refuse a second event at the same
position or stream version.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from lutlab_events.codec import (
    decode_answer,
    decode_event_body,
    decode_event_envelopes,
    encode,
    encode_event_body,
    event_type,
)
from lutlab_events.envelope import EventEnvelope, Recorded
from lutlab_events.ids import derived, digest
from lutlab_events.work import LogChunk
from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_ledger.storage import SQL_HELD
from lutlab_scheduler import collector
from lutlab_scheduler.adapters.cancellation import raise_if_cancelled
from lutlab_scheduler.adapters.postgres_scan import SQL_ALL, SQL_SINCE, SQL_STREAMS, scan
from lutlab_scheduler.adapters.postgres_sql import (
    SQL_ADD_LOGS,
    SQL_APPEND,
    SQL_BURY,
    SQL_HEAD,
    SQL_HISTORY,
    SQL_LETTER,
    SQL_LIVE,
    SQL_LOAD,
    SQL_LOG_BYTES,
    SQL_POSITION,
    SQL_PUT_BLOB,
    SQL_READ,
    SQL_RECORDED,
    SQL_SET_POSITION,
    SQL_SIZES,
    SQL_TOUCH_BLOB,
    VIEWS,
)
from lutlab_scheduler.app.ports import (
    NOTHING,
    AlreadyRecorded,
    AppendConflict,
    Batch,
    BlobUnavailable,
    Clock,
    DeadLetter,
    Head,
    RecordedCommand,
    StoreUnavailable,
    Unstorable,
)

log = structlog.get_logger(__name__)

LOG_KEYS = {"events_pkey", "events_stream_version"}
"""Unique keys whose violation means that somebody else wrote."""
COMMAND_KEYS = {"commands_pkey", "events_event_id_key"}
"""Unique keys whose violation means that a command is recorded: ids of events are derived from it."""

HISTORY_AT_ONCE = 256
"""Events of a stream that are folded before somebody else has a turn, in about 4 ms."""
GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises when a connection breaks, the last one if that happens in the middle of an answer."""


@contextmanager
def translated() -> Iterator[None]:
    """Foreign exceptions as this service's own.

    Raises: AlreadyRecorded, AppendConflict, Unstorable, StoreUnavailable.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name in COMMAND_KEYS:
            raise AlreadyRecorded(str(error)) from error
        if error.constraint_name in LOG_KEYS:
            raise AppendConflict(f"somebody else wrote: {error}") from error
        raise Unstorable(str(error)) from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError) as error:
        raise Unstorable(str(error)) from error
    except asyncpg.UndefinedTableError as error:
        raise StoreUnavailable(f"{error}; run lutlab-migrate") from error
    except GONE as error:
        raise_if_cancelled()
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
    raise_if_cancelled()


def envelope_of(row: Any) -> EventEnvelope:
    """An event from a row of `events`. Raises: Undecodable."""
    return EventEnvelope(
        position=row["position"],
        event_id=row["event_id"],
        stream=row["stream"],
        version=row["version"],
        body=decode_event_body(row["type"], row["data"]),
        causation_id=row["causation_id"],
        correlation_id=row["correlation_id"],
        actor=row["actor"],
        site=row["site"],
        at=row["at"],
    )


def log_row(envelope: EventEnvelope) -> LogRow:
    """The row of an event, as it is stored and hashed."""
    return LogRow(
        position=envelope.position,
        event_id=envelope.event_id,
        stream=envelope.stream,
        version=envelope.version,
        type=event_type(envelope.body),
        data=encode_event_body(envelope.body),
        causation_id=envelope.causation_id,
        correlation_id=envelope.correlation_id,
        actor=envelope.actor,
        site=envelope.site,
        at=envelope.at,
    )


class PostgresStore:
    """The EventStore port. `writer` is used by one task only; `pool` by anybody."""

    def __init__(self, writer: asyncpg.Connection, pool: asyncpg.Pool) -> None:
        self._writer = writer
        self._pool = pool

    async def head(self) -> Head:
        """The end of the log."""
        with translated():
            row = await self._writer.fetchrow(SQL_HEAD)
        return Head(0, GENESIS) if row is None else Head(row["position"], bytes(row["hash"]))

    async def load(self, streams: Iterable[str]) -> Sequence[EventEnvelope]:
        """All events of these streams, in log order."""
        with translated():
            rows = await self._writer.fetch(SQL_LOAD, list(streams))
        return decode_event_envelopes([row[0] for row in rows])

    async def replay(
        self,
        take: Callable[[list[Recorded]], None],
        streams: Sequence[str] | None = None,
        after: Mapping[str, int] = NOTHING,
    ) -> None:
        """Give `take` all events of these streams, or of all, in log order."""
        with translated(), collector.paused():
            if streams is None:
                await scan(self._writer, SQL_ALL, 0, take=take)
            elif not after:
                await scan(self._writer, SQL_STREAMS, list(streams), take=take)
            else:
                versions = [after.get(stream, 0) for stream in streams]
                await scan(self._writer, SQL_SINCE, list(streams), versions, take=take)

    async def live_streams(self) -> list[str]:
        """Every stream but those of jobs that have ended and of projects that were deleted."""
        with translated():
            return [row[0] for row in await self._writer.fetch(SQL_LIVE)]

    async def read(self, after: int, limit: int) -> Sequence[EventEnvelope]:
        """Up to `limit` events after a position, in order."""
        with translated():
            rows = await self._pool.fetch(SQL_READ, after, limit)
        return decode_event_envelopes([row[0] for row in rows])

    async def held_by(self, owners: Iterable[str]) -> dict[str, dict[str, int]]:
        """What counts for each of these owners."""
        found: dict[str, dict[str, int]] = {owner: {} for owner in owners}
        with translated():
            rows = await self._writer.fetch(SQL_HELD, list(found))
        for row in rows:
            found[row["owner"]][row["digest"]] = row["size_bytes"]
        return found

    async def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """How many bytes these blobs have."""
        with translated():
            rows = await self._writer.fetch(SQL_SIZES, list(digests))
        return {row["digest"]: row["size_bytes"] for row in rows}

    async def recorded(self, command_ids: Iterable[UUID]) -> dict[UUID, RecordedCommand]:
        """Which of these commands were recorded, and how they were answered."""
        with translated():
            rows = await self._writer.fetch(SQL_RECORDED, list(command_ids))
        return {
            row["command_id"]: RecordedCommand(row["fingerprint"], decode_answer(row["answer"].encode()))
            for row in rows
        }

    async def append(self, batch: Batch, head: Head) -> Head:
        """Store a batch after `head`. Raises: AlreadyRecorded, AppendConflict, Unstorable, StoreUnavailable."""
        position, last_hash = head.position, head.hash
        rows: list[LogRow] = []
        hashes: list[bytes] = []
        for envelope in batch.events:
            position += 1
            if envelope.position != position:
                raise AppendConflict(f"event {envelope.event_id} has position {envelope.position}, not {position}")
            row = log_row(envelope)
            last_hash = chain_hash(last_hash, row)
            rows.append(row)
            hashes.append(last_hash)
        arguments = [*_command_columns(batch), *_event_columns(rows), hashes, *_view_documents(batch)]
        with translated():
            await self._writer.execute(SQL_APPEND, *arguments)
        return Head(position, last_hash)


def _command_columns(batch: Batch) -> list[list[Any]]:
    commands = [
        (
            c.envelope.command_id,
            type(c.envelope.body).__name__,
            c.envelope.actor,
            c.envelope.site,
            c.envelope.fingerprint,
            c.answer.code,
            encode(c.answer).decode(),
            c.received_at,
        )
        for c in batch.commands
    ]
    return [list(column) for column in zip(*commands, strict=True)] if commands else [[] for _ in range(8)]


def _event_columns(rows: list[LogRow]) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in LogRow.__struct_fields__]


def _view_documents(batch: Batch) -> list[str]:
    by_table: dict[str, list[Any]] = {table: [] for table in VIEWS}
    for row in batch.rows:
        by_table[row.table].append(row.values)
    return [msgspec.json.encode(by_table[table]).decode() for table in VIEWS]


class PostgresPositions:
    """The Positions port. `relaxed` does not wait for the disk: a lost position repeats harmless effects."""

    def __init__(self, pool: asyncpg.Pool, relaxed: asyncpg.Pool) -> None:
        self._pool = pool
        self._relaxed = relaxed

    async def get(self, name: str) -> int:
        """The last position the reader has dealt with."""
        with translated():
            position = await self._relaxed.fetchval(SQL_POSITION, name)
        return int(position or 0)

    async def set(self, name: str, position: int) -> None:
        """Remember a position."""
        with translated():
            await self._relaxed.execute(SQL_SET_POSITION, name, position)

    async def keep(self, name: str, position: int) -> None:
        """Remember a number for good."""
        with translated():
            await self._pool.execute(SQL_SET_POSITION, name, position)


class PostgresHistory:
    """The History port."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def history(
        self, stream: str, position: int | None, at: datetime | None
    ) -> AsyncGenerator[Sequence[EventEnvelope], None]:
        """The events of a stream up to a position and a moment, some at a time."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(SQL_HISTORY, stream, position, at)
                while rows := await cursor.fetch(HISTORY_AT_ONCE):
                    yield [envelope_of(row) for row in rows]


class PostgresLetters:
    """The Letters port. The same message from the same place is one letter, however often it comes."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def bury(self, origin: str, subject: str, data: bytes, reason: str) -> None:
        """Keep a message with the reason why nobody can do anything with it."""
        ident = derived("dead-letter", origin, subject, digest(data))
        # Postgres text holds no NUL; a reason may quote the message, and the rest is what somebody's message says.
        origin, subject, reason = (text.replace("\0", "\ufffd") for text in (origin, subject, reason))
        with translated():
            await self._pool.execute(SQL_BURY, ident, origin, subject, reason, data, self._clock.now())

    async def letter(self, letter_id: UUID) -> DeadLetter | None:
        """A message that is kept."""
        with translated():
            row = await self._pool.fetchrow(SQL_LETTER, letter_id)
        return None if row is None else DeadLetter(origin=row["origin"], subject=row["subject"], data=row["data"])


class PostgresArchive:
    """The Archive and LogStore ports."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def has(self, digest: str) -> bool:
        """Whether the blob is archived; if so, it is kept for a while, as if it were put now."""
        with translated():
            return await self._pool.fetchval(SQL_TOUCH_BLOB, digest) is not None

    async def held(self, digests: Iterable[str]) -> set[str]:
        """Which of these are archived."""
        with translated():
            return {row["digest"] for row in await self._pool.fetch(SQL_SIZES, list(digests))}

    async def get(self, digest: str) -> bytes:
        """The blob. Raises: BlobUnavailable."""
        with translated():
            data = await self._pool.fetchval("select data from blobs where digest = $1", digest)
        if data is None:
            raise BlobUnavailable(f"blob {digest} is not in Postgres")
        return bytes(data)

    async def put(self, digest: str, data: bytes) -> None:
        """Archive a blob."""
        with translated():
            await self._pool.execute(SQL_PUT_BLOB, digest, len(data), data)

    async def log_bytes(self, job_id: UUID) -> int:
        """How many bytes of this job's log are stored."""
        with translated():
            return int(await self._pool.fetchval(SQL_LOG_BYTES, job_id))

    async def add_logs(self, chunks: Sequence[LogChunk]) -> None:
        """Store chunks; repetitions are ignored."""
        rows = [
            (c.job_id, c.attempt, c.seq, c.stage, "".join(f"{line}\n" for line in c.lines), c.at, c.level)
            for c in chunks
        ]
        with translated():
            await self._pool.execute(SQL_ADD_LOGS, *[list(column) for column in zip(*rows, strict=True)])
