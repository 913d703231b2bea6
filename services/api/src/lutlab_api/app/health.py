"""Whether the parts a request needs are there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lutlab_api.app.keys import Bootstrap
from lutlab_api.app.ports import Ledger, Messaging
from lutlab_api.domain.errors import Unavailable

CHECK_TIMEOUT_S = 1.0
"""The reference client waits 3 s for the whole answer."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """What answers.

    Attributes:
        scheduler: a scheduler takes commands.
        commands_waiting: commands it has not taken yet, None if unknown.
        bootstrap: the configured first key is known (or none is configured).
    """

    postgres: bool
    nats: bool
    scheduler: bool
    commands_waiting: int | None
    bootstrap: bool

    @property
    def status(self) -> str:
        """`ok` if every request can be served, else `degraded`."""
        return "ok" if self.postgres and self.nats and self.scheduler and self.bootstrap else "degraded"


class HealthChecks:
    """Asks the parts, all at once."""

    def __init__(self, ledger: Ledger, messaging: Messaging, bootstrap: Bootstrap) -> None:
        self._ledger = ledger
        self._messaging = messaging
        self._bootstrap = bootstrap

    async def check(self) -> Health:
        """The state right now; never raises."""
        postgres, messaging = await asyncio.gather(self._postgres(), self._messaging.health())
        return Health(
            postgres=postgres,
            nats=messaging.nats,
            scheduler=messaging.scheduler,
            commands_waiting=messaging.commands_waiting,
            bootstrap=self._bootstrap.done,
        )

    async def _postgres(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._ledger.ping()
        except (Unavailable, TimeoutError):
            return False
        return True
