"""Commands from NATS to the writer, and answers back: acknowledged only after the commit."""

from __future__ import annotations

import asyncio

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, subjects
from lutlab_events.envelope import Answer, CommandEnvelope
from lutlab_events.ids import OWN_VERSION
from lutlab_events.rejections import Rejection
from lutlab_scheduler.adapters.nats_bus import NatsBus, translated
from lutlab_scheduler.adapters.nats_pull import pulling
from lutlab_scheduler.app.intake import Intake
from lutlab_scheduler.app.ports import BlobUnavailable, BusUnavailable, Letters, Unstorable
from lutlab_scheduler.app.writer import Undecidable, Writer
from lutlab_transport.metrics import Handling, handling

log = structlog.get_logger(__name__)

BATCH_MAX = 256
PENDING_MAX = 1024
NAK_DELAY_S = 1.0
POSTPONED_MAX = 600
"""How often a report may come before the blob it speaks of does. Those that wait take places among `PENDING_MAX`."""


def check_names(envelope: CommandEnvelope, subject: str) -> None:
    """See that a command speaks only of subjects that its sender may speak of, and that exist.

    NATS holds senders to their subjects, but the scheduler, which may publish anywhere, goes by what commands say.

    Raises:
        Undecodable: it came on another's subject, wants its answer where no answers go, or has an id of the
            scheduler's own.
        InvalidToken: no site, or agent, can have such a name.
    """
    claimed = subjects.command(envelope.site, type(envelope.body).__name__)
    if claimed != subject:
        raise codec.Undecodable(f"a message that belongs on {claimed} was published on {subject}")
    if envelope.reply_to is not None and not subjects.is_answer(envelope.reply_to):
        raise codec.Undecodable(f"the answer is wanted on {envelope.reply_to!r}, where no answers go")
    if envelope.command_id.version == OWN_VERSION:
        raise codec.Undecodable(
            f"command ids of version {OWN_VERSION} are the scheduler's own; this is one from outside"
        )
    agent_id = getattr(envelope.body, "agent_id", None)
    if agent_id is not None:
        subjects.token(agent_id)


class CommandConsumer:
    """Pulls commands, has them prepared and decided, acknowledges and answers."""

    def __init__(
        self, *, nc: Client, bus: NatsBus, intake: Intake, writer: Writer, site: str, letters: Letters
    ) -> None:
        self._nc = nc
        self._bus = bus
        self._intake = intake
        self._writer = writer
        self._site = site
        self._letters = letters

    async def run(self) -> None:
        """Consume until cancelled. Raises: BusUnavailable."""
        async with (
            pulling(
                self._nc,
                stream=subjects.COMMANDS.name,
                durable=subjects.SCHEDULER_DURABLE,
                subject="cmd.>",
                ack_wait_s=subjects.COMMAND_ACK_WAIT_S,
                batch_max=BATCH_MAX,
                max_ack_pending=PENDING_MAX,
            ) as pull,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                for message in await pull.batch():
                    envelope = await self._decode(message)
                    if envelope is not None:
                        # Each task queues its command before it first waits, so order is kept, except that a command
                        # whose bitstream must be archived lets others pass.
                        tasks.create_task(self._carry_out(message, envelope))

    async def _decode(self, message: Msg) -> CommandEnvelope | None:
        """The command, or None after it was set aside."""
        try:
            envelope = codec.decode_command(message.data)
            check_names(envelope, message.subject)
        except (codec.Undecodable, subjects.InvalidToken) as error:
            log.error("command_undecodable", subject=message.subject, reason=str(error))
            await self._bury(message, str(error))
            await self._ack(message)
            return None
        return envelope

    async def _carry_out(self, message: Msg, envelope: CommandEnvelope) -> None:
        with handling(
            f"decide {type(envelope.body).__name__}",
            headers=message.headers,
            trace=envelope.correlation_id,
            ident=envelope.command_id,
        ) as handled:
            await self._decide(message, envelope, handled)

    async def _decide(self, message: Msg, envelope: CommandEnvelope, handled: Handling) -> None:
        try:
            prepared = await self._intake.prepare(envelope)
            ticket = await self._writer.submit(prepared)
            answer = await ticket.done
        except BlobUnavailable as error:
            if message.metadata.num_delivered >= POSTPONED_MAX:
                handled.outcome = "undecidable"
                await self._give_up(message, envelope, str(error))
                return
            handled.outcome = "postponed"
            log.warning("command_postponed", command_id=str(envelope.command_id), reason=str(error))
            await self._nak(message, NAK_DELAY_S)
        except (Undecidable, Unstorable) as error:
            handled.outcome = "undecidable"
            await self._give_up(message, envelope, str(error))
        except asyncio.CancelledError:
            # Whoever leads next gets it at once instead of after `ack_wait`.
            await self._nak(message, None)
            raise
        else:
            handled.outcome = answer.code
            await self._finish(message, envelope, answer)

    async def _give_up(self, message: Msg, envelope: CommandEnvelope, reason: str) -> None:
        """Set a command aside, and tell whoever waits for its answer."""
        await self._bury(message, reason)
        answer = Answer(command_id=envelope.command_id, code=Rejection.UNDECIDABLE.value, message=reason)
        await self._finish(message, envelope, answer)

    async def _bury(self, message: Msg, reason: str) -> None:
        """Set a message aside for good, before it is acknowledged; and show it on the stream to whoever watches."""
        await self._letters.bury(subjects.COMMANDS.name, message.subject, message.data, reason)
        await self._bus.bury(subjects.COMMANDS.name, self._site, message.data, reason, message.subject)

    async def _finish(self, message: Msg, envelope: CommandEnvelope, answer: Answer) -> None:
        if envelope.reply_to is not None:
            await self._bus.answer(envelope.reply_to, answer)
        await self._ack(message)

    async def _ack(self, message: Msg) -> None:
        with translated():
            await message.ack()

    async def _nak(self, message: Msg, delay_s: float | None) -> None:
        try:
            with translated():
                await message.nak(delay=delay_s)
        except BusUnavailable as error:
            log.info("nak_failed", reason=str(error))
