"""Who a key belongs to: by SHA-256, with a short memory so that a stream of requests costs one look-up a second."""

from __future__ import annotations

import hmac
from collections import OrderedDict

from lutlab_api.app.ports import Ledger, Monotonic
from lutlab_api.domain.errors import Code, NotAllowed, NotAuthenticated
from lutlab_api.domain.views import Caller, KeyView
from lutlab_events.ids import digest

REMEMBERED_MAX = 4096
SECRET_CHARS_MAX = 512


class Authenticator:
    """Looks keys up; a revoked one is refused at most `memory_s` later."""

    def __init__(self, ledger: Ledger, monotonic: Monotonic, *, memory_s: float) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._memory_s = memory_s
        self._remembered: OrderedDict[str, tuple[float, KeyView]] = OrderedDict()

    async def caller(self, secret: str | None) -> Caller:
        """Whose key this is.

        Raises:
            NotAuthenticated: `missing_api_key` or `invalid_api_key`.
        """
        if not secret:
            raise NotAuthenticated(
                Code.MISSING_API_KEY, "send your API key in the X-API-Key header (or Authorization: Bearer ...)"
            )
        name = digest(secret.encode()) if len(secret) <= SECRET_CHARS_MAX else ""
        key = await self._look_up(name)
        if key is None or key.revoked_at is not None or not hmac.compare_digest(key.key_sha256, name):
            raise NotAuthenticated(
                Code.INVALID_API_KEY, "this API key is not known here, or was revoked; ask an admin of the lab for one"
            )
        return Caller(owner=key.owner, role=key.role, key_id=key.key_id)

    async def _look_up(self, name: str) -> KeyView | None:
        now = self._monotonic()
        known = self._remembered.get(name)
        if known is not None and known[0] > now:
            return known[1]
        key = await self._ledger.key(name)
        self._remembered.pop(name, None)
        if key is not None and key.revoked_at is None:
            self._remembered[name] = (now + self._memory_s, key)
            if len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return key

    def forget(self) -> None:
        """Drop what is remembered: a key was just revoked here."""
        self._remembered.clear()


def require_admin(caller: Caller) -> None:
    """Pass admins. Raises: NotAllowed."""
    if not caller.is_admin:
        raise NotAllowed(Code.ADMIN_ONLY, f"only an admin's key may do this; {caller.owner!r} is a {caller.role}")
