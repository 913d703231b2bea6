"""Webhook endpoints: registered by command, delivered to by a service of its own; here they are described and asked for
something."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from lutlab_api.app.asking import Asking, Request
from lutlab_api.app.auth import require_admin
from lutlab_api.app.ports import Clock, Ids
from lutlab_api.domain.errors import ApiError, Code, Invalid, Missing
from lutlab_api.domain.views import Caller
from lutlab_events import webhooks as w
from lutlab_events.ids import derived, digest
from lutlab_events.rejections import Rejection
from lutlab_hooks.addresses import Network, UrlRefused, check_url
from lutlab_hooks.secrets import SecretRefused, Vault, check_secret, spelled

PING = "ping"


@dataclass(frozen=True, kw_only=True)
class WebhookView:
    """An endpoint as it may be shown: without its secret."""

    webhook_id: UUID
    owner: str
    url: str
    topics: tuple[str, ...]
    everyone: bool
    project_id: str | None
    fpga_id: int | None
    ordered: bool
    description: str
    state: str
    code: str | None
    message: str | None
    created_at: datetime
    position: int
    pending: int
    failing_since: datetime | None


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """A message to an endpoint."""

    delivery_id: UUID
    position: int
    topic: str
    subject: str
    status: str
    attempts: int
    next_at: datetime | None
    created_at: datetime
    updated_at: datetime
    body: str


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One attempt at delivering."""

    at: datetime
    duration_ms: int
    request_headers: Mapping[str, str]
    status_code: int | None
    response_headers: Mapping[str, str] | None
    response_body: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class WebhookWish:
    """The endpoint somebody asks for; see `lutlab_events.webhooks`."""

    url: str
    wanted: w.WebhookFilter
    secret: str | None
    ordered: bool
    description: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An endpoint's new secret, shown once."""

    webhook_id: UUID
    secret: str


class Hooks(Protocol):
    """What is kept about endpoints and deliveries. Every method raises `Unavailable`."""

    async def webhooks(self, owner: str | None) -> Sequence[WebhookView]:
        """Endpoints that are not deleted, newest first; of one owner if given."""
        ...

    async def webhook(self, webhook_id: UUID) -> WebhookView | None:
        """One endpoint."""
        ...

    async def deliveries(
        self, webhook_id: UUID, limit: int, status: str | None, before: UUID | None
    ) -> Sequence[DeliveryView]:
        """Deliveries, newest first; older than the one given."""
        ...

    async def delivery(self, webhook_id: UUID, delivery_id: UUID) -> tuple[DeliveryView, Sequence[AttemptView]] | None:
        """A delivery with its attempts, oldest first."""
        ...

    async def send(self, webhook_id: UUID, delivery_id: UUID, topic: str, body: str, now: datetime) -> None:
        """Leave a message of one's own for the delivery service."""
        ...

    async def redeliver(self, delivery_id: UUID, now: datetime) -> None:
        """Have a delivery attempted again, from the first attempt on."""
        ...

    async def replay(self, webhook_id: UUID, after: int, until: int) -> None:
        """Have a range of the log delivered again."""
        ...


