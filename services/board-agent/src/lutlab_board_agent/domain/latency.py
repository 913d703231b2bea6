"""A USB serial adapter's latency timer: how long it keeps bytes for the host back, waiting for more.

16 ms, the usual default, caps exchanges that wait for each other at 62 a second; 1 ms, the shortest, at about 900.
"""

from __future__ import annotations

from dataclasses import dataclass

BEST_MS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTimer:
    """What was found and what became of it.

    Attributes:
        found_ms: before anything was changed.
        now_ms: in force.
        problem: why it is still long, empty if it is not.
    """

    found_ms: int
    now_ms: int
    problem: str = ""


def shortening_due(found_ms: int) -> bool:
    """Whether the timer is to be set to `BEST_MS`."""
    return found_ms > BEST_MS
