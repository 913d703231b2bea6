"""Looking for a reply or sleeping until it comes: whichever is quicker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lutlab_bus import watch
from lutlab_bus.watch import PATIENCE_S, STINT_CALLS, TRIAL_CALLS, Watch


class Clock:
    """Stands still but for what a call takes."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def looks(watching: Watch, clock: Clock, calls: int, *, asleep_s: float, looking_s: float) -> list[bool]:
    """What was done in each of so many calls, one of which takes so long."""
    done = []
    for _ in range(calls):
        watching.wait()
        done.append(watching.looking)
        clock.now_s += looking_s if watching.looking else asleep_s
        watching.note()
    return done


def readable(pipe: tuple[int, int]) -> Watch:
    os.write(pipe[1], b"x")
    watching = Watch(pipe[0])
    watching.worth_it = True
    return watching


@pytest.mark.parametrize(
    ("asleep_s", "looking_s", "better"), [(60e-6, 20e-6, True), (20e-6, 60e-6, False), (1e-3, 1e-3, False)]
)
def test_the_quicker_way_is_used_and_the_other_one_tried(
    clock: Clock, pipe: tuple[int, int], asleep_s: float, looking_s: float, better: bool
) -> None:
    calls = 10 * (STINT_CALLS + TRIAL_CALLS)
    done = looks(readable(pipe), clock, calls, asleep_s=asleep_s, looking_s=looking_s)
    worse = done[2 * TRIAL_CALLS :].count(not better)
    assert 9 <= worse <= 11 * TRIAL_CALLS


def test_a_machine_that_becomes_busy_is_noticed(clock: Clock, pipe: tuple[int, int]) -> None:
    watching = readable(pipe)
    assert looks(watching, clock, 2000, asleep_s=60e-6, looking_s=20e-6)[-1]
    done = looks(watching, clock, 2000, asleep_s=60e-6, looking_s=3e-3)
    assert done.count(True) <= STINT_CALLS + 3, "a trial that goes badly ends with its first call"
    assert looks(watching, clock, 2000, asleep_s=60e-6, looking_s=20e-6)[-1], "and it is noticed when that is over"


def test_one_long_wait_changes_nothing(clock: Clock, pipe: tuple[int, int]) -> None:
    watching = readable(pipe)
    looks(watching, clock, 2 * TRIAL_CALLS + 5, asleep_s=60e-6, looking_s=20e-6)
    looks(watching, clock, 1, asleep_s=10, looking_s=10)
    done = looks(watching, clock, 3 * STINT_CALLS, asleep_s=60e-6, looking_s=20e-6)
    assert done.count(False) <= 3 * TRIAL_CALLS
    assert PATIENCE_S / STINT_CALLS < 40e-6


def test_looking_ends_without_a_reply(pipe: tuple[int, int]) -> None:
    watching = Watch(pipe[0])
    watching.looking = True
    watching.look()  # or the caller could not go on to sleep


def test_a_slow_line_is_not_watched(clock: Clock, pipe: tuple[int, int]) -> None:
    watching = Watch(pipe[0])
    assert not any(looks(watching, clock, 3000, asleep_s=60e-6, looking_s=20e-6))
