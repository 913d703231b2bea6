"""Logging in with an identity provider's token, which is exchanged for an API key of this lab."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from lutlab_api.app.asking import Request
from lutlab_api.app.keys import IssuedKey, Keys, KeyWish
from lutlab_api.app.ports import Clock, IdentityProvider
from lutlab_api.app.throttle import Throttle
from lutlab_api.domain.errors import Code, Invalid, NotAllowed, NotAuthenticated
from lutlab_api.domain.views import Caller
from lutlab_events.ids import digest
from lutlab_events.values import ROLE_SCOPES, Role

ANYBODY = "*"


class Logins:
    """Exchanges tokens.

    Args:
        provider: None where the lab offers no login.
        allowed: who may log in; `*` lets in everybody the provider knows.
        key_days: how long a key lives that was got this way.
    """

    def __init__(
        self,
        *,
        keys: Keys,
        provider: IdentityProvider | None,
        throttle: Throttle,
        clock: Clock,
        allowed: frozenset[str],
        role: Role,
        key_days: int,
    ) -> None:
        self._keys = keys
        self._provider = provider
        self._throttle = throttle
        self._clock = clock
        self._allowed = frozenset(name.lower() for name in allowed)
        self._role = role
        self._key_days = key_days

    async def exchange(
        self, token: str, address: str, correlation_id: UUID, idempotency_key: str | None
    ) -> tuple[IssuedKey, str]:
        """A new key, and the login it is for. Its owner is `<login>@github`, which no admin's own name can be.

        Raises:
            Invalid: the lab offers no login.
            NotAuthenticated, NotAllowed, TooMany, ApiError: the provider does not know the token, the lab does not want
                the person, too many attempts failed, or the provider does not work.
        """
        if self._provider is None:
            raise Invalid(
                Code.GITHUB_LOGIN_UNSUPPORTED,
                "this lab issues its own keys: ask an admin for one (POST /auth/keys), "
                "pass it with --api-key or MRG_API_KEY",
            )
        self._throttle.check(address)
        try:
            identity = await self._provider.whose(token)
            self._check_allowed(identity.login)
        except (NotAuthenticated, NotAllowed):
            self._throttle.failed(address)
            raise
        owner = f"{identity.login}@github"
        request = Request(
            caller=Caller(owner=owner, role=self._role, key_id=correlation_id, scopes=ROLE_SCOPES[self._role]),
            correlation_id=correlation_id,
            action="POST /auth/github/exchange",
            idempotency_key=idempotency_key,
        )
        midnight = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        wish = KeyWish(
            owner=owner,
            role=self._role,
            label="github login",
            expires_at=midnight + timedelta(days=self._key_days + 1),
        )
        return await self._keys.grant(request, digest(token.encode()), wish), identity.login

    def _check_allowed(self, login: str) -> None:
        if ANYBODY not in self._allowed and login.lower() not in self._allowed:
            raise NotAllowed(
                Code.LOGIN_NOT_ALLOWED,
                f"{login!r} may not log in here; ask an admin to add the name to LUTLAB_GITHUB_LOGINS",
            )
