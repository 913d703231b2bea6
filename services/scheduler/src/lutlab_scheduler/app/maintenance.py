"""Checking the log and making the views anew, for an operator: see `lutlab-scheduler --help`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lutlab_events.envelope import EventEnvelope
from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_scheduler.app.ports import Row, SchedulerError
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import State, evolve

READ_MAX = 5000
STREAMS_AT_ONCE = 500


class LogDamaged(SchedulerError):
    """The event log is not as it was written."""

    code = "log_damaged"


class ChainReader(Protocol):
    """Reading the log as it is stored."""

    async def read_rows(self, after: int, limit: int) -> Sequence[tuple[LogRow, bytes]]:
        """Up to `limit` rows after a position, each with its stored hash."""
        ...


LoadStreams = Callable[[Sequence[str]], Awaitable[Sequence[EventEnvelope]]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many events were checked, and what is wrong with the first bad one; None if all is well."""

    checked: int
    fault: str | None


async def verify_log(reader: ChainReader) -> Verdict:
    """Whether the log is as it was written: no gap, no version out of order, every hash right."""
    position, last = 0, GENESIS
    while True:
        rows = await reader.read_rows(position, READ_MAX)
        if not rows:
            return Verdict(position, None)
        for row, stored in rows:
            last = chain_hash(last, row)
            if row.position != position + 1:
                return Verdict(position, f"position {position + 1} is missing; {row.position} follows {position}")
            if last != stored:
                return Verdict(position, f"the hash of position {row.position} ({row.type} of {row.stream}) is wrong")
            position = row.position


async def rebuild(streams: Sequence[str], load: LoadStreams) -> AsyncIterator[list[Row]]:
    """The rows of all views, folded anew from the log, some streams at a time."""
    for start in range(0, len(streams), STREAMS_AT_ONCE):
        states: dict[str, State] = {}
        for envelope in await load(streams[start : start + STREAMS_AT_ONCE]):
            states[envelope.stream] = evolve(states.get(envelope.stream), envelope)
        yield [project(state) for state in states.values()]
