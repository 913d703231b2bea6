"""Webhooks under /api/v1: the contract's three routes, rotation, and the log of deliveries."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query, Response, status
from pydantic import BaseModel, FailFast, Field

from lutlab_api.app.webhooks import AttemptView, DeliveryView, WebhookView, WebhookWish
from lutlab_api.domain.errors import Code, Missing, NotAllowed
from lutlab_api.web.asked import FPGA_ID_MAX, Api, Reading, Secret, Submitting
from lutlab_api.web.documented import ASK, READ, errors_contract
from lutlab_api.web.located import Located
from lutlab_api.web.models import TEXT
from lutlab_api.web.paging import Page, PageQuery, Strict, newest_first, page_of
from lutlab_events.rejections import Rejection
from lutlab_events.webhooks import Topic, WebhookFilter

POSITION_MAX = 2**63 - 1
MINE = (Rejection.WEBHOOK_NOT_FOUND,)
BODY = (Code.VALIDATION_ERROR, Code.BODY_TOO_LARGE)
NEW = (*BODY, Code.INVALID_SECRET, Code.WEBHOOKS_UNAVAILABLE)

router = APIRouter(prefix="/api/v1/webhooks", tags=["v1 webhooks"])


class NewWebhook(Strict):
    """An endpoint to be registered."""

    url: str = Field(max_length=2048, examples=["https://your-server.com/openforge-events"])
    events: Annotated[tuple[Topic, ...], FailFast()] = Field(min_length=1, max_length=32, description="what to deliver")
    secret: str | None = Field(
        None, max_length=256, description="at least 16 bytes, or `whsec_` and base64 of 24; leave it out to get one"
    )
    project_id: str | None = Field(
        None, max_length=64, description="only jobs of this project", examples=["proj_5a0e8e1c3df15f0a9d1c0e8a5d1b7c01"]
    )
    fpga_id: int | None = Field(None, ge=0, le=FPGA_ID_MAX, description="only this board, and jobs on it")
    everyone: bool = Field(False, description="everybody's jobs (admins only)")
    ordered: bool = Field(False, description="what happens to one job or board strictly one after another")
    description: str = Field("", max_length=200, pattern=TEXT)

    def wish(self) -> WebhookWish:
        """As the use case takes it."""
        wanted = WebhookFilter(
            topics=self.events, everyone=self.everyone, project_id=self.project_id, fpga_id=self.fpga_id
        )
        return WebhookWish(
            url=self.url, wanted=wanted, secret=self.secret, ordered=self.ordered, description=self.description
        )


class NewSecret(Strict):
    """A secret to sign with."""

    secret: str | None = Field(None, max_length=256, description="leave it out to get one")


class Replay(Strict):
    """A range of the log."""

    after: int = Field(ge=0, le=POSITION_MAX, description="what happened after this position")
    until: int = Field(POSITION_MAX, ge=0, le=POSITION_MAX, description="up to and with this position")


class Webhook(BaseModel):
    """An endpoint; its secret is never shown again."""

    webhook_id: UUID
    url: str
    events: list[str]
    active: bool
    owner: str
    project_id: str | None
    fpga_id: int | None
    everyone: bool
    ordered: bool
    description: str
    created_at: datetime
    position: int = Field(description="what happened up to here was delivered or is pending")
    pending: int = Field(description="deliveries under way or to be repeated")
    failing_since: datetime | None
    disabled_code: str | None = Field(description="`endpoint_gone` or `endpoint_failed`")
    disabled_message: str | None

    @staticmethod
    def of(view: WebhookView) -> Webhook:
        """From the view."""
        return Webhook(
            webhook_id=view.webhook_id,
            url=view.url,
            events=list(view.topics),
            active=view.state == "active",
            owner=view.owner,
            project_id=view.project_id,
            fpga_id=view.fpga_id,
            everyone=view.everyone,
            ordered=view.ordered,
            description=view.description,
            created_at=view.created_at,
            position=view.position,
            pending=view.pending,
            failing_since=view.failing_since,
            disabled_code=view.code,
            disabled_message=view.message,
        )


class RegisteredWebhook(BaseModel):
    """The contract's answer, and the secret: shown once."""

    webhook_id: UUID
    url: str
    events: list[str]
    active: bool
    secret: str


class ShownSecret(BaseModel):
    """A secret, shown once."""

    webhook_id: UUID
    secret: str


class Webhooks(Page):
    """A page of endpoints, newest first."""

    webhooks: list[Webhook]


