"""Commands the scheduler gives itself: they go straight to the writer, so they work while NATS is away."""

from __future__ import annotations

from lutlab_events.envelope import Answer, CommandEnvelope
from lutlab_scheduler.app.ports import Clock
from lutlab_scheduler.app.writer import Undecidable, Writer
from lutlab_scheduler.domain.policies import Due

ACTOR = "scheduler"


class Inside:
    """Carries out what policies, timers and the dispatcher ask for."""

    def __init__(self, writer: Writer, *, site: str, clock: Clock) -> None:
        self._writer = writer
        self._site = site
        self._clock = clock

    async def carry_out(self, due: Due) -> Answer | None:
        """Have a command decided and stored; its answer, None if it could not be decided (logged by the writer)."""
        envelope = CommandEnvelope(
            command_id=due.command_id,
            body=due.command,
            actor=ACTOR,
            site=self._site,
            correlation_id=due.correlation_id or due.command_id,
            issued_at=self._clock.now(),
        )
        ticket = await self._writer.submit(envelope)
        try:
            return await ticket.done
        except Undecidable:
            return None
