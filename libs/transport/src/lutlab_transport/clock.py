"""The only place that reads the wall clock and makes random ids."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """The current time, timezone-aware."""
        return datetime.now(UTC)


SLEW = 0.01
"""How much faster or slower than real time a steady clock runs to get back to the machine's clock."""


def elapsed_s() -> float:
    """Seconds since some moment, by a clock that nobody sets; counts the time the machine slept, where it can."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SteadyClock:
    """A clock that starts with the machine's and then never jumps, whatever is done to the machine's clock.

    A difference is made up for by running at most `SLEW` faster or slower. So a session with an hour to live lives an
    hour, give or take 36 s, even if somebody sets the machine's clock a day ahead or back.
    """

    def __init__(self, wall: Callable[[], datetime] | None = None, elapsed: Callable[[], float] = elapsed_s) -> None:
        self._wall = wall or SystemClock().now
        self._elapsed = elapsed
        self._seen_s = elapsed()
        self._now = self._wall()

    def now(self) -> datetime:
        """The current time, timezone-aware; never before what it was."""
        seen_s = self._elapsed()
        passed = timedelta(seconds=max(0.0, seen_s - self._seen_s))
        self._seen_s = max(seen_s, self._seen_s)
        self._now += passed
        room = passed * SLEW
        self._now += max(-room, min(room, self._wall() - self._now))
        return self._now

    def not_before(self, moment: datetime) -> None:
        """Go on from `moment` if the clock is behind it."""
        self._now = max(self._now, moment)


class PatientClock:
    """The earlier of the machine's clock and a steady one: a moment has passed only if both say so.

    For deadlines that another host set. A clock that jumps ahead breaks none of them, nor does one that was ahead when
    the process started and is right by now (a host that boots, before it has heard what time it is).
    """

    def __init__(self, wall: Callable[[], datetime] | None = None, elapsed: Callable[[], float] = elapsed_s) -> None:
        self._wall = wall or SystemClock().now
        self._steady = SteadyClock(self._wall, elapsed)

    def now(self) -> datetime:
        """The current time, timezone-aware."""
        return min(self._wall(), self._steady.now())


class RandomIds:
    """Random version-4 UUIDs and secrets."""

    def new(self) -> UUID:
        """A new id."""
        return uuid4()

    def secret(self) -> str:
        """A new secret of 256 bits, URL-safe."""
        return secrets.token_urlsafe(32)
