"""NATS behind the API's ports: commands to the scheduler, requests to agents, health. Connects in the background."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client

from lutlab_api.app.cancelling import end
from lutlab_api.app.ports import Clock, Ids, MessagingHealth
from lutlab_api.domain.errors import BoardFailure, Code, Invalid, Unavailable
from lutlab_events import codec, subjects
from lutlab_events.busmsg import BusHeaders, BusReply
from lutlab_events.commands import Command
from lutlab_events.envelope import Answer
from lutlab_events.verification import UploadFiles
from lutlab_transport import tracing
from lutlab_transport.commands import CommandClient, CommandNotTaken, CommandUnanswered
from lutlab_transport.connection import connect

log = structlog.get_logger(__name__)

HEALTH_TIMEOUT_S = 1.0
SCHEDULER_LOOKS = 5
SCHEDULER_LOOK_WAIT_S = 0.05
"""Between two fetches a living scheduler waits for nothing for a moment: look a few times before calling it gone."""
STOP_TIMEOUT_S = 2.0
AROUND_BYTES_MAX = 8192
"""Envelope and headers of a command, or of the event that comes of it."""


class NatsMessaging:
    """Implements the ports `Commands`, `Bus` and `Messaging` over one connection."""

    def __init__(
        self,
        url: str,
        *,
        site: str,
        clock: Clock,
        ids: Ids,
        nkey_seed_file: Path | None = None,
        token: str | None = None,
        connected: Callable[[Client], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._on_connected = connected
        self._site = site
        self._clock = clock
        self._ids = ids
        self._nkey_seed_file = nkey_seed_file
        self._token = token
        self._client: Client | None = None
        self._commands: CommandClient | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        client = await connect(self._url, name="lutlab-api", nkey_seed_file=self._nkey_seed_file, token=self._token)
        commands = CommandClient(client, site=self._site, actor="api", clock=self._clock, ids=self._ids)
        await commands.start()
        if self._on_connected is not None:
            await self._on_connected(client)
        self._client, self._commands = client, commands
        log.info("nats_connected")

    async def stop(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            await end([self._connecting])
        if self._client is not None:
            with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                await asyncio.wait_for(self._client.close(), STOP_TIMEOUT_S)

    def connected(self) -> Client | None:
        """The connection, if there is one just now."""
        return self._client if self._client is not None and self._client.is_connected else None

    async def request(
        self,
        body: Command,
        *,
        command_id: UUID,
        actor: str,
        correlation_id: UUID,
        fingerprint: str,
        timeout_s: float,
    ) -> Answer:
        """Send a command and wait for the decided answer. Raises: Unavailable; Invalid: no message holds it."""
        client = self.connected()
        if self._commands is None or client is None:
            raise Unavailable("the lab's message bus does not answer; nothing was done, try again in a few seconds")
        if isinstance(body, UploadFiles):
            _check_fits(body, client.max_payload)
        started = time.monotonic()
        try:
            return await self._commands.request(
                body,
                timeout_s=timeout_s,
                command_id=command_id,
                actor=actor,
                correlation_id=correlation_id,
                fingerprint=fingerprint,
            )
        except CommandNotTaken as error:
            log.warning("command_not_taken", command_id=str(command_id), error=str(error))
            raise Unavailable(
                "the lab's message bus has no room for more commands; nothing was done, try again in a few seconds"
            ) from error
        except CommandUnanswered as error:
            waited_s = time.monotonic() - started
            log.warning("command_unanswered", command_id=str(command_id), error=str(error), waited_s=round(waited_s, 3))
            raise Unavailable(
                f"the scheduler did not answer within {waited_s:.1f} s; the request may still be carried out; "
                "repeating it with the same Idempotency-Key is safe"
            ) from error

    async def health(self) -> MessagingHealth:
        """Whether NATS answers, and whether somebody fetches commands. Never raises."""
        client = self.connected()
        if client is None:
            return MessagingHealth(nats=False, scheduler=False)
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return await self._look_at_commands(client)
        except (nats.errors.Error, nats.js.errors.APIError, TimeoutError, OSError):
            return MessagingHealth(nats=False, scheduler=False)

    async def _look_at_commands(self, client: Client) -> MessagingHealth:
        await client.flush()
        pending: int | None = None
        for look in range(SCHEDULER_LOOKS):
            try:
                info = await client.jetstream().consumer_info(subjects.COMMANDS.name, subjects.SCHEDULER_DURABLE)
            except nats.js.errors.NotFoundError:
                break
            pending = info.num_pending
            if info.num_waiting or info.push_bound:
                return MessagingHealth(nats=True, scheduler=True, commands_waiting=pending)
            if look + 1 < SCHEDULER_LOOKS:
                await asyncio.sleep(SCHEDULER_LOOK_WAIT_S)
        return MessagingHealth(nats=True, scheduler=False, commands_waiting=pending)


def _check_fits(body: UploadFiles, bytes_max: int) -> None:
    """Pass what a message has room for, and the message with its event, too. Raises: Invalid."""
    size = len(codec.encode(body))
    if size > bytes_max - AROUND_BYTES_MAX:
        raise Invalid(
            Code.BODY_TOO_LARGE,
            f"the paths of these {len(body.files)} files are too long together ({size} bytes): upload fewer at once",
            details={"field": "files[]"},
        )


class NatsBus:
    """Implements the port `Bus` over the same connection."""

    def __init__(self, messaging: NatsMessaging, *, site: str) -> None:
        self._messaging = messaging
        self._site = site

    async def request(self, agent_id: str, headers: BusHeaders, frame: bytes, timeout_s: float) -> BusReply:
        """One request to an agent. Raises: BoardFailure `board_unreachable` or `board_timeout`."""
        client = self._messaging.connected()
        fpga_id = headers.lease.fpga_id
        if client is None:
            raise BoardFailure(Code.BOARD_UNREACHABLE, f"board {fpga_id} cannot be reached: the message bus is down")
        subject = subjects.bus(self._site, agent_id)
        try:
            with tracing.inner("bus request", "client", fpga_id=fpga_id):
                told = tracing.carried(headers.to_headers())
                message = await client.request(subject, frame, timeout=timeout_s, headers=told)
            return BusReply.from_message(message.headers, message.data)
        except nats.errors.NoRespondersError:
            raise BoardFailure(
                Code.BOARD_UNREACHABLE, f"board {fpga_id} cannot be reached: its agent {agent_id!r} is not there"
            ) from None
        except nats.errors.TimeoutError:
            raise BoardFailure(
                Code.BOARD_TIMEOUT,
                f"board {fpga_id} did not answer within {timeout_s:g} s; the transaction may or may not have run",
            ) from None
        except (nats.errors.Error, OSError, ValueError) as error:
            raise BoardFailure(
                Code.BOARD_LINK_FAILED,
                f"the request to board {fpga_id} failed ({error}); the transaction may or may not have run",
            ) from error
