"""A webhook endpoint.

Theory. An endpoint is active until it is disabled by the delivery service or deleted by its owner; a disabled one can
be enabled again, a deleted one never returns. Its secret may be rotated while it exists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lutlab_events import webhooks as w
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Rejected

WEBHOOKS_PER_OWNER_MAX = 50


class WebhookState(StrEnum):
    """Whether an endpoint is delivered to."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


TRANSITIONS: Table[WebhookState] = {
    (START, w.WebhookRegistered): (WebhookState.ACTIVE,),
    (WebhookState.ACTIVE, w.WebhookSecretRotated): (WebhookState.ACTIVE,),
    (WebhookState.DISABLED, w.WebhookSecretRotated): (WebhookState.DISABLED,),
    (WebhookState.ACTIVE, w.WebhookDisabled): (WebhookState.DISABLED,),
    (WebhookState.DISABLED, w.WebhookEnabled): (WebhookState.ACTIVE,),
    (WebhookState.ACTIVE, w.WebhookDeleted): (WebhookState.DELETED,),
    (WebhookState.DISABLED, w.WebhookDeleted): (WebhookState.DELETED,),
}

Decided = list[w.WebhookEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What the log says about one endpoint; `registered_at_position` is where its deliveries begin."""

    webhook_id: UUID
    owner: str
    url: str
    wanted: w.WebhookFilter
    ordered: bool
    description: str
    state: WebhookState
    secret_box: str
    created_at: datetime
    updated_at: datetime
    registered_at_position: int
    version: int
    previous_box: str | None = None
    rotated_at: datetime | None = None
    code: str | None = None
    message: str | None = None


def evolve(webhook: Webhook | None, envelope: Happened) -> Webhook:
    """The endpoint after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    state = follow(TRANSITIONS, envelope.stream, START if webhook is None else webhook.state, event)
    if isinstance(event, w.WebhookRegistered):
        return Webhook(
            webhook_id=event.webhook_id,
            owner=event.owner,
            url=event.url,
            wanted=event.wanted,
            ordered=event.ordered,
            description=event.description,
            state=state,
            secret_box=event.secret_box,
            created_at=envelope.at,
            updated_at=envelope.at,
            registered_at_position=envelope.position,
            version=envelope.version,
        )
    assert webhook is not None
    webhook = replace(webhook, state=state, version=envelope.version, updated_at=envelope.at)
    match event:
        case w.WebhookSecretRotated():
            box, before = event.secret_box, webhook.secret_box
            return replace(webhook, secret_box=box, previous_box=before, rotated_at=envelope.at)
        case w.WebhookDisabled():
            return replace(webhook, code=event.code, message=event.message)
        case w.WebhookDeleted():
            return replace(webhook, secret_box="", previous_box=None)
        case _:
            return replace(webhook, code=None, message=None)


def register(command: w.RegisterWebhook, webhook: Webhook | None, owned: int) -> Decided:
    """Register an endpoint whose id is new; `owned` counts those its owner has."""
    if webhook is not None:
        return Rejected(Rejection.WEBHOOK_EXISTS, f"webhook {command.webhook_id} exists already; use a new id")
    if owned >= WEBHOOKS_PER_OWNER_MAX:
        return Rejected(
            Rejection.TOO_MANY_WEBHOOKS,
            f"{command.owner!r} has {owned} webhooks, the most there may be; delete one first",
        )
    return [
        w.WebhookRegistered(
            webhook_id=command.webhook_id,
            owner=command.owner,
            url=command.url,
            wanted=command.wanted,
            secret_box=command.secret_box,
            ordered=command.ordered,
            description=command.description,
        )
    ]


def change(command: w.RotateWebhookSecret | w.EnableWebhook | w.DeleteWebhook, webhook: Webhook | None) -> Decided:
    """Rotate, enable or delete: one's own endpoint, or anyone's as an admin."""
    if webhook is None or webhook.state is WebhookState.DELETED:
        return _unknown(command.webhook_id)
    if webhook.owner != command.owner and not command.is_admin:
        return _unknown(command.webhook_id)  # whether others have it is nobody's business
    match command:
        case w.RotateWebhookSecret():
            return [w.WebhookSecretRotated(secret_box=command.secret_box)]
        case w.DeleteWebhook():
            return [w.WebhookDeleted(by=command.owner)]
        case _:
            if webhook.state is WebhookState.ACTIVE:
                return Rejected(Rejection.NOTHING_TO_DO, f"webhook {command.webhook_id} is active already")
            return [w.WebhookEnabled(by=command.owner)]


def disable(command: w.DisableWebhook, webhook: Webhook | None) -> Decided:
    """Stop delivering to an active endpoint."""
    if webhook is None:
        return _unknown(command.webhook_id)
    if webhook.state is not WebhookState.ACTIVE:
        return Rejected(Rejection.NOTHING_TO_DO, f"webhook {command.webhook_id} is {webhook.state.value} already")
    return [w.WebhookDisabled(code=command.code, message=command.message)]


def _unknown(webhook_id: UUID) -> Rejected:
    return Rejected(
        Rejection.WEBHOOK_NOT_FOUND, f"there is no webhook {webhook_id} of yours; list them: GET /api/v1/webhooks"
    )
