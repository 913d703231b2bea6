"""The Store port in Postgres. One process delivers: it holds an advisory lock for as long as its connection lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from lutlab_events.webhooks import Topic, WebhookFilter
from lutlab_ledger import pools
from lutlab_ledger.holding import KEEPALIVES
from lutlab_webhooks.app.ports import Attempt, Delivery, Endpoint, Progress, StoreUnavailable
from lutlab_webhooks.domain.happenings import Recorded

log = structlog.get_logger(__name__)

LOCK = 0x6C757468
POOL_MAX = 4
TIMEOUT_S = 30.0
STANDBY_POLL_S = 1.0
CLOSE_S = 2.0
"""How long connections may take to be given back at the end."""
PREVIOUS_SECRET_GOOD = timedelta(hours=24)
"""How long deliveries are also signed with the secret before the last rotation."""
NAMES = frozenset(topic.value for topic in Topic)

SQL_ENDPOINTS = """
select w.*, coalesce(p.position, w.start_position) as position, p.failing_since, p.replay_position, p.replay_until,
  (select count(*) from (select 1 from webhook_deliveries d
     where d.webhook_id = w.webhook_id and d.status = 'pending' limit $1) n) as pending
from webhooks w left join webhook_progress p using (webhook_id) where w.state = 'active' order by w.created_at
"""
SQL_READ = """
select e.position, e.stream, e.version, e.type, e.at, e.correlation_id, e.data,
  coalesce(j.owner, v.owner) as owner, case when v.job_id is null then j.type else 'verification' end as job_type,
  v.project_id as project, coalesce(j.fpga_id, j.pinned_fpga_id) as fpga_id,
  case when e.type in ('job.build_stage_entered.v1', 'job.build_succeeded.v1') then
    (select p.data->>'stage' from events p where p.stream = e.stream and p.version < e.version
       and p.type = 'job.build_stage_entered.v1' order by p.version desc limit 1) end as previous_stage
from events e left join jobs j on j.job_id = case when e.stream like 'job-%' then substr(e.stream, 5)::uuid end
left join verifications v on v.job_id = case when e.stream like 'verification-%' then substr(e.stream, 14)::uuid end
where e.position > $1 order by e.position limit $2
"""
SQL_ADD = """
insert into webhook_deliveries
  (delivery_id, webhook_id, position, subject, topic, body, status, attempts, next_at, created_at, updated_at)
select d.*, 'pending', 0, $7::timestamptz, $7, $7
from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[]) d
on conflict (delivery_id) do
"""
SQL_AGAIN = SQL_ADD + "update set status = 'pending', attempts = 0, next_at = excluded.next_at"
SQL_POSITIONS = """
insert into webhook_progress (webhook_id, position) select * from unnest($1::uuid[], $2::bigint[])
on conflict (webhook_id) do update set position = greatest(webhook_progress.position, excluded.position)
"""
SQL_REPLAYED = """
update webhook_progress p set replay_position = r.at, replay_until = case when r.at is not null then replay_until end
from unnest($1::uuid[], $2::bigint[]) r(webhook_id, at) where p.webhook_id = r.webhook_id
"""
SQL_DUE = """
select d.delivery_id, d.webhook_id, d.position, d.subject, d.topic, d.body, d.attempts
from unnest($1::uuid[], $2::int[], $3::bool[]) w(webhook_id, room, ordered) cross join lateral (
  select * from webhook_deliveries d
  where d.webhook_id = w.webhook_id and d.status = 'pending' and d.next_at <= $4
    and (not w.ordered or not exists (select from webhook_deliveries before
      where before.webhook_id = d.webhook_id and before.subject = d.subject and before.status = 'pending'
        and (before.position, before.delivery_id) < (d.position, d.delivery_id)))
  order by d.next_at, d.position limit w.room) d
"""
SQL_ATTEMPT = """
insert into webhook_attempts (delivery_id, attempt_id, at, duration_ms, request_headers, status_code, response_headers,
  response_body, error) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing
"""
SQL_OUTCOME = """
update webhook_deliveries set status = $2, attempts = attempts + 1, next_at = $3, updated_at = $4 where delivery_id = $1
"""
SQL_FAILING = """
insert into webhook_progress (webhook_id, position, failing_since)
select webhook_id, start_position, $2::timestamptz from webhooks where webhook_id = $1
on conflict (webhook_id) do update set failing_since = coalesce(webhook_progress.failing_since, excluded.failing_since)
"""
SQL_WORKING = "update webhook_progress set failing_since = null where webhook_id = $1 and failing_since is not null"
SQL_HURRY = "update webhook_deliveries set next_at = $2 where webhook_id = $1 and status = 'pending' and next_at > $2"
SQL_FORGET_ATTEMPTS = "delete from webhook_attempts where at < $1"
SQL_FORGET = """
delete from webhook_deliveries d where updated_at < $1 and (status <> 'pending'
  or exists (select from webhooks w where w.webhook_id = d.webhook_id and w.state = 'deleted'))
"""


@contextmanager
def translated() -> Iterator[None]:
    """Foreign exceptions as this service's own. Raises: StoreUnavailable."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


