"""Views from zero: the log folded once more, from its first event, into rows."""

from __future__ import annotations

from collections.abc import Iterable

from lutlab_events.envelope import Happened
from lutlab_scheduler.app.ports import Row
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import State, evolve
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.project import Project
from lutlab_scheduler.domain.verification import Verification

NAMED_OTHERWISE = {"api_keys": "key"}
"""Views whose streams are not called as they are."""


def stream_kind(view: str) -> str:
    """Which streams a view is made of: `board` for `boards`. A row is made of one stream."""
    return NAMED_OTHERWISE.get(view, view.removesuffix("s"))


class Folding:
    """Folds events in log order. What has ended is forgotten, so memory holds what is alive."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def take(self, events: Iterable[Happened]) -> list[Row]:
        """The rows that these events, the next ones of the log, change. Raises: IllegalTransition, UnknownStream."""
        touched: dict[str, None] = {}
        for event in events:
            self._states[event.stream] = evolve(self._states.get(event.stream), event)
            touched[event.stream] = None
        rows = [project(self._states[stream]) for stream in touched]
        for stream in touched:
            state = self._states[stream]
            if isinstance(state, Job | Verification | Project) and state.ended:
                del self._states[stream]
        return rows
