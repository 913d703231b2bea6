"""An API key, known by its SHA-256.

Theory. A key is issued once and revoked at most once; a revoked key never returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import EventEnvelope
from lutlab_events.rejections import Rejection
from lutlab_events.values import Role
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Rejected


class KeyState(StrEnum):
    """Whether a key opens anything."""

    VALID = "valid"
    REVOKED = "revoked"


TRANSITIONS: Table[KeyState] = {
    (START, e.KeyIssued): (KeyState.VALID,),
    (KeyState.VALID, e.KeyRevoked): (KeyState.REVOKED,),
}

Decided = list[e.KeyEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the log says about one API key."""

    key_id: UUID
    key_sha256: str
    owner: str
    role: Role
    label: str
    state: KeyState
    created_at: datetime
    version: int
    revoked_at: datetime | None = None


def evolve(key: Key | None, envelope: EventEnvelope) -> Key:
    """The key after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    state = follow(TRANSITIONS, envelope.stream, START if key is None else key.state, event)
    if isinstance(event, e.KeyIssued):
        return Key(
            key_id=event.key_id,
            key_sha256=event.key_sha256,
            owner=event.owner,
            role=event.role,
            label=event.label,
            state=state,
            created_at=envelope.at,
            version=envelope.version,
        )
    assert key is not None
    return Key(
        key_id=key.key_id,
        key_sha256=key.key_sha256,
        owner=key.owner,
        role=key.role,
        label=key.label,
        state=state,
        created_at=key.created_at,
        version=envelope.version,
        revoked_at=envelope.at,
    )


def issue(command: c.IssueKey, key: Key | None, *, digest_is_known: bool) -> Decided:
    """Issue a key whose id and digest are both new."""
    if key is not None or digest_is_known:
        return Rejected(
            Rejection.KEY_EXISTS, f"key {command.key_id} or its digest exists already; make a new key with a new id"
        )
    return [
        e.KeyIssued(
            key_id=command.key_id,
            key_sha256=command.key_sha256,
            owner=command.owner,
            role=command.role,
            label=command.label,
        )
    ]


def revoke(command: c.RevokeKey, key: Key | None) -> Decided:
    """Revoke a key; revoking it again changes nothing."""
    if key is None:
        return Rejected(Rejection.KEY_NOT_FOUND, f"there is no key {command.key_id}")
    if key.state is KeyState.REVOKED:
        return Rejected(Rejection.NOTHING_TO_DO, f"key {command.key_id} is revoked already")
    return [e.KeyRevoked(key_id=command.key_id)]
