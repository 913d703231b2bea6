"""Commands the scheduler gives itself: they go straight to the writer, so they work while NATS is away."""

from __future__ import annotations

from contextlib import nullcontext

from lutlab_events.envelope import Answer, CommandEnvelope
from lutlab_events.ids import own_command_id
from lutlab_scheduler.app.ports import Clock
from lutlab_scheduler.app.writer import Undecidable, Writer
from lutlab_scheduler.domain.policies import Due
from lutlab_transport import tracing
from lutlab_transport.metrics import handling

ACTOR = "scheduler"


class Inside:
    """Carries out what policies, timers and the dispatcher ask for."""

    def __init__(self, writer: Writer, *, site: str, clock: Clock) -> None:
        self._writer = writer
        self._site = site
        self._clock = clock

    async def carry_out(self, due: Due) -> Answer | None:
        """Have a command decided and stored; its answer, None if it could not be decided (logged by the writer)."""
        ident = own_command_id(due.command_id)
        envelope = CommandEnvelope(
            command_id=ident,
            body=due.command,
            actor=ACTOR,
            site=self._site,
            correlation_id=due.correlation_id or ident,
            issued_at=self._clock.now(),
        )
        # Nobody sent it: in a trace it belongs right under the request that began everything.
        trace = envelope.correlation_id
        with (
            tracing.under(trace, trace) if due.correlation_id else nullcontext(),
            handling(f"decide {type(due.command).__name__}", "internal", trace=trace, ident=ident) as handled,
        ):
            ticket = await self._writer.submit(envelope)
            try:
                answer = await ticket.done
            except Undecidable:
                handled.outcome = "undecidable"
                return None
            handled.outcome = answer.code
            return answer
