"""State machines as data: a table says which event may happen in which state and where it leads.

`evolve` of every aggregate looks its target state up here, so an event that is not in the table cannot be applied, and
the diagrams of docs/architecture.md are drawn from the same table. Where an event may lead to several states, what the
aggregate knows (its session, its claim) selects one, and the table limits the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from lutlab_events.events import Event

START = "start"
"""The state of an aggregate of which nothing happened yet."""

S = TypeVar("S", bound=StrEnum)
Table = Mapping[tuple[str, type], tuple[S, ...]]
"""(state before, event class) -> states that may follow."""


def only(table: Table[S]) -> dict[tuple[str, type], S]:
    """Where a table leaves no choice, and so what follows most events: one look-up instead of `follow`."""
    return {key: targets[0] for key, targets in table.items() if len(targets) == 1}


class IllegalTransition(Exception):
    """An event does not fit the state it is applied to: the log is damaged, or a decider has a bug."""

    code = "illegal_transition"


def follow(table: Table[S], stream: str, before: str, event: Event, wanted: S | None = None) -> S:
    """The state after `event`.

    Args:
        table: the aggregate's transitions.
        stream: the aggregate, for the message.
        before: the state before, or `START`.
        wanted: which of several possible states; None where the table leaves no choice.

    Raises:
        IllegalTransition: the table has no such transition.
    """
    targets = table.get((before, type(event)), ())
    if wanted is None and len(targets) == 1:
        return targets[0]
    if wanted is None or wanted not in targets:
        allowed = ", ".join(t.value for t in targets) or "nothing"
        raise IllegalTransition(
            f"{stream}: {type(event).__name__} in state {before} may lead to {allowed}, not to {wanted}"
        )
    return wanted
