"""Sending commands to the scheduler, and waiting for the answer that follows its commit."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol
from uuid import UUID

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError, NoStreamResponseError

from lutlab_events import codec, subjects
from lutlab_events.commands import Command
from lutlab_events.envelope import Answer, CommandEnvelope
from lutlab_events.subjects import COMMANDS
from lutlab_transport import tracing
from lutlab_transport.room import is_no_room

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT_S = 5.0
WAITING_MAX = 10_000
RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...


class Ids(Protocol):
    """Where new ids come from."""

    def new(self) -> UUID:
        """A new id."""
        ...


class CommandUnanswered(Exception):
    """No answer in time: the command may or may not be carried out; the same command id can safely be sent again."""

    code = "command_unanswered"


class CommandNotTaken(CommandUnanswered):
    """NATS has no room for the command: nothing was done; send it again later."""

    code = "command_not_taken"


class CommandClient:
    """Publishes commands durably; with `request`, waits for the decided answer."""

    def __init__(self, nc: Client, *, site: str, actor: str, clock: Clock, ids: Ids) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._site = site
        self._actor = actor
        self._clock = clock
        self._ids = ids
        self._instance = ids.new().hex
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._requests = 0

    async def start(self) -> None:
        """Subscribe to this instance's answers; call once before `request`."""
        await self._nc.subscribe(f"ans.{self._instance}.*", cb=self._on_answer)

    async def _on_answer(self, message: Msg) -> None:
        answer = codec.decode_answer(message.data)
        future = self._waiting.pop(message.subject, None)
        if future is not None and not future.done():
            future.set_result(answer)

    def envelope(
        self,
        body: Command,
        *,
        command_id: UUID | None = None,
        actor: str | None = None,
        correlation_id: UUID | None = None,
        fingerprint: str = "",
        reply: bool = False,
    ) -> CommandEnvelope:
        """Put a command into its envelope; ids that are not given are made."""
        ident = command_id or self._ids.new()
        return CommandEnvelope(
            command_id=ident,
            body=body,
            actor=actor or self._actor,
            site=self._site,
            correlation_id=correlation_id or ident,
            issued_at=self._clock.now(),
            reply_to=self._reply_subject(ident) if reply else None,
            fingerprint=fingerprint,
        )

    def _reply_subject(self, command_id: UUID) -> str:
        """A subject of its own for each request: a late answer to an earlier request of the same id, which may have
        asked for something else, must not be taken for the answer to this one."""
        self._requests += 1
        return f"{subjects.answer(self._instance, command_id)}-{self._requests}"

    async def _publish(self, envelope: CommandEnvelope) -> None:
        kind = type(envelope.body).__name__
        # No Nats-Msg-Id: the ledger recognises repetitions for ever, and a repetition must be answered again.
        with tracing.span(f"send {kind}", "producer", trace=envelope.correlation_id):
            await self._js.publish(
                subjects.command(self._site, kind),
                codec.encode(envelope),
                timeout=PUBLISH_TIMEOUT_S,
                headers=tracing.carried(),
            )

    async def send(self, body: Command, *, command_id: UUID | None = None, correlation_id: UUID | None = None) -> UUID:
        """Publish a command durably, retrying until NATS has it; nobody waits for its answer. Returns the command id.

        Cancel it to stop retrying: the same command id is sent each time, so repetition is harmless.

        Raises:
            nats.errors.MaxPayloadError: the command is larger than any message may be.
        """
        envelope = self.envelope(body, command_id=command_id, correlation_id=correlation_id)
        attempt = 0
        while True:
            try:
                await self._publish(envelope)
            except nats.errors.MaxPayloadError:
                raise  # it would never fit
            except (nats.errors.Error, APIError, NoStreamResponseError, OSError) as error:
                wait = RETRY_WAITS_S[min(attempt, len(RETRY_WAITS_S) - 1)]
                log.warning("command_publish_retried", kind=type(body).__name__, error=repr(error), wait_s=wait)
                attempt += 1
                await asyncio.sleep(wait)
            else:
                return envelope.command_id

    async def request(
        self,
        body: Command,
        *,
        timeout_s: float,
        command_id: UUID | None = None,
        actor: str | None = None,
        correlation_id: UUID | None = None,
        fingerprint: str = "",
    ) -> Answer:
        """Publish a command and wait for the scheduler's answer.

        Raises:
            CommandUnanswered: NATS or the scheduler did not answer within `timeout_s`.
            CommandNotTaken: NATS has no room for commands.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise CommandUnanswered(f"{WAITING_MAX} commands already wait for an answer; try again later")
        envelope = self.envelope(
            body,
            command_id=command_id,
            actor=actor,
            correlation_id=correlation_id,
            fingerprint=fingerprint,
            reply=True,
        )
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        assert envelope.reply_to is not None
        self._waiting[envelope.reply_to] = future
        try:
            # Two scopes: before Python 3.12 `wait_for` (inside publish) can swallow the first one's expiry.
            deadline = asyncio.get_running_loop().time() + timeout_s
            async with asyncio.timeout_at(deadline):
                await self._publish(envelope)
            async with asyncio.timeout_at(deadline):
                return await future
        except (TimeoutError, nats.errors.Error, APIError, NoStreamResponseError, OSError) as error:
            if is_no_room(error):
                raise CommandNotTaken(
                    f"{type(body).__name__} {envelope.command_id} was not taken: {COMMANDS.name} is full"
                ) from error
            raise CommandUnanswered(
                f"{type(body).__name__} {envelope.command_id} was not answered within {timeout_s:g} s"
            ) from error
        finally:
            self._waiting.pop(envelope.reply_to, None)
