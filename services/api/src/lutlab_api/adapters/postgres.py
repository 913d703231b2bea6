"""The ledger's views, read with asyncpg; uploads, written. The pool connects by itself once there is a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import asyncpg
import structlog

from lutlab_api.adapters import rows
from lutlab_api.adapters.gather import Gather
from lutlab_api.adapters.sql import Query, events_query, jobs_count_query, jobs_query, keys_query
from lutlab_api.app.ports import Clock, EventFilter, JobFilter, KeyFilter
from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.views import AgentView, BoardView, EventView, JobDetail, JobView, KeyView, StoredAnswer
from lutlab_events.ids import digest
from lutlab_ledger import pools

log = structlog.get_logger(__name__)
T = TypeVar("T")
if TYPE_CHECKING:  # generic in its stubs only
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

QUERY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 2.0
LOG_BYTES_MAX = 16 << 20
JOBS_LOOKED_AT = 10_000
ATTEMPTS_MAX = 3
"""Pooled connections that died with the old server fail once each until their end is noticed; then there are new."""

_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a query on a connection that is just being cut
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # connections, memory; a full disk is told apart
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not the new primary yet
    asyncpg.QueryCanceledError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.UndefinedTableError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)


async def _as_it_is(connection: object) -> None:
    """Instead of asyncpg's reset, a round trip after every query: nothing here sets, listens or locks a session."""


