"""API keys: issued by admins, shown once, kept only as SHA-256."""

from __future__ import annotations

import asyncio
import base64
import hmac
from dataclasses import dataclass
from uuid import UUID

import structlog

from lutlab_api.app.asking import Asking, Request
from lutlab_api.app.auth import Authenticator, require_admin
from lutlab_api.app.ports import Commands, Ids, Ledger
from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.views import KeyView
from lutlab_events.commands import IssueKey, RevokeKey
from lutlab_events.ids import derived, digest
from lutlab_events.rejections import Rejection
from lutlab_events.values import Role

log = structlog.get_logger(__name__)

KEYS_LISTED_MAX = 1000
BOOTSTRAP_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """A new key; `secret` is in no other place."""

    secret: str
    key_id: UUID
    owner: str
    role: Role
    label: str


class Keys:
    """Issues, lists and revokes keys."""

    def __init__(self, *, asking: Asking, ledger: Ledger, authenticator: Authenticator, ids: Ids) -> None:
        self._asking = asking
        self._ledger = ledger
        self._authenticator = authenticator
        self._ids = ids

    async def issue(self, request: Request, admin_secret: str, owner: str, role: Role, label: str) -> IssuedKey:
        """Issue a key.

        With an Idempotency-Key the new key follows from it and from the admin's own key, so that a repetition after a
        lost answer shows the same key again, though it is stored nowhere.

        Raises:
            NotAllowed: the caller is no admin.
            Refused, Unavailable: as for every command.
        """
        require_admin(request.caller)
        command_id = self._asking.command_id(request)
        secret = self._ids.secret()
        if request.idempotency_key is not None:
            mac = hmac.digest(admin_secret.encode(), f"issue {command_id}".encode(), "sha256")
            secret = base64.urlsafe_b64encode(mac).decode().rstrip("=")
        body = IssueKey(
            key_id=derived("key", command_id), key_sha256=digest(secret.encode()), owner=owner, role=role, label=label
        )
        fingerprint = request.fingerprint(owner, role, label, body.key_sha256)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        return IssuedKey(secret=secret, key_id=body.key_id, owner=owner, role=role, label=label)

    async def listed(self, request: Request) -> list[KeyView]:
        """Every key, newest first. Raises: NotAllowed."""
        require_admin(request.caller)
        return await self._ledger.keys(KEYS_LISTED_MAX)

    async def revoke(self, request: Request, key_id: UUID) -> None:
        """Make a key worthless: one's own, or any as an admin. Raises: NotAllowed, Refused, Unavailable."""
        if key_id != request.caller.key_id:
            require_admin(request.caller)
        command_id = self._asking.command_id(request)
        body = RevokeKey(key_id=key_id)
        fingerprint = request.fingerprint(key_id)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        self._authenticator.forget()


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
