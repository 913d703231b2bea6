"""Postgres for an operator's jobs: the log as it is stored, and all views replaced in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from lutlab_events.envelope import EventEnvelope
from lutlab_ledger.chain import LogRow
from lutlab_scheduler.adapters.postgres import LEADER_LOCK, SQL_LOAD, VIEWS, to_envelope, translated
from lutlab_scheduler.app.maintenance import rebuild
from lutlab_scheduler.app.ports import SchedulerError

SQL_ROWS = f"""
select {", ".join(LogRow.__struct_fields__)}, hash from events where position > $1 order by position limit $2
"""  # noqa: S608 - our own column names
SQL_STREAMS = "select stream from events where version = 1 order by position"


class SchedulerRuns(SchedulerError):
    """Views cannot be rebuilt under a scheduler that writes them."""

    code = "scheduler_runs"


@asynccontextmanager
async def maintaining(database_url: str) -> AsyncIterator[Maintenance]:
    """A connection for maintenance. Raises: StoreUnavailable."""
    with translated():
        connection = await asyncpg.connect(database_url)
    try:
        yield Maintenance(connection)
    finally:
        await connection.close()


class Maintenance:
    """One connection that checks or rebuilds; see `maintaining`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def read_rows(self, after: int, limit: int) -> Sequence[tuple[LogRow, bytes]]:
        """Up to `limit` rows after a position, each with its stored hash."""
        with translated():
            rows = await self._connection.fetch(SQL_ROWS, after, limit)
        return [(LogRow(**{name: row[name] for name in LogRow.__struct_fields__}), row["hash"]) for row in rows]

    async def rebuild_views(self) -> int:
        """Replace every view by what the log says; how many rows that are.

        Raises:
            SchedulerRuns: somebody may write meanwhile.
        """
        count = 0
        with translated():
            if not await self._connection.fetchval("select pg_try_advisory_lock($1)", LEADER_LOCK):
                raise SchedulerRuns("a scheduler is running on this database; stop it first")
            async with self._connection.transaction():
                streams = [row["stream"] for row in await self._connection.fetch(SQL_STREAMS)]
                await self._connection.execute(f"truncate {', '.join(VIEWS)}")
                async for rows in rebuild(streams, self._load):
                    for table in VIEWS:
                        values = [row.values for row in rows if row.table == table]
                        await self._connection.execute(
                            f"insert into {table} select * from json_populate_recordset(null::{table}, $1::json)",  # noqa: S608
                            msgspec.json.encode(values).decode(),
                        )
                    count += len(rows)
        return count

    async def _load(self, streams: Sequence[str]) -> Sequence[EventEnvelope]:
        return [to_envelope(row) for row in await self._connection.fetch(SQL_LOAD, list(streams))]
