"""An API key, known by its SHA-256.

Theory. A key is issued once and revoked at most once; a revoked key never returns. While it is valid it may be rotated:
it gets another digest, and the one before is good until a moment that was decided with the rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_events.values import Role, Scope
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Rejected


class KeyState(StrEnum):
    """Whether a key opens anything."""

    VALID = "valid"
    REVOKED = "revoked"


TRANSITIONS: Table[KeyState] = {
    (START, e.KeyIssued): (KeyState.VALID,),
    (KeyState.VALID, e.KeyRotated): (KeyState.VALID,),
    (KeyState.VALID, e.KeyRevoked): (KeyState.REVOKED,),
}

Decided = list[e.KeyEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the log says about one API key; `digests` are all it ever had, the valid one last."""

    key_id: UUID
    key_sha256: str
    owner: str
    role: Role
    label: str
    state: KeyState
    created_at: datetime
    version: int
    digests: tuple[str, ...]
    revoked_at: datetime | None = None
    scopes: tuple[Scope, ...] | None = None
    team: str | None = None
    expires_at: datetime | None = None
    previous_until: datetime | None = None

    @property
    def previous_sha256(self) -> str | None:
        """The digest before the last rotation, None if there was none."""
        return self.digests[-2] if len(self.digests) > 1 else None


def evolve(key: Key | None, envelope: Happened) -> Key:
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
            digests=(event.key_sha256,),
            scopes=event.scopes,
            team=event.team,
            expires_at=event.expires_at,
        )
    assert key is not None
    key = replace(key, state=state, version=envelope.version)
    if isinstance(event, e.KeyRotated):
        digests = (*key.digests, event.key_sha256)
        return replace(key, key_sha256=event.key_sha256, digests=digests, previous_until=event.previous_until)
    return replace(key, revoked_at=envelope.at)


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
            scopes=command.scopes,
            team=command.team,
            expires_at=command.expires_at,
        )
    ]


def rotate(command: c.RotateKey, key: Key | None, *, digest_is_known: bool) -> Decided:
    """Give a valid key a digest that no key ever had."""
    if key is None or key.state is KeyState.REVOKED:
        return Rejected(Rejection.KEY_NOT_FOUND, f"there is no valid key {command.key_id}; issue a new one")
    if digest_is_known:
        return Rejected(Rejection.KEY_EXISTS, "a key with this digest exists already; make a new secret")
    return [e.KeyRotated(key_id=command.key_id, key_sha256=command.key_sha256, previous_until=command.previous_until)]


def revoke(command: c.RevokeKey, key: Key | None) -> Decided:
    """Revoke a key; revoking it again changes nothing."""
    if key is None:
        return Rejected(Rejection.KEY_NOT_FOUND, f"there is no key {command.key_id}")
    if key.state is KeyState.REVOKED:
        return Rejected(Rejection.NOTHING_TO_DO, f"key {command.key_id} is revoked already")
    return [e.KeyRevoked(key_id=command.key_id)]