class Delivery(BaseModel):
    """A message to an endpoint."""

    delivery_id: UUID = Field(description="the `webhook-id` header, the same for every attempt")
    position: int
    event: str
    subject: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def of(view: DeliveryView) -> dict[str, Any]:
        """From the view."""
        fields = {name: getattr(view, name) for name in view.__dataclass_fields__ if name not in ("topic", "body")}
        return {**fields, "event": view.topic}


class Attempt(BaseModel):
    """One attempt: what was sent (without signatures), and what came back (its beginning)."""

    at: datetime
    duration_ms: int
    request_headers: dict[str, str]
    status_code: int | None
    response_headers: dict[str, str] | None
    response_body: str | None
    error: str | None

    @staticmethod
    def of(view: AttemptView) -> dict[str, Any]:
        """From the view."""
        return {name: getattr(view, name) for name in view.__dataclass_fields__}


class DeliveryWithAttempts(Delivery):
    """A message with its body and everything that was tried."""

    body: str
    log: list[Attempt]


class Deliveries(BaseModel):
    """Messages, newest first."""

    deliveries: list[Delivery]
    next_before: UUID | None = Field(description="pass as `before` for the next page; null at the end")


class DeliveriesQuery(Strict):
    """Which messages to list."""

    status: Literal["pending", "delivered", "failed"] | None = None
    before: UUID | None = Field(None, description="only older ones")
    limit: int = Field(100, ge=1, le=1000)


class Sent(BaseModel):
    """A test that is under way."""

    delivery_id: UUID


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Missing(
            Rejection.WEBHOOK_NOT_FOUND, f"there is no webhook {text[:64]!r}; list yours with GET /api/v1/webhooks"
        ) from None


def _delivery_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Missing(Code.DELIVERY_NOT_FOUND, f"there is no delivery {text[:64]!r}") from None


def _url(webhook_id: UUID) -> str:
    return f"{router.prefix}/{webhook_id}"


WebhookId = Annotated[str, Path(description="the endpoint's id")]
DeliveryId = Annotated[str, Path(description="the delivery's id")]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Register a webhook",
    responses=errors_contract(
        *ASK,
        *NEW,
        Code.INVALID_URL,
        Code.ADMIN_ONLY,
        Rejection.TOO_MANY_WEBHOOKS,
        Rejection.WEBHOOK_EXISTS,
        Rejection.PROJECT_NOT_FOUND,
        Rejection.NOT_YOUR_PROJECT,
    ),
)
async def register(
    body: NewWebhook, api: Api, asked: Submitting, secret: Secret, location: Located
) -> RegisteredWebhook:
    """Have what happens from now on delivered to an URL.

    Each POST is signed: `webhook-id`, `webhook-timestamp`, `webhook-signature` (Standard Webhooks, v1) and
    `X-OpenForge-Signature` (`sha256=` and the hexadecimal HMAC-SHA256 of the body). Answer 2xx within 15 s. Anything
    else is tried again, ten times over 75 hours; 410 disables the endpoint, as do four days without a success.
    """
    wish = body.wish()
    if body.project_id is not None:
        project = await api.projects.get(body.project_id, asked.caller)
        if project.owner != asked.caller.owner and not body.everyone:  # one's own jobs only: it would hear nothing
            message = f"project {project.shown} belongs to {project.owner}; only `everyone` hears of jobs of others"
            raise NotAllowed(Rejection.NOT_YOUR_PROJECT, message)
        wish = replace(wish, wanted=msgspec.structs.replace(wish.wanted, project_id=project.shown))
    shown = await api.webhooks.register(asked, secret or "", wish)
    location.is_at(_url(shown.webhook_id))
    return RegisteredWebhook(
        webhook_id=shown.webhook_id, url=body.url, events=list(body.events), active=True, secret=shown.secret
    )


@router.get("", summary="List webhooks", responses=errors_contract(*READ, Code.VALIDATION_ERROR, Code.INVALID_CURSOR))
async def listed(api: Api, caller: Reading, query: Annotated[PageQuery, Query()]) -> Webhooks:
    """Your endpoints, newest first; for an admin everybody's."""
    every = await api.webhooks.listed(caller)
    found, page = page_of(every, query, lambda hook: newest_first(hook.created_at, hook.webhook_id))
    return Webhooks.model_validate({"webhooks": [Webhook.of(one) for one in found], **page})


@router.get("/{webhook_id}", summary="Look at a webhook", responses=errors_contract(*READ, *MINE))
async def one(webhook_id: WebhookId, api: Api, caller: Reading) -> Webhook:
    """One endpoint: whether it is delivered to, and how far it has come."""
    return Webhook.of(await api.webhooks.one(caller, _id(webhook_id)))