class Webhooks:
    """Registers and looks after endpoints."""

    def __init__(
        self, *, asking: Asking, hooks: Hooks, ids: Ids, clock: Clock, key: str | None, allowed: Sequence[Network]
    ) -> None:
        self._asking = asking
        self._hooks = hooks
        self._ids = ids
        self._clock = clock
        self._vault = None if key is None else Vault(key)
        self._allowed = tuple(allowed)

    async def register(self, request: Request, own_secret: str, wish: WebhookWish) -> Shown:
        """Make an endpoint known. With an Idempotency-Key a repetition shows the same secret again.

        Raises:
            Invalid: `invalid_url`, `invalid_secret`.
            NotAllowed: only admins get everybody's events.
            Refused, Unavailable: as for every command.
        """
        if wish.wanted.everyone:
            require_admin(request.caller)
        try:
            check_url(wish.url, self._allowed)
        except UrlRefused as error:
            raise Invalid(Code.INVALID_URL, str(error), details={"field": "url"}) from None
        command_id = self._asking.command_id(request)
        webhook_id = derived("webhook", command_id)
        secret = self._secret(request, own_secret, wish.secret, command_id)
        body = w.RegisterWebhook(
            webhook_id=webhook_id,
            owner=request.caller.owner,
            url=wish.url,
            wanted=wish.wanted,
            secret_box=self._seal(webhook_id, secret),
            ordered=wish.ordered,
            description=wish.description,
        )
        asked = (wish.url, wish.wanted, *_shown(secret, wish.secret), wish.ordered, wish.description)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(*asked))
        return Shown(webhook_id=webhook_id, secret=secret)

    async def rotate(self, request: Request, own_secret: str, webhook_id: UUID, secret: str | None) -> Shown:
        """Sign with another secret; for a day deliveries carry signatures of both. Raises: as `register`."""
        caller, command_id = request.caller, self._asking.command_id(request)
        new = self._secret(request, own_secret, secret, command_id)
        body = w.RotateWebhookSecret(
            webhook_id=webhook_id,
            owner=caller.owner,
            secret_box=self._seal(webhook_id, new),
            is_admin=caller.is_admin,
        )
        fingerprint = request.fingerprint(webhook_id, *_shown(new, secret))
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        return Shown(webhook_id=webhook_id, secret=new)

    async def enable(self, request: Request, webhook_id: UUID) -> None:
        """Deliver again, also what happened meanwhile. Raises: Refused, Unavailable."""
        caller = request.caller
        body = w.EnableWebhook(webhook_id=webhook_id, owner=caller.owner, is_admin=caller.is_admin)
        await self._ask(request, body)

    async def delete(self, request: Request, webhook_id: UUID) -> None:
        """Forget an endpoint. Raises: Refused, Unavailable."""
        caller = request.caller
        body = w.DeleteWebhook(webhook_id=webhook_id, owner=caller.owner, is_admin=caller.is_admin)
        await self._ask(request, body)

    async def _ask(self, request: Request, body: w.WebhookCommand) -> None:
        fingerprint = request.fingerprint(type(body).__name__, body.webhook_id)
        await self._asking.ask(body, request, command_id=self._asking.command_id(request), fingerprint=fingerprint)

    def _secret(self, request: Request, own_secret: str, given: str | None, command_id: UUID) -> str:
        if given is not None:
            try:
                return check_secret(given)
            except SecretRefused as error:
                raise Invalid(Code.INVALID_SECRET, str(error), details={"field": "secret"}) from None
        if request.idempotency_key is None or not own_secret:
            return spelled(self._random())
        return spelled(hmac.digest(own_secret.encode(), f"webhook secret {command_id}".encode(), "sha256"))

    def _random(self) -> bytes:
        return hmac.digest(b"lutlab", self._ids.secret().encode(), "sha256")

    def _seal(self, webhook_id: UUID, secret: str) -> str:
        if self._vault is None:
            raise ApiError(
                Code.WEBHOOKS_UNAVAILABLE, "this lab delivers no webhooks: its operator has not set LUTLAB_WEBHOOKS_KEY"
            )
        return self._vault.seal(webhook_id, secret, self._random()[:24])

    # -- looking -----------------------------------------------------------------------------------

    async def listed(self, caller: Caller) -> Sequence[WebhookView]:
        """One's own endpoints; an admin's list has everybody's."""
        return await self._hooks.webhooks(None if caller.is_admin else caller.owner)

    async def one(self, caller: Caller, webhook_id: UUID) -> WebhookView:
        """An endpoint of one's own, or any as an admin. Raises: Missing."""
        found = await self._hooks.webhook(webhook_id)
        if found is None or not (caller.is_admin or found.owner == caller.owner):
            raise Missing(
                Rejection.WEBHOOK_NOT_FOUND,
                f"there is no webhook {webhook_id} of yours; list them with GET /api/v1/webhooks",
            )
        return found

    async def deliveries(
        self, caller: Caller, webhook_id: UUID, limit: int, status: str | None, before: UUID | None
    ) -> Sequence[DeliveryView]:
        """What was and will be delivered, newest first. Raises: Missing."""
        await self.one(caller, webhook_id)
        return await self._hooks.deliveries(webhook_id, limit, status, before)

    async def delivery(
        self, caller: Caller, webhook_id: UUID, delivery_id: UUID
    ) -> tuple[DeliveryView, Sequence[AttemptView]]:
        """A delivery with its attempts. Raises: Missing."""
        await self.one(caller, webhook_id)
        found = await self._hooks.delivery(webhook_id, delivery_id)
        if found is None:
            raise Missing(Code.DELIVERY_NOT_FOUND, f"webhook {webhook_id} has no delivery {delivery_id}")
        return found

    # -- asking the delivery service -----------------------------------------------------------------

    async def ping(self, request: Request, webhook_id: UUID) -> UUID:
        """Send a test; its delivery's id. Raises: Missing."""
        await self.one(request.caller, webhook_id)
        now, delivery_id = self._clock.now(), derived("ping", webhook_id, self._asking.command_id(request))
        stamp = now.isoformat().replace("+00:00", "Z")
        fields: dict[str, Any] = {"event": PING, "timestamp": stamp, "id": str(delivery_id), "position": 0}
        await self._hooks.send(webhook_id, delivery_id, PING, json.dumps(fields, separators=(",", ":")), now)
        return delivery_id

    async def redeliver(self, caller: Caller, webhook_id: UUID, delivery_id: UUID) -> None:
        """Deliver once more, under the same id. Raises: Missing."""
        await self.delivery(caller, webhook_id, delivery_id)
        await self._hooks.redeliver(delivery_id, self._clock.now())

    async def replay(self, caller: Caller, webhook_id: UUID, after: int, until: int) -> None:
        """Deliver what happened after one position, up to another, once more. Raises: Missing, Invalid."""
        found = await self.one(caller, webhook_id)
        until = min(until, found.position)
        if after >= until:
            raise Invalid(
                Code.INVALID_RANGE,
                f"after {after} must lie before until, and that not beyond {found.position}, delivered so far",
                details={"field": "after"},
            )
        await self._hooks.replay(webhook_id, after, until)


def _shown(secret: str, given: str | None) -> tuple[str | None, ...]:
    """A secret as a part of a fingerprint. One that was made follows from the caller's key: with another key of his a
    repetition would show one that nothing is signed with."""
    return (given,) if given is not None else (None, digest(secret.encode()))
