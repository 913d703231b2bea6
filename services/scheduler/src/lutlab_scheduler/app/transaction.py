"""One command being decided: events are numbered and folded into the world as they are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lutlab_events.envelope import CommandEnvelope, EventEnvelope
from lutlab_events.events import Event
from lutlab_events.ids import event_id
from lutlab_scheduler.app.storage import Storage, brings
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.outcome import Context, Rejected, Rules


@dataclass(slots=True)
class Transaction:
    """The events of one command so far.

    Attributes:
        world: changes with every `append`.
        position: the log's end after these events.
        now: the scheduler's clock at the decision.
        storage: what owners have stored; changes with every `keep`.
    """

    world: World
    command: CommandEnvelope
    rules: Rules
    position: int
    now: datetime
    events: list[EventEnvelope] = field(default_factory=list)
    storage: Storage = field(default_factory=Storage)

    @property
    def context(self) -> Context:
        """The moment and the rules, for deciders."""
        return Context(self.now, self.rules)

    def keep(self, owner: str, *, at_least: int = 0) -> Rejected | None:
        """Count what the command brings along for `owner`, or refuse it; see `Storage.refusal`."""
        brought = brings(self.command.body)
        refused = self.storage.refusal(owner, brought, self.rules, at_least=at_least)
        if refused is None:
            self.storage.add(owner, brought)
        return refused

    def append(self, stream: str, bodies: Sequence[Event]) -> None:
        """Add decided events to a stream. Raises: IllegalTransition.

        They belong to the aggregate's lab, whichever lab the command came from.
        """
        site: str = getattr(self.world.state(stream), "site", self.command.site)
        for body in bodies:
            self.position += 1
            envelope = EventEnvelope(
                position=self.position,
                event_id=event_id(self.command.command_id, len(self.events)),
                stream=stream,
                version=self.world.version(stream) + 1,
                body=body,
                causation_id=self.command.command_id,
                correlation_id=self.command.correlation_id,
                actor=self.command.actor,
                site=site,
                at=self.now,
            )
            self.world.apply(envelope)
            self.events.append(envelope)