@router.delete(
    "/{webhook_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a webhook",
    responses=errors_contract(*ASK, *MINE),
)
async def delete(webhook_id: WebhookId, api: Api, asked: Submitting) -> Response:
    """Forget an endpoint, its secret at once."""
    await api.webhooks.delete(asked, _id(webhook_id))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/{webhook_id}/rotate", summary="Rotate a secret", responses=errors_contract(*ASK, *NEW, *MINE))
async def rotate(
    webhook_id: WebhookId, api: Api, asked: Submitting, secret: Secret, body: NewSecret | None = None
) -> ShownSecret:
    """Sign with another secret; for 24 hours `webhook-signature` has signatures of both."""
    wanted = None if body is None else body.secret
    shown = await api.webhooks.rotate(asked, secret or "", _id(webhook_id), wanted)
    return ShownSecret(webhook_id=shown.webhook_id, secret=shown.secret)


@router.post(
    "/{webhook_id}/enable",
    summary="Enable a webhook again",
    responses=errors_contract(*ASK, *MINE, Rejection.NOTHING_TO_DO),
)
async def enable(webhook_id: WebhookId, api: Api, asked: Submitting) -> Webhook:
    """Deliver again, also what happened meanwhile."""
    await api.webhooks.enable(asked, _id(webhook_id))
    return Webhook.of(await api.webhooks.one(asked.caller, _id(webhook_id)))


@router.post(
    "/{webhook_id}/ping",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Send a test",
    responses=errors_contract(*ASK, *MINE),
)
async def ping(webhook_id: WebhookId, api: Api, asked: Submitting, location: Located) -> Sent:
    """Deliver a `ping`; look at the delivery to see how it went."""
    ident = _id(webhook_id)
    sent = Sent(delivery_id=await api.webhooks.ping(asked, ident))
    location.is_at(f"{_url(ident)}/deliveries/{sent.delivery_id}")
    return sent


@router.post(
    "/{webhook_id}/replay",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Replay a range",
    responses=errors_contract(*ASK, *BODY, *MINE, Code.INVALID_RANGE),
)
async def replay(webhook_id: WebhookId, body: Replay, api: Api, asked: Submitting, location: Located) -> Webhook:
    """Deliver a range of the log once more, under the same ids; what was missed too."""
    ident = _id(webhook_id)
    await api.webhooks.replay(asked.caller, ident, body.after, body.until)
    location.is_at(_url(ident))
    return Webhook.of(await api.webhooks.one(asked.caller, ident))


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    responses=errors_contract(*READ, *MINE, Code.VALIDATION_ERROR),
)
async def deliveries(
    webhook_id: WebhookId, api: Api, caller: Reading, query: Annotated[DeliveriesQuery, Query()]
) -> Deliveries:
    """What was and will be delivered, newest first; ended ones are kept for 30 days."""
    found = await api.webhooks.deliveries(caller, _id(webhook_id), query.limit + 1, query.status, query.before)
    shown = found[: query.limit]
    following = shown[-1].delivery_id if len(found) > len(shown) else None
    return Deliveries(deliveries=[Delivery.model_validate(Delivery.of(one)) for one in shown], next_before=following)


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    summary="Look at a delivery",
    responses=errors_contract(*READ, *MINE, Code.DELIVERY_NOT_FOUND),
)
async def delivery(webhook_id: WebhookId, delivery_id: DeliveryId, api: Api, caller: Reading) -> DeliveryWithAttempts:
    """One message, with everything that was sent and answered."""
    found, attempts = await api.webhooks.delivery(caller, _id(webhook_id), _delivery_id(delivery_id))
    log = [Attempt.of(attempt) for attempt in attempts]
    return DeliveryWithAttempts.model_validate({**Delivery.of(found), "body": found.body, "log": log})


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Deliver again",
    responses=errors_contract(*ASK, *MINE, Code.DELIVERY_NOT_FOUND),
)
async def redeliver(
    webhook_id: WebhookId, delivery_id: DeliveryId, api: Api, asked: Submitting, location: Located
) -> Sent:
    """Attempt a delivery once more, whatever became of it, under the same id."""
    endpoint, ident = _id(webhook_id), _delivery_id(delivery_id)
    await api.webhooks.redeliver(asked.caller, endpoint, ident)
    location.is_at(f"{_url(endpoint)}/deliveries/{ident}")
    return Sent(delivery_id=ident)
