"""What the delivery needs from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lutlab_events.webhooks import WebhookFilter
from lutlab_webhooks.domain.happenings import Recorded


class StoreUnavailable(Exception):
    """Postgres cannot be reached, or another delivery service leads by now."""

    code = "store_unavailable"


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An active endpoint and how far it has come.

    Attributes:
        boxes: its encrypted secrets, newest first; the one before the last rotation only while it is good.
        position: what happened up to here has its deliveries.
        pending: how many deliveries are under way or to be repeated, counted up to the limit.
        replay: positions still to be delivered again: after the first, up to the second.
    """

    webhook_id: UUID
    owner: str
    url: str
    wanted: WebhookFilter
    ordered: bool
    boxes: tuple[str, ...]
    position: int
    pending: int
    version: int
    failing_since: datetime | None = None
    replay: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one endpoint, for as long as it takes; `delivery_id` is the same for every attempt."""

    delivery_id: UUID
    webhook_id: UUID
    position: int
    subject: str
    topic: str
    body: str
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of one attempt: the endpoint's answer, or why there is none."""

    status_code: int | None = None
    headers: Mapping[str, str] | None = None
    body: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt as it is logged; `request_headers` are without signatures."""

    attempt_id: UUID
    at: datetime
    duration_ms: int
    request_headers: Mapping[str, str]
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far endpoints have come, and the deliveries that lie on the way."""

    positions: Mapping[UUID, int]
    replays: Mapping[UUID, int | None]
    deliveries: Sequence[Delivery]
    repeated: Sequence[Delivery]


class Store(Protocol):
    """The log, and what is kept about deliveries. Every method raises StoreUnavailable."""

    async def endpoints(self, now: datetime, pending_max: int) -> Sequence[Endpoint]:
        """Every active endpoint."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """Events after a position, in order."""
        ...

    async def advance(self, progress: Progress, now: datetime) -> None:
        """Store deliveries and positions in one transaction."""
        ...

    async def due(self, room: Mapping[UUID, int], ordered: Sequence[UUID], now: datetime) -> Sequence[Delivery]:
        """Deliveries to be attempted now, up to `room` for each endpoint, oldest first."""
        ...

    async def record(
        self, delivery: Delivery, attempt: Attempt, *, status: str, next_at: datetime, now: datetime
    ) -> None:
        """Store an attempt and what follows from it. A success after failures makes everything waiting due now."""
        ...

    async def forget(self, before: datetime) -> int:
        """Delete deliveries that ended before this moment, or that an endpoint still owed when it was deleted; how many
        that were."""
        ...


class Sender(Protocol):
    """The way to endpoints."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One POST. Never raises: what goes wrong is in the reply."""
        ...


class Disabler(Protocol):
    """The way to the scheduler."""

    async def disable(self, endpoint: Endpoint, code: str, message: str) -> None:
        """Ask for an endpoint to be disabled; harmless to repeat. May fail silently: it is asked again."""
        ...
