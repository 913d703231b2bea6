"""What the log said of one stream at some moment: the fold of its events up to there."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from lutlab_events.codec import event_type
from lutlab_events.envelope import EventEnvelope
from lutlab_events.queries import StateAnswer, StateQuery
from lutlab_scheduler.app.ports import History
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import State, UnknownStream, evolve
from lutlab_scheduler.domain.machine import IllegalTransition


async def state_at(history: History, query: StateQuery) -> StateAnswer:
    """Answer a query. Raises: StoreUnavailable."""
    state: State | None = None
    last: EventEnvelope | None = None
    count = 0
    try:
        async with aclosing(history.history(query.stream, query.position, query.at)) as parts:
            async for events in parts:
                for last in events:
                    state = evolve(state, last)
                count += len(events)
    except (IllegalTransition, UnknownStream) as error:
        return StateAnswer(stream=query.stream, error=str(error))
    if state is None or last is None:
        return StateAnswer(stream=query.stream)
    return StateAnswer(
        stream=query.stream,
        state=msgspec.to_builtins(state),
        view=msgspec.to_builtins(project(state).values),
        events=count,
        position=last.position,
        event_type=event_type(last.body),
        at=last.at,
    )
