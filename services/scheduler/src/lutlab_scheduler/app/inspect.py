"""What the log said of one stream at some moment: the fold of its events up to there."""

from __future__ import annotations

import msgspec

from lutlab_events.codec import event_type
from lutlab_events.queries import StateAnswer, StateQuery
from lutlab_scheduler.app.ports import History
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import State, UnknownStream, evolve
from lutlab_scheduler.domain.machine import IllegalTransition


async def state_at(history: History, query: StateQuery) -> StateAnswer:
    """Answer a query. Raises: StoreUnavailable."""
    events = await history.history(query.stream, query.position, query.at)
    state: State | None = None
    try:
        for envelope in events:
            state = evolve(state, envelope)
    except (IllegalTransition, UnknownStream) as error:
        return StateAnswer(stream=query.stream, error=str(error))
    if state is None:
        return StateAnswer(stream=query.stream)
    return StateAnswer(
        stream=query.stream,
        state=msgspec.to_builtins(state),
        view=msgspec.to_builtins(project(state).values),
        events=len(events),
        position=events[-1].position,
        event_type=event_type(events[-1].body),
        at=events[-1].at,
    )
