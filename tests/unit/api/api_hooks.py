"""Webhook endpoints and a log to follow, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from lutlab_api.app.audit import AuditFilter
from lutlab_api.app.follow import Followed, LogPiece, is_wanted
from lutlab_api.app.webhooks import AttemptView, DeliveryView, WebhookView
from lutlab_api.domain.errors import Unavailable


class FakeHooks:
    """The port `Hooks`."""

    def __init__(self) -> None:
        self.endpoints: dict[UUID, WebhookView] = {}
        self.sent: list[tuple[UUID, str]] = []
        self.again: list[UUID] = []
        self.replayed: list[tuple[UUID, int, int]] = []
        self.log: dict[UUID, tuple[DeliveryView, Sequence[AttemptView]]] = {}

    async def webhooks(self, owner: str | None) -> Sequence[WebhookView]:
        return [e for e in self.endpoints.values() if owner in (None, e.owner)]

    async def webhook(self, webhook_id: UUID) -> WebhookView | None:
        return self.endpoints.get(webhook_id)

    async def deliveries(
        self, webhook_id: UUID, limit: int, status: str | None, before: UUID | None
    ) -> Sequence[DeliveryView]:
        return [d for d, _ in self.log.values() if status in (None, d.status)][:limit]

    async def delivery(self, webhook_id: UUID, delivery_id: UUID) -> tuple[DeliveryView, Sequence[AttemptView]] | None:
        return self.log.get(delivery_id)

    async def send(self, webhook_id: UUID, delivery_id: UUID, topic: str, body: str, now: datetime) -> None:
        self.sent.append((delivery_id, body))

    async def redeliver(self, delivery_id: UUID, now: datetime) -> None:
        self.again.append(delivery_id)

    async def replay(self, webhook_id: UUID, after: int, until: int) -> None:
        self.replayed.append((webhook_id, after, until))


class FakeLogSource:
    """The port `LogSource`."""

    def __init__(self) -> None:
        self.events: list[Followed] = []
        self.pieces: list[LogPiece] = []
        self.reads = 0
        self.is_down = False

    async def head(self) -> int:
        return len(self.events)

    async def after(self, wanted: AuditFilter) -> Sequence[Followed]:
        self.reads += 1
        if self.is_down:
            raise Unavailable("the lab's database does not answer")
        later = islice(self.events, wanted.after, None)
        return list(islice((e for e in later if is_wanted(wanted, e)), wanted.limit))

    async def lines_after(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[LogPiece]:
        return [piece for piece in self.pieces if (piece.attempt, piece.seq) >= (attempt, seq)][:limit]
