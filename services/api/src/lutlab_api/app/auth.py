"""Who a key belongs to and what it is good for: by SHA-256, with a short memory so that a stream of requests costs one
look-up a second."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from lutlab_api.app.ports import Clock, Ledger, Monotonic
from lutlab_api.app.throttle import Throttle
from lutlab_api.app.usage import KeyUsage
from lutlab_api.domain.errors import Code, NotAllowed, NotAuthenticated
from lutlab_api.domain.views import Caller, KeyView
from lutlab_events.ids import derived, digest
from lutlab_events.values import ROLE_SCOPES, Role, Scope

T = TypeVar("T")

ANONYMOUS = Caller(
    owner="anonymous",
    role=Role.MEMBER,
    key_id=derived("key", "anonymous"),
    scopes=ROLE_SCOPES[Role.MEMBER],
)
"""Who sends no key, where none is asked for."""

REMEMBERED_MAX = 4096
PROVEN_MAX = 4096
SECRET_CHARS_MAX = 512
TAG_CHARS = 4
"""Of a secret's digest, in a key's name: enough to tell a key's secrets apart, and too few to search for one."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as it was looked up, good until a moment of the monotonic clock."""

    until: float
    key: KeyView


class Authenticator:
    """Looks keys up; a revoked one is refused at once where its event is heard (`forget`), else `memory_s` later.

    Args:
        nobody: as whom those act who send no key; None where a key is asked for.
        throttle: counts failures by address. An address with too many of them is refused without a look-up, except for
            keys that were good here before, so that a stranger behind the same proxy locks nobody out.
    """

    def __init__(
        self,
        ledger: Ledger,
        monotonic: Monotonic,
        clock: Clock,
        *,
        memory_s: float,
        throttle: Throttle,
        usage: KeyUsage,
        nobody: Caller | None = None,
    ) -> None:
        self.nobody = nobody
        self._ledger = ledger
        self._monotonic = monotonic
        self._clock = clock
        self._memory_s = memory_s
        self._throttle = throttle
        self._usage = usage
        self._remembered: OrderedDict[str, _Known] = OrderedDict()
        self._proven: OrderedDict[str, None] = OrderedDict()

    async def caller(self, secret: str | None, address: str = "") -> Caller:
        """Whose key this is.

        Raises:
            NotAuthenticated: `missing_api_key`, `invalid_api_key` or `api_key_expired`.
            TooMany: `too_many_attempts` from this address.
        """
        if not secret:
            if self.nobody is not None:
                return self.nobody
            raise NotAuthenticated(
                Code.MISSING_API_KEY, "send your API key in the X-API-Key header (or Authorization: Bearer ...)"
            )
        name = digest(secret.encode()) if len(secret) <= SECRET_CHARS_MAX else ""
        if name not in self._proven:
            self._throttle.check(address)
        key = await self._look_up(name)
        if key is None or key.revoked_at is not None or not self._is_secret_of(name, key):
            self._proven.pop(name, None)
            self._throttle.failed(address)
            raise NotAuthenticated(
                Code.INVALID_API_KEY, "this API key is not known here, or was revoked; ask an admin of the lab for one"
            )
        now = self._clock.now()
        if key.expires_at is not None and key.expires_at <= now:
            raise NotAuthenticated(
                Code.API_KEY_EXPIRED, f"this API key expired at {key.expires_at.isoformat()}; ask for a new one"
            )
        self._usage.note(key.key_id, now)
        return Caller(
            owner=key.owner,
            role=key.role,
            key_id=key.key_id,
            scopes=key.scopes,
            team=key.team,
            expires_at=key.expires_at,
            key_name=f"{key.key_id}.{name[:TAG_CHARS]}",
        )

    async def refusal(self, key_name: str) -> str | None:
        """Why the key that `Caller.key_name` names is no longer good; None while it is. Raises: Unavailable."""
        ident, _, tag = key_name.partition(".")
        try:
            key = await self._ledger.key_by_id(UUID(ident))
        except ValueError:
            key = None
        if key is None or key.revoked_at is not None:
            return "this API key is not known here, or was revoked"
        now = self._clock.now()
        if key.expires_at is not None and key.expires_at <= now:
            return f"this API key expired at {key.expires_at.isoformat()}"
        has_previous = key.previous_sha256 is not None and key.previous_until is not None and key.previous_until > now
        secrets = (key.key_sha256, key.previous_sha256 if has_previous else None)
        if tag not in (secret[:TAG_CHARS] for secret in secrets if secret is not None):
            return "this API key was rotated; ask again with its new secret"
        return None

    def _is_secret_of(self, name: str, key: KeyView) -> bool:
        """Whether this digest opens the key now, compared in constant time."""
        if hmac.compare_digest(key.key_sha256, name):
            return True
        if key.previous_sha256 is None or key.previous_until is None or key.previous_until <= self._clock.now():
            return False
        return hmac.compare_digest(key.previous_sha256, name)

    async def _look_up(self, name: str) -> KeyView | None:
        now = self._monotonic()
        known = self._remembered.get(name)
        if known is not None and known.until > now:
            return known.key
        key = await self._ledger.key(name)
        self._remembered.pop(name, None)
        if key is not None and key.revoked_at is None:
            _keep(self._remembered, name, _Known(now + self._memory_s, key), REMEMBERED_MAX)
            _keep(self._proven, name, None, PROVEN_MAX)
        return key

    def forget(self) -> None:
        """Look every key up again: one was revoked or rotated, here or by another process."""
        self._remembered.clear()


def _keep(memory: OrderedDict[str, T], name: str, value: T, names_max: int) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > names_max:
        memory.popitem(last=False)


def require_admin(caller: Caller) -> None:
    """Pass admins. Raises: NotAllowed."""
    if not caller.is_admin:
        raise NotAllowed(Code.ADMIN_ONLY, f"only an admin's key may do this; {caller.owner!r} is a {caller.role}")


def require_scope(caller: Caller, scope: Scope) -> None:
    """Pass keys with this scope. Raises: NotAllowed."""
    if scope in caller.scopes:
        return
    has = ", ".join(sorted(caller.scopes)) or "none"
    raise NotAllowed(
        Code.SCOPE_MISSING,
        f"this needs a key with the scope {scope.value!r}; yours has: {has}",
        details={"scope": scope.value, "scopes": sorted(caller.scopes)},
    )
