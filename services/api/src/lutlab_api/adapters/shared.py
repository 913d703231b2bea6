"""What API processes share, in Postgres: rate limits, WebSocket seats, when keys were used last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from lutlab_api.adapters.postgres import Postgres

if TYPE_CHECKING:
    from lutlab_api.adapters.postgres import Connection

SQL_TAKE = """
insert into rate_limits as r (bucket, window_start, taken) values ($1, $2, $3)
on conflict (bucket) do update set
    taken = case when r.window_start = excluded.window_start then r.taken + excluded.taken else excluded.taken end,
    window_start = excluded.window_start
returning taken
"""
SQL_LOCK_OWNER = "select pg_advisory_xact_lock(hashtextextended($1, 7))"
SQL_SEATS = "select count(*) from websocket_seats where owner = $1 and until > $2"
SQL_TAKE_SEAT = "insert into websocket_seats (holder, owner, until) values ($1, $2, $3)"
SQL_KEEP_SEAT = "update websocket_seats set until = $2 where holder = $1"
SQL_FREE_SEAT = "delete from websocket_seats where holder = $1"
SQL_USED = """
insert into key_usage as k (key_id, last_used_at) select * from unnest($1::uuid[], $2::timestamptz[])
on conflict (key_id) do update set last_used_at = greatest(k.last_used_at, excluded.last_used_at)
"""
SQL_SWEEP_LIMITS = "delete from rate_limits where window_start < $1"
SQL_SWEEP_SEATS = "delete from websocket_seats where until < $1"


class PostgresShared:
    """Implements the port `Shared`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def take(self, bucket: str, window_start: int, units: int) -> int:
        """Take units of a window; how many are taken now."""

        async def work(connection: Connection) -> int:
            return int(await connection.fetchval(SQL_TAKE, bucket, window_start, units))

        return await self._postgres.run(work)

    async def take_seat(self, owner: str, holder: UUID, *, now: datetime, until: datetime, seats_max: int) -> bool:
        """Whether `owner` got one of its seats."""

        async def work(connection: Connection) -> bool:
            async with connection.transaction():
                await connection.execute(SQL_LOCK_OWNER, owner)
                if await connection.fetchval(SQL_SEATS, owner, now) >= seats_max:
                    return False
                await connection.execute(SQL_TAKE_SEAT, holder, owner, until)
                return True

        return await self._postgres.run(work)

    async def keep_seat(self, holder: UUID, until: datetime) -> None:
        """Keep a seat longer."""
        await self._execute(SQL_KEEP_SEAT, holder, until)

    async def free_seat(self, holder: UUID) -> None:
        """Give a seat back."""
        await self._execute(SQL_FREE_SEAT, holder)

    async def record_use(self, used: Mapping[UUID, datetime]) -> None:
        """When keys were used last."""
        await self._execute(SQL_USED, list(used), list(used.values()))

    async def sweep(self, before: datetime) -> None:
        """Delete limits and seats that were over before this moment."""
        await self._execute(SQL_SWEEP_LIMITS, int(before.timestamp()))
        await self._execute(SQL_SWEEP_SEATS, before)

    async def _execute(self, text: str, *values: object) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(text, *values)

        await self._postgres.run(work)
