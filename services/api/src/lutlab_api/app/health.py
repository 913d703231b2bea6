"""Whether the parts a request needs are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from lutlab_api.app.keys import Bootstrap
from lutlab_api.app.ports import Ledger, Messaging, Monotonic
from lutlab_api.domain.errors import Unavailable

CHECK_TIMEOUT_S = 1.0
"""The reference client waits 3 s for the whole answer."""
TOOLS_REMEMBERED_S = 30.0


def parse_toolchain(text: str | None) -> dict[str, str]:
    """Names and versions from a build report's `toolchain`, e.g. `amaranth 0.5.8, pyosys 0.61`."""
    pairs = (part.strip().rpartition(" ") for part in (text or "").split(","))
    return {name: version for name, _, version in pairs if name}


@dataclass(frozen=True, kw_only=True)
class Health:
    """What answers.

    Attributes:
        scheduler: a scheduler takes commands.
        commands_waiting: commands it has not taken yet, None if unknown.
        bootstrap: the configured first key is known (or none is configured).
        tools: versions of the tools that made the newest build; empty while none was made.
    """

    postgres: bool
    nats: bool
    scheduler: bool
    commands_waiting: int | None
    bootstrap: bool
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`ok` if every request can be served, else `degraded`."""
        return "ok" if self.postgres and self.nats and self.scheduler and self.bootstrap else "degraded"


class HealthChecks:
    """Asks the parts, all at once."""

    def __init__(self, ledger: Ledger, messaging: Messaging, bootstrap: Bootstrap, monotonic: Monotonic) -> None:
        self._ledger = ledger
        self._messaging = messaging
        self._bootstrap = bootstrap
        self._monotonic = monotonic
        self._tools: dict[str, str] = {}
        self._tools_until = 0.0
        self._looking: asyncio.Task[Health] | None = None

    async def check(self) -> Health:
        """The state right now; never raises. Whoever asks while it is looked at is told the same: asking needs no key
        and is never refused, so that it must not cost a query each."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    def _looked(self, task: asyncio.Task[Health]) -> None:
        self._looking = None

    async def _look(self) -> Health:
        postgres, messaging = await asyncio.gather(self._postgres(), self._messaging.health())
        return Health(
            postgres=postgres,
            nats=messaging.nats,
            scheduler=messaging.scheduler,
            commands_waiting=messaging.commands_waiting,
            bootstrap=self._bootstrap.done,
            tools=self._tools,
        )

    async def _postgres(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._ledger.ping()
                if self._monotonic() >= self._tools_until:
                    self._tools = parse_toolchain(await self._ledger.toolchain())
                    self._tools_until = self._monotonic() + TOOLS_REMEMBERED_S
        except (Unavailable, TimeoutError):
            return False
        return True
