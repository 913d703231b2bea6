"""Webhook endpoints and their deliveries in Postgres, behind the port `Hooks`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.app.webhooks import AttemptView, DeliveryView, WebhookView

PENDING_COUNTED_MAX = 10_000
ATTEMPTS_SHOWN_MAX = 100

SQL_WEBHOOKS = """
select w.*, coalesce(p.position, w.start_position) as position, p.failing_since,
  (select count(*) from (select 1 from webhook_deliveries d
     where d.webhook_id = w.webhook_id and d.status = 'pending' limit $3) n) as pending
from webhooks w left join webhook_progress p using (webhook_id)
where w.state <> 'deleted' and ($1::text is null or w.owner = $1) and ($2::uuid is null or w.webhook_id = $2)
order by w.created_at desc, w.webhook_id
"""
SQL_DELIVERIES = """
select * from webhook_deliveries d where webhook_id = $1 and ($2::text is null or status = $2)
  and ($3::uuid is null
       or (created_at, delivery_id) < (select created_at, delivery_id from webhook_deliveries where delivery_id = $3))
order by created_at desc, delivery_id desc limit $4
"""
SQL_DELIVERY = "select * from webhook_deliveries where webhook_id = $1 and delivery_id = $2"
SQL_ATTEMPTS = "select * from webhook_attempts where delivery_id = $1 order by at desc limit $2"
SQL_SEND = """
insert into webhook_deliveries
  (delivery_id, webhook_id, position, subject, topic, body, status, attempts, next_at, created_at, updated_at)
values ($1, $2, 0, 'webhook-' || $2::uuid, $3, $4, 'pending', 0, $5, $5, $5) on conflict do nothing
"""
SQL_REDELIVER = """
update webhook_deliveries set status = 'pending', attempts = 0, next_at = $2, updated_at = $2 where delivery_id = $1
"""
SQL_REPLAY = """
insert into webhook_progress (webhook_id, position, replay_position, replay_until)
select webhook_id, start_position, $2::bigint, $3::bigint from webhooks where webhook_id = $1
on conflict (webhook_id) do update set replay_position = excluded.replay_position, replay_until = excluded.replay_until
"""


class PostgresHooks:
    """Implements the port `Hooks`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def webhooks(self, owner: str | None) -> Sequence[WebhookView]:
        """Endpoints that are not deleted, newest first."""
        return [_webhook(row) for row in await self._postgres.fetch(SQL_WEBHOOKS, owner, None, PENDING_COUNTED_MAX)]

    async def webhook(self, webhook_id: UUID) -> WebhookView | None:
        """One endpoint."""
        rows = await self._postgres.fetch(SQL_WEBHOOKS, None, webhook_id, PENDING_COUNTED_MAX)
        return _webhook(rows[0]) if rows else None

    async def deliveries(
        self, webhook_id: UUID, limit: int, status: str | None, before: UUID | None
    ) -> Sequence[DeliveryView]:
        """Deliveries, newest first."""
        return [_delivery(row) for row in await self._postgres.fetch(SQL_DELIVERIES, webhook_id, status, before, limit)]

    async def delivery(self, webhook_id: UUID, delivery_id: UUID) -> tuple[DeliveryView, Sequence[AttemptView]] | None:
        """A delivery with its attempts, oldest first."""
        rows = await self._postgres.fetch(SQL_DELIVERY, webhook_id, delivery_id)
        if not rows:
            return None
        attempts = await self._postgres.fetch(SQL_ATTEMPTS, delivery_id, ATTEMPTS_SHOWN_MAX)
        return _delivery(rows[0]), [_attempt(row) for row in reversed(attempts)]

    async def send(self, webhook_id: UUID, delivery_id: UUID, topic: str, body: str, now: datetime) -> None:
        """Leave a message for the delivery service."""
        await self._postgres.fetch(SQL_SEND, delivery_id, webhook_id, topic, body, now)

    async def redeliver(self, delivery_id: UUID, now: datetime) -> None:
        """Have a delivery attempted again."""
        await self._postgres.fetch(SQL_REDELIVER, delivery_id, now)

    async def replay(self, webhook_id: UUID, after: int, until: int) -> None:
        """Have a range of the log delivered again."""
        await self._postgres.fetch(SQL_REPLAY, webhook_id, after, until)


def _webhook(row: Any) -> WebhookView:
    names = [name for name in WebhookView.__dataclass_fields__ if name != "topics"]
    return WebhookView(topics=tuple(json.loads(row["topics"])), **{name: row[name] for name in names})


def _delivery(row: Any) -> DeliveryView:
    fields = {name: row[name] for name in DeliveryView.__dataclass_fields__}
    return DeliveryView(**{**fields, "next_at": row["next_at"] if row["status"] == "pending" else None})


def _attempt(row: Any) -> AttemptView:
    fields = {name: row[name] for name in AttemptView.__dataclass_fields__}
    for name in ("request_headers", "response_headers"):
        fields[name] = None if fields[name] is None else json.loads(fields[name])
    return AttemptView(**fields)