class Postgres:
    """Implements the ports `Ledger` and `Blobs`."""

    def __init__(self, url: str, clock: Clock, *, connections_max: int) -> None:
        self._url = url
        self._clock = clock
        self._connections_max = connections_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._boards = Gather(self._read_boards)
        self._details = Gather(self._read_details)
        self._keys = Gather(self._read_keys)

    async def start(self) -> None:
        """Make the pool; connects to nothing yet."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections_max,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=QUERY_TIMEOUT_S,
            server_settings={"application_name": "lutlab-api"},
            reset=_as_it_is,
        )

    async def stop(self) -> None:
        """Close every connection."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        await pools.end(pool, STOP_TIMEOUT_S)

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns with a connection. Raises: Unavailable."""
        problem: Exception | None = None
        for _ in range(ATTEMPTS_MAX):
            if self._pool is None:
                break
            try:
                async with self._pool.acquire(timeout=QUERY_TIMEOUT_S) as connection:
                    return await work(connection)
            except asyncpg.DiskFullError as error:
                log.warning("ledger_full", error=repr(error))
                raise Unavailable("the lab's database has no room on its disk; nothing was done, try later") from error
            except _DOWN as error:
                problem = error
        log.warning("ledger_unavailable", error=repr(problem))
        raise Unavailable("the lab's database does not answer; try again in a few seconds") from problem

    async def rows(self, query: Query) -> list[asyncpg.Record]:
        """The rows of a query. Raises: Unavailable."""
        return await self.fetch(query.text, *query.values)

    async def fetch(self, text: str, *values: object) -> list[asyncpg.Record]:
        """The rows of a statement. Raises: Unavailable."""

        async def work(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(text, *values)

        return await self.run(work)

    async def _row(self, text: str, *values: Any) -> asyncpg.Record | None:
        found = await self.fetch(text, *values)
        return found[0] if found else None

    async def boards(self) -> list[BoardView]:
        """Every board, by number."""
        return [rows.board(row) for row in await self.fetch(rows.BOARDS + rows.KNOWN + " order by fpga_id")]

    async def board(self, fpga_id: int) -> BoardView | None:
        """One board."""
        return await self._boards.get(fpga_id)

    async def _read_boards(self, numbers: Sequence[int]) -> dict[int, BoardView]:
        found = await self.fetch(rows.BOARDS + " where fpga_id = any($1::int[])", numbers)
        return {row["fpga_id"]: rows.board(row) for row in found}

    async def job(self, job_id: UUID) -> JobView | None:
        """One job."""
        row = await self._row(rows.JOBS + " where job_id = $1", job_id)
        return None if row is None else rows.job(row)

    async def job_detail(self, job_id: UUID) -> JobDetail | None:
        """One job with everything known about it."""
        return await self._details.get(job_id)

    async def _read_details(self, job_ids: Sequence[UUID]) -> dict[UUID, JobDetail]:
        found = await self.fetch("select * from jobs where job_id = any($1::uuid[])", job_ids)
        return {row["job_id"]: rows.job_detail(row) for row in found}

    async def jobs(self, wanted: JobFilter) -> list[JobView]:
        """Jobs, newest first."""
        return [rows.job(row) for row in await self.rows(jobs_query(wanted))]

    async def count_jobs(self, wanted: JobFilter) -> int:
        """How many jobs there are, whatever `limit`, `before` and `offset` say."""
        found = await self.rows(jobs_count_query(wanted))
        return int(found[0][0])

    async def queue(self, limit: int) -> list[JobView]:
        """Builds that have not ended, oldest first."""
        where = " where status in ('queued', 'running') and type = 'build_and_program' order by number limit $1"
        return [rows.job(row) for row in await self.fetch(rows.JOBS + where, limit)]

    async def agents(self) -> list[AgentView]:
        """Every agent, by name."""
        return [rows.agent(row) for row in await self.fetch("select * from agents order by agent_id")]

    async def job_log(self, job_id: UUID) -> str:
        """The log's newest `LOG_BYTES_MAX` characters, in order."""
        text = "select text, attempt from job_logs where job_id = $1 order by attempt, seq"
        return rows.log_text(await self.fetch(text, job_id), LOG_BYTES_MAX)

    async def events(self, wanted: EventFilter) -> list[EventView]:
        """Events, oldest first."""
        return [rows.event(row) for row in await self.rows(events_query(wanted))]

    async def key(self, key_sha256: str) -> KeyView | None:
        """The key that has this digest, or had it before its last rotation; revoked or not."""
        return await self._keys.get(key_sha256)

    async def _read_keys(self, digests: Sequence[str]) -> dict[str, KeyView]:
        where = " where k.key_sha256 = any($1::text[]) or k.previous_sha256 = any($1::text[])"
        found = [rows.key(row) for row in await self.fetch(rows.KEYS + where, digests)]
        before = {key.previous_sha256: key for key in found if key.previous_sha256 is not None}
        return before | {key.key_sha256: key for key in found}

    async def keys(self, wanted: KeyFilter) -> list[KeyView]:
        """Keys, newest first."""
        return [rows.key(row) for row in await self.rows(keys_query(wanted))]

    async def count_keys(self, owner: str | None) -> int:
        """How many keys there are; of one owner if given."""
        row = await self._row("select count(*) from api_keys where $1::text is null or owner = $1", owner)
        assert row is not None
        return int(row[0])

    async def key_by_id(self, key_id: UUID) -> KeyView | None:
        """A key, revoked or not."""
        row = await self._row(rows.KEYS + " where k.key_id = $1", key_id)
        return None if row is None else rows.key(row)

    async def are_teammates(self, owner: str, team: str) -> bool:
        """Whether an owner has a valid key of a team."""
        text = (
            "select 1 from api_keys where team = $2 and owner = $1 and revoked_at is null "
            "and (expires_at is null or expires_at > $3) limit 1"
        )
        return await self._row(text, owner, team, self._clock.now()) is not None

    async def answer(self, command_id: UUID) -> StoredAnswer | None:
        """What this command was answered, if the scheduler has seen it."""
        row = await self._row("select fingerprint, code, answer from commands where command_id = $1", command_id)
        return None if row is None else rows.stored_answer(row)

    async def ping(self) -> None:
        """Return if the database answers and has the ledger's tables."""
        await self._row("select 1 from boards limit 1")

    async def toolchain(self) -> str | None:
        """What the report of the newest build says of its tools; of the newest `JOBS_LOOKED_AT` jobs."""
        text = (
            "select report->>'toolchain' as toolchain from (select number, report from jobs order by number desc "
            "limit $1) as newest where report is not null order by number desc limit 1"
        )
        row = await self._row(text, JOBS_LOOKED_AT)
        return None if row is None else row["toolchain"]

    async def put(self, data: bytes) -> str:
        """Store `data` under its SHA-256, unless it is there; then it is as if it were stored now.

        By the database's clock, which is also what a blob's age is told by when it is to be deleted.
        """
        name = digest(data)
        if await self._row("update blobs set created_at = now() where digest = $1 returning 1", name) is None:
            await self._row(
                "insert into blobs (digest, size_bytes, data, created_at) values ($1, $2, $3, now()) "
                "on conflict do nothing",
                name,
                len(data),
                data,
            )
        return name

    async def get(self, digest: str) -> bytes | None:
        """What has this SHA-256, None if nothing here has."""
        row = await self._row("select data from blobs where digest = $1", digest)
        return None if row is None else bytes(row["data"])
