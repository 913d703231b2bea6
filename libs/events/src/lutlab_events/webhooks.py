"""Webhooks: what can be subscribed to, commands about endpoints, and events of stream `webhook-<webhook_id>`."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from lutlab_events.values import Frozen


class Topic(StrEnum):
    """What an endpoint can subscribe to; the first six are the contract's."""

    JOB_QUEUED = "job.queued"
    JOB_STARTED = "job.started"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    STAGE_COMPLETED = "stage.completed"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    SESSION_STARTED = "session.started"
    SESSION_ENDED = "session.ended"
    BOARD_LOST = "board.lost"
    BOARD_ATTACHED = "board.attached"


class WebhookFilter(Frozen, frozen=True, kw_only=True):
    """Which events an endpoint gets.

    Attributes:
        topics: of which kinds.
        everyone: of every owner's jobs and sessions, not only of the endpoint's owner.
        project_id: of jobs of this project only.
        fpga_id: of this board, and of jobs on it, only.
    """

    topics: tuple[Topic, ...]
    everyone: bool = False
    project_id: str | None = None
    fpga_id: int | None = None


class RegisterWebhook(Frozen, frozen=True, kw_only=True, tag=True):
    """Deliver what happens from now on to an URL.

    Attributes:
        secret_box: the signing secret, encrypted under the key that API and delivery share; the ledger cannot open it.
        ordered: whether what happens to one job or board is delivered strictly one after another.
    """

    webhook_id: UUID
    owner: str
    url: str
    wanted: WebhookFilter
    secret_box: str
    ordered: bool = False
    description: str = ""


class RotateWebhookSecret(Frozen, frozen=True, kw_only=True, tag=True):
    """Sign with another secret; deliveries carry signatures of both until the one before is over."""

    webhook_id: UUID
    owner: str
    secret_box: str
    is_admin: bool = False


class EnableWebhook(Frozen, frozen=True, kw_only=True, tag=True):
    """Deliver again; what happened meanwhile is delivered too."""

    webhook_id: UUID
    owner: str
    is_admin: bool = False


class DisableWebhook(Frozen, frozen=True, kw_only=True, tag=True):
    """From the delivery service: the endpoint is gone, or failed for days."""

    webhook_id: UUID
    code: str
    message: str


class DeleteWebhook(Frozen, frozen=True, kw_only=True, tag=True):
    """Forget an endpoint."""

    webhook_id: UUID
    owner: str
    is_admin: bool = False


class WebhookRegistered(Frozen, frozen=True, kw_only=True, tag="webhook.registered.v1"):
    """An endpoint gets what happens after this position."""

    webhook_id: UUID
    owner: str
    url: str
    wanted: WebhookFilter
    secret_box: str
    ordered: bool = False
    description: str = ""


class WebhookSecretRotated(Frozen, frozen=True, kw_only=True, tag="webhook.secret_rotated.v1"):
    """Deliveries are signed with another secret."""

    secret_box: str


class WebhookEnabled(Frozen, frozen=True, kw_only=True, tag="webhook.enabled.v1"):
    """Deliveries go on."""

    by: str


class WebhookDisabled(Frozen, frozen=True, kw_only=True, tag="webhook.disabled.v1"):
    """Deliveries stopped: `endpoint_gone` or `endpoint_failed`."""

    code: str
    message: str


class WebhookDeleted(Frozen, frozen=True, kw_only=True, tag="webhook.deleted.v1"):
    """The endpoint is forgotten."""

    by: str


WebhookCommand = RegisterWebhook | RotateWebhookSecret | EnableWebhook | DisableWebhook | DeleteWebhook
WebhookEvent = WebhookRegistered | WebhookSecretRotated | WebhookEnabled | WebhookDisabled | WebhookDeleted


def webhook_stream(webhook_id: UUID) -> str:
    """The stream of an endpoint."""
    return f"webhook-{webhook_id}"