class PostgresStore:
    """Implements the port `Store`."""

    def __init__(self, pool: asyncpg.Pool, holder: asyncpg.Connection) -> None:
        """
        Args:
            holder: the connection that holds the lock; used by `endpoints` alone.
        """
        self._pool = pool
        self._holder = holder

    def _check(self) -> None:
        if self._holder.is_closed():
            raise StoreUnavailable("the connection that holds the lock was lost")

    async def endpoints(self, now: datetime, pending_max: int) -> Sequence[Endpoint]:
        """Every active endpoint."""
        # Every round begins here. Asked by the pool, it would go on after a time without network, in which Postgres
        # gave the lock to another process, and nobody told this one.
        with translated():
            return [_endpoint(row, now) for row in await self._holder.fetch(SQL_ENDPOINTS, pending_max)]

    async def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """Events after a position, in order."""
        with translated():
            return [_recorded(row) for row in await self._pool.fetch(SQL_READ, after, limit)]

    async def advance(self, progress: Progress, now: datetime) -> None:
        """Store deliveries and positions in one transaction."""
        self._check()
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(SQL_ADD + "nothing", *_columns(progress.deliveries), now)
                await connection.execute(SQL_AGAIN, *_columns(progress.repeated), now)
                positions = progress.positions
                await connection.execute(SQL_POSITIONS, list(positions), list(positions.values()))
                await connection.execute(SQL_REPLAYED, list(progress.replays), list(progress.replays.values()))

    async def due(self, room: Mapping[UUID, int], ordered: Sequence[UUID], now: datetime) -> Sequence[Delivery]:
        """Deliveries to be attempted now, up to `room` for each endpoint, oldest first."""
        self._check()
        strict = set(ordered)
        with translated():
            rows = await self._pool.fetch(
                SQL_DUE, list(room), list(room.values()), [ident in strict for ident in room], now
            )
        return [Delivery(**dict(row)) for row in rows]

    async def record(
        self, delivery: Delivery, attempt: Attempt, *, status: str, next_at: datetime, now: datetime
    ) -> None:
        """Store an attempt and what follows from it."""
        reply = attempt.reply
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    SQL_ATTEMPT,
                    delivery.delivery_id,
                    attempt.attempt_id,
                    attempt.at,
                    attempt.duration_ms,
                    json.dumps(dict(attempt.request_headers)),
                    reply.status_code,
                    None if reply.headers is None else json.dumps(dict(reply.headers)),
                    reply.body.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                    reply.error,
                )
                await connection.execute(SQL_OUTCOME, delivery.delivery_id, status, next_at, now)
                if status != "delivered":
                    await connection.execute(SQL_FAILING, delivery.webhook_id, now)
                elif await connection.execute(SQL_WORKING, delivery.webhook_id) != "UPDATE 0":
                    await connection.execute(SQL_HURRY, delivery.webhook_id, now)

    async def forget(self, before: datetime) -> int:
        """Delete deliveries that ended before this moment, or whose endpoint did."""
        with translated():
            await self._pool.execute(SQL_FORGET_ATTEMPTS, before)
            return int((await self._pool.execute(SQL_FORGET, before)).rpartition(" ")[2])


def _columns(deliveries: Sequence[Delivery]) -> list[list[Any]]:
    names = ("delivery_id", "webhook_id", "position", "subject", "topic", "body")
    return [[getattr(delivery, name) for delivery in deliveries] for name in names]


def _endpoint(row: Any, now: datetime) -> Endpoint:
    boxes = [row["secret_box"]]
    if row["previous_box"] is not None and now - row["rotated_at"] < PREVIOUS_SECRET_GOOD:
        boxes.append(row["previous_box"])
    replay = None if row["replay_position"] is None else (row["replay_position"], row["replay_until"])
    topics = tuple(Topic(name) for name in json.loads(row["topics"]) if name in NAMES)
    return Endpoint(
        webhook_id=row["webhook_id"],
        owner=row["owner"],
        url=row["url"],
        wanted=WebhookFilter(
            topics=topics, everyone=row["everyone"], project_id=row["project_id"], fpga_id=row["fpga_id"]
        ),
        ordered=row["ordered"],
        boxes=tuple(boxes),
        position=row["position"],
        pending=row["pending"],
        version=row["version"],
        failing_since=row["failing_since"],
        replay=replay,
    )


def _recorded(row: Any) -> Recorded:
    data = json.loads(row["data"])
    aggregate, _, name = row["stream"].partition("-")
    of_board = int(name) if aggregate == "board" else None
    return Recorded(
        position=row["position"],
        stream=row["stream"],
        version=row["version"],
        type=row["type"],
        at=row["at"],
        correlation_id=row["correlation_id"],
        data=data,
        owner=row["owner"] or data.get("owner"),
        job_type=row["job_type"],
        fpga_id=row["fpga_id"] if of_board is None else of_board,
        previous_stage=row["previous_stage"],
        project=row["project"],
    )


@asynccontextmanager
async def leading(url: str) -> AsyncIterator[PostgresStore]:
    """Wait until no other process delivers, then deliver until the block ends. Raises: StoreUnavailable."""
    with translated():
        settings = {"application_name": "lutlab-webhooks", **KEEPALIVES}
        holder = await asyncpg.connect(url, command_timeout=TIMEOUT_S, server_settings=settings)
    try:
        with translated():
            while not await holder.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - locks tell nobody
                await asyncio.sleep(STANDBY_POLL_S)
            pool = await asyncpg.create_pool(url, min_size=0, max_size=POOL_MAX, command_timeout=TIMEOUT_S)
        try:
            yield PostgresStore(pool, holder)
        finally:
            await pools.end(pool, CLOSE_S)
    finally:
        holder.terminate()
