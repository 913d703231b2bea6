"""NATS: wakes the delivery when something happened, and carries the wish to disable an endpoint. May be away."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import subjects
from lutlab_events.ids import derived
from lutlab_events.webhooks import DisableWebhook
from lutlab_transport.commands import Clock, CommandClient, Ids
from lutlab_transport.connection import connect
from lutlab_webhooks.app.ports import Endpoint

SEND_TIMEOUT_S = 5.0
PENDING_MAX = 65_536


class NatsLink:
    """Implements the port `Disabler`."""

    def __init__(
        self, url: str, *, site: str, clock: Clock, ids: Ids, seed_file: Path | None, token: str | None
    ) -> None:
        self._url = url
        self._site = site
        self._clock = clock
        self._ids = ids
        self._seed_file = seed_file
        self._token = token
        self._client: Client | None = None
        self._commands: CommandClient | None = None

    async def run(self, woken: asyncio.Event) -> None:
        """Connect, however long it takes, and set `woken` at each event until cancelled."""
        self._client = await connect(
            self._url, name="lutlab-webhooks", nkey_seed_file=self._seed_file, token=self._token
        )
        self._commands = CommandClient(
            self._client, site=self._site, actor="webhooks", clock=self._clock, ids=self._ids
        )

        async def wake(message: Msg) -> None:
            woken.set()

        await self._client.subscribe(f"evt.{subjects.token(self._site)}.>", cb=wake, pending_msgs_limit=PENDING_MAX)
        try:
            await asyncio.Event().wait()
        finally:
            client, self._client, self._commands = self._client, None, None
            with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                await asyncio.wait_for(client.close(), SEND_TIMEOUT_S)

    async def disable(self, endpoint: Endpoint, code: str, message: str) -> None:
        """Ask for an endpoint to be disabled."""
        if self._commands is None:
            return
        command = DisableWebhook(webhook_id=endpoint.webhook_id, code=code, message=message)
        ident = derived("disable-webhook", endpoint.webhook_id, endpoint.version)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._commands.send(command, command_id=ident), SEND_TIMEOUT_S)
