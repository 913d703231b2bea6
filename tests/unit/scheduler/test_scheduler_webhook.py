"""Webhook endpoints: registered, rotated, disabled, enabled, deleted; nobody touches another owner's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from lutlab_events import webhooks as w
from lutlab_events.envelope import EventEnvelope
from lutlab_events.rejections import Rejection
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain import webhook
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_scheduler.domain.webhook import WEBHOOKS_PER_OWNER_MAX, Webhook, WebhookState

NOW = datetime(2026, 3, 4, tzinfo=UTC)
ID = UUID(int=1)
REGISTER = w.RegisterWebhook(
    webhook_id=ID,
    owner="ada",
    url="https://a.example/x",
    wanted=w.WebhookFilter(topics=(w.Topic.JOB_FAILED,)),
    secret_box="sealed",
)
MINE: dict[str, Any] = {"webhook_id": ID, "owner": "ada"}


def told(*decisions: webhook.Decided) -> Webhook:
    """The endpoint after these decisions, by way of a world."""
    world = World()
    version = 0
    for decided in decisions:
        assert not isinstance(decided, Rejected), decided
        for body in decided:
            version += 1
            world.apply(
                EventEnvelope(
                    position=40 + version,
                    event_id=UUID(int=version),
                    stream=w.webhook_stream(ID),
                    version=version,
                    body=body,
                    causation_id=ID,
                    correlation_id=ID,
                    actor="ada",
                    site="main",
                    at=NOW,
                )
            )
    found = world.state(w.webhook_stream(ID))
    assert isinstance(found, Webhook)
    assert world.webhooks_of("ada") == (found.state is not WebhookState.DELETED)
    world.undo()
    assert world.webhooks_of("ada") == 0
    return found


def test_the_life_of_an_endpoint() -> None:
    registered = told(webhook.register(REGISTER, None, 0))
    assert (registered.state, registered.registered_at_position) == (WebhookState.ACTIVE, 41)
    start = [*_events(webhook.register(REGISTER, None, 0))]
    rotate = webhook.change(w.RotateWebhookSecret(**MINE, secret_box="new"), registered)
    rotated = told(start, rotate)
    assert (rotated.secret_box, rotated.previous_box, rotated.rotated_at) == ("new", "sealed", NOW)
    off = webhook.disable(w.DisableWebhook(webhook_id=ID, code="endpoint_gone", message="410"), registered)
    disabled = told(start, off)
    assert (disabled.state, disabled.code, disabled.message) == (WebhookState.DISABLED, "endpoint_gone", "410")
    on = webhook.change(w.EnableWebhook(**MINE), disabled)
    enabled = told(start, off, on)
    assert (enabled.state, enabled.code) == (WebhookState.ACTIVE, None)
    deleted = told(start, rotate, webhook.change(w.DeleteWebhook(**MINE), rotated))
    assert (deleted.state, deleted.secret_box, deleted.previous_box) == (WebhookState.DELETED, "", None)
    row = project(disabled)
    assert (row.table, row.values["state"], row.values["topics"]) == ("webhooks", "disabled", ["job.failed"])
    again = webhook.change(w.EnableWebhook(**MINE), deleted)
    assert isinstance(again, Rejected) and again.code is Rejection.WEBHOOK_NOT_FOUND


def _events(decided: webhook.Decided) -> list[w.WebhookEvent]:
    assert not isinstance(decided, Rejected)
    return decided


@pytest.mark.parametrize("command", [w.RotateWebhookSecret, w.EnableWebhook, w.DeleteWebhook])
def test_only_its_owner_and_admins(command: Any) -> None:
    registered = told(webhook.register(REGISTER, None, 0))
    more = {"secret_box": "x"} if command is w.RotateWebhookSecret else {}
    refused = webhook.change(command(webhook_id=ID, owner="eve", **more), registered)
    assert isinstance(refused, Rejected) and refused.code is Rejection.WEBHOOK_NOT_FOUND
    decided = webhook.change(command(webhook_id=ID, owner="root", is_admin=True, **more), registered)
    assert not isinstance(decided, Rejected) or decided.code is Rejection.NOTHING_TO_DO


def test_refusals() -> None:
    registered = told(webhook.register(REGISTER, None, 0))
    for decided, code in (
        (webhook.register(REGISTER, registered, 1), Rejection.WEBHOOK_EXISTS),
        (webhook.register(REGISTER, None, WEBHOOKS_PER_OWNER_MAX), Rejection.TOO_MANY_WEBHOOKS),
        (webhook.change(w.EnableWebhook(**MINE), registered), Rejection.NOTHING_TO_DO),
        (webhook.disable(w.DisableWebhook(webhook_id=ID, code="x", message="y"), None), Rejection.WEBHOOK_NOT_FOUND),
    ):
        assert isinstance(decided, Rejected) and decided.code is code
