"""API keys: shown once, kept only as SHA-256; nobody can make one that may do more than his own."""

from __future__ import annotations

import asyncio
import base64
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from lutlab_api.app.asking import Asking, Request
from lutlab_api.app.auth import Authenticator, require_admin
from lutlab_api.app.ports import Clock, Commands, Ids, KeyFilter, Ledger
from lutlab_api.domain.errors import Code, Invalid, Missing, NotAllowed, NotAuthenticated, Unavailable
from lutlab_api.domain.views import Caller, KeyView
from lutlab_events.commands import IssueKey, RevokeKey, RotateKey
from lutlab_events.ids import derived, digest
from lutlab_events.rejections import Rejection
from lutlab_events.values import ROLE_SCOPES, Role, Scope

log = structlog.get_logger(__name__)

KEYS_LISTED_MAX = 1000
BOOTSTRAP_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class KeyWish:
    """The key somebody asks for; see `lutlab_events.commands.IssueKey`."""

    owner: str
    role: Role = Role.MEMBER
    label: str = ""
    scopes: tuple[Scope, ...] | None = None
    team: str | None = None
    expires_at: datetime | None = None

    @property
    def granted(self) -> frozenset[Scope]:
        """What the key will be good for."""
        allowed = ROLE_SCOPES[self.role]
        return allowed if self.scopes is None else allowed & frozenset(self.scopes)


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """A new key; `secret` is in no other place."""

    secret: str
    key_id: UUID
    wish: KeyWish


@dataclass(frozen=True, kw_only=True)
class RotatedKey:
    """A key's new secret; the one before works until `previous_until`."""

    secret: str
    key_id: UUID
    previous_until: datetime


def _require_key(own_secret: str) -> None:
    """A new secret follows from the caller's own. Raises: NotAuthenticated, if there is none."""
    if not own_secret:
        raise NotAuthenticated(Code.MISSING_API_KEY, "keys are made by those who have one: send it in X-API-Key")


class Keys:
    """Issues, lists, rotates and revokes keys."""

    def __init__(self, *, asking: Asking, ledger: Ledger, authenticator: Authenticator, ids: Ids, clock: Clock) -> None:
        self._asking = asking
        self._ledger = ledger
        self._authenticator = authenticator
        self._ids = ids
        self._clock = clock

    async def issue(self, request: Request, own_secret: str, wish: KeyWish) -> IssuedKey:
        """Issue a key: any as an admin; as a member one for oneself that may do no more than one's own.

        With an Idempotency-Key the new key follows from it and from the caller's own key, so that a repetition after a
        lost answer shows the same key again, though it is stored nowhere.

        Raises:
            NotAllowed, Invalid: it may not be, or makes no sense.
            Refused, Unavailable: as for every command.
        """
        _require_key(own_secret)
        check_grant(request.caller, wish)
        self._check_expiry(wish.expires_at)
        return await self.grant(request, own_secret, wish)

    async def grant(self, request: Request, own_secret: str, wish: KeyWish) -> IssuedKey:
        """Issue a key to somebody whose right to it was checked."""
        command_id = self._asking.command_id(request)
        secret = self._secret(request, own_secret, f"issue {command_id}")
        body = IssueKey(
            key_id=derived("key", command_id),
            key_sha256=digest(secret.encode()),
            owner=wish.owner,
            role=wish.role,
            label=wish.label,
            scopes=wish.scopes,
            team=wish.team,
            expires_at=wish.expires_at,
        )
        asked = (wish.owner, wish.role, wish.label, wish.scopes, wish.team, wish.expires_at, body.key_sha256)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(*asked))
        return IssuedKey(secret=secret, key_id=body.key_id, wish=wish)

    def _secret(self, request: Request, own_secret: str, what: str) -> str:
        if request.idempotency_key is None:
            return self._ids.secret()
        mac = hmac.digest(own_secret.encode(), what.encode(), "sha256")
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def _check_expiry(self, expires_at: datetime | None) -> None:
        if expires_at is not None and expires_at <= self._clock.now():
            raise Invalid(
                Code.INVALID_EXPIRY,
                f"expires_at {expires_at.isoformat()} lies in the past; give a later moment or leave it out",
                details={"field": "expires_at"},
            )

    async def rotate(self, request: Request, own_secret: str, key_id: UUID, grace_s: int) -> RotatedKey:
        """Give a key another secret: one's own, or any as an admin. Raises: NotAllowed, Refused, Unavailable."""
        _require_key(own_secret)
        key = await self._check_mine(request.caller, key_id)
        if key is not None:
            _check_no_gain(request.caller, key.expires_at, key.team)
        command_id = self._asking.command_id(request)
        secret = self._secret(request, own_secret, f"rotate {command_id}")
        until = self._clock.now() + timedelta(seconds=grace_s)
        body = RotateKey(key_id=key_id, key_sha256=digest(secret.encode()), previous_until=until)
        await self._asking.ask(
            body, request, command_id=command_id, fingerprint=request.fingerprint(key_id, grace_s, body.key_sha256)
        )
        self._authenticator.forget()
        now = await self._ledger.key_by_id(key_id)
        if now is not None and now.key_sha256 == body.key_sha256 and now.previous_until is not None:
            until = now.previous_until  # a repetition's is that of the first
        return RotatedKey(secret=secret, key_id=key_id, previous_until=until)

    async def listed(self, request: Request) -> list[KeyView]:
        """The newest keys, newest first. Raises: NotAllowed."""
        require_admin(request.caller)
        return await self._ledger.keys(KeyFilter(owner=None, limit=KEYS_LISTED_MAX))

    async def page(self, caller: Caller, wanted: KeyFilter) -> tuple[list[KeyView], int]:
        """Keys a caller may see, whatever `wanted.owner` says: an admin all of them, others their own; and how many
        there are in all."""
        owner = None if caller.is_admin else caller.owner
        return await self._ledger.keys(replace(wanted, owner=owner)), await self._ledger.count_keys(owner)

    async def one(self, caller: Caller, key_id: UUID) -> KeyView:
        """A key: one's own, or any as an admin. Raises: NotAllowed, Missing."""
        key = await self._ledger.key_by_id(key_id)
        if key is None or not (caller.is_admin or key.owner == caller.owner):
            raise Missing(Code.KEY_NOT_FOUND, f"there is no key {key_id} of yours; list them with GET /api/v1/keys")
        return key

    async def revoke(self, request: Request, key_id: UUID) -> None:
        """Make a key worthless: one's own, or any as an admin. Raises: NotAllowed, Refused, Unavailable."""
        await self._check_mine(request.caller, key_id)
        command_id = self._asking.command_id(request)
        body = RevokeKey(key_id=key_id)
        fingerprint = request.fingerprint(key_id)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        self._authenticator.forget()

    async def _check_mine(self, caller: Caller, key_id: UUID) -> KeyView | None:
        """Pass one's own key, those of the same owner that may do no more, and admins; a key that is only of the same
        owner."""
        if caller.is_admin or key_id == caller.key_id:
            return None
        key = await self._ledger.key_by_id(key_id)
        if key is None or key.owner != caller.owner or not key.scopes <= caller.scopes:
            require_admin(caller)
        return key


