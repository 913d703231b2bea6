"""Handlers of commands about webhook endpoints."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from lutlab_events import webhooks as w
from lutlab_events.values import Json
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import webhook
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_scheduler.domain.webhook import Webhook


def _found(tx: Transaction, webhook_id: UUID) -> Webhook | None:
    state = tx.world.state(w.webhook_stream(webhook_id))
    assert state is None or isinstance(state, Webhook)
    return state


def _append(tx: Transaction, webhook_id: UUID, decided: webhook.Decided) -> Json | Rejected:
    if isinstance(decided, Rejected):
        return decided
    tx.append(w.webhook_stream(webhook_id), decided)
    return {"webhook_id": str(webhook_id)}


def _register(command: w.RegisterWebhook, tx: Transaction) -> Json | Rejected:
    owned = tx.world.webhooks_of(command.owner)
    return _append(tx, command.webhook_id, webhook.register(command, _found(tx, command.webhook_id), owned))


def _change(command: w.RotateWebhookSecret | w.EnableWebhook | w.DeleteWebhook, tx: Transaction) -> Json | Rejected:
    return _append(tx, command.webhook_id, webhook.change(command, _found(tx, command.webhook_id)))


def _disable(command: w.DisableWebhook, tx: Transaction) -> Json | Rejected:
    return _append(tx, command.webhook_id, webhook.disable(command, _found(tx, command.webhook_id)))


HANDLERS: dict[type, Any] = {
    w.RegisterWebhook: _register,
    w.RotateWebhookSecret: _change,
    w.EnableWebhook: _change,
    w.DeleteWebhook: _change,
    w.DisableWebhook: _disable,
}
