"""What the log said of one stream at some moment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

import pytest
import scheduler_given as g

from lutlab_events.envelope import EventEnvelope
from lutlab_events.queries import StateQuery
from lutlab_scheduler.app.inspect import state_at

STREAM = f"job-{g.JOB}"
EVENTS = g.envelopes(STREAM, [g.submitted(), g.build_started()])


class Parts:
    """A History that gives so many events at a time, and says whether it was closed."""

    def __init__(self, events: Sequence[EventEnvelope], at_once: int) -> None:
        self._events, self._at_once = events, at_once
        self.is_closed = False

    async def history(
        self, stream: str, position: int | None, at: datetime | None
    ) -> AsyncGenerator[Sequence[EventEnvelope], None]:
        assert (stream, position, at) == (STREAM, None, None)
        try:
            for first in range(0, len(self._events), self._at_once):
                yield self._events[first : first + self._at_once]
        finally:
            self.is_closed = True


@pytest.mark.parametrize("at_once", [1, 2, 100])
async def test_the_fold_is_the_same_however_the_events_come(at_once: int) -> None:
    told = await state_at(Parts(EVENTS, at_once), StateQuery(stream=STREAM))
    assert (told.events, told.position, told.event_type) == (2, EVENTS[1].position, "job.build_started.v1")
    assert told.state is not None and told.state["state"] == "building" and not told.error


async def test_a_stream_without_events_has_no_state() -> None:
    told = await state_at(Parts([], 1), StateQuery(stream=STREAM))
    assert (told.state, told.events, told.error) == (None, 0, "")


async def test_events_that_do_not_fit_are_told_and_the_rest_is_not_read() -> None:
    history = Parts([EVENTS[1], *EVENTS * 10], 1)
    told = await state_at(history, StateQuery(stream=STREAM))
    assert told.error and told.state is None
    assert history.is_closed, "its connection goes back to the pool at once"