def check_grant(caller: Caller, wish: KeyWish) -> None:
    """Pass what a caller may hand out. Raises: NotAllowed."""
    if wish.owner != caller.owner:
        require_admin(caller)
    if not wish.granted <= caller.scopes:
        beyond = ", ".join(sorted(wish.granted - caller.scopes))
        raise NotAllowed(
            Code.TOO_MUCH_GRANTED,
            f"a key cannot make one that may do more than itself; name scopes without: {beyond}",
            details={"field": "scopes", "beyond": sorted(wish.granted - caller.scopes)},
        )
    if not caller.is_admin:
        _check_no_gain(caller, wish.expires_at, wish.team)


def _check_no_gain(caller: Caller, expires_at: datetime | None, team: str | None) -> None:
    """Pass a key that lives no longer than the caller's, and is in no other team. Raises: NotAllowed."""
    if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):
        raise NotAllowed(
            Code.TOO_MUCH_GRANTED,
            f"your key expires at {caller.expires_at.isoformat()}; one got with it must not live longer",
            details={"field": "expires_at"},
        )
    if team not in (None, caller.team):
        raise NotAllowed(
            Code.TOO_MUCH_GRANTED,
            f"you are not in team {team!r}; only admins put keys into teams",
            details={"field": "team"},
        )


class Bootstrap:
    """Makes the configured first admin key known, once NATS and the scheduler are there."""

    def __init__(self, commands: Commands, *, secret: str | None, owner: str, timeout_s: float) -> None:
        self._commands = commands
        self._secret = secret
        self._owner = owner
        self._timeout_s = timeout_s
        self.done = secret is None

    async def run(self) -> None:
        """Ask until the scheduler has answered."""
        if self._secret is None:
            return
        key_sha256 = digest(self._secret.encode())
        key_id = derived("bootstrap-key", key_sha256)
        body = IssueKey(key_id=key_id, key_sha256=key_sha256, owner=self._owner, role=Role.ADMIN, label="bootstrap")
        attempt = 0
        while not self.done:
            try:
                answer = await self._commands.request(
                    body,
                    command_id=derived("issue", key_id),
                    actor="bootstrap",
                    correlation_id=key_id,
                    fingerprint=key_sha256,
                    timeout_s=self._timeout_s,
                )
            except Unavailable as error:
                log.info("bootstrap_key_waited", why=error.message)
                await asyncio.sleep(BOOTSTRAP_WAITS_S[min(attempt, len(BOOTSTRAP_WAITS_S) - 1)])
                attempt += 1
                continue
            self.done = True
            known = answer.accepted or answer.code == Rejection.KEY_EXISTS
            log.log(20 if known else 40, "bootstrap_key_answered", owner=self._owner, code=answer.code)
