"""A clock that is not impressed by somebody setting the machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutlab_transport.clock import SLEW, PatientClock, SteadyClock

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Machine:
    """A wall clock to set and a steady one to run."""

    def __init__(self) -> None:
        self.wall = T0
        self.seconds = 100.0

    def run(self, passed: timedelta) -> None:
        self.wall += passed
        self.seconds += passed.total_seconds()

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.seconds)


def test_it_runs_with_the_machine() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.run(HOUR)
    assert clock.now() == T0 + HOUR


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(seconds=40)])
def test_a_jump_changes_an_hour_by_less_than_a_minute(jump: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += jump
    machine.run(HOUR)
    assert abs(clock.now() - (T0 + HOUR)) <= HOUR * SLEW


def test_it_gets_back_to_the_machines_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += timedelta(minutes=1)
    for _ in range(100):
        machine.run(timedelta(minutes=2))
        clock.now()
    assert clock.now() == machine.wall


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_patient_clock_is_never_ahead_longer_than_the_machines(jump: timedelta) -> None:
    machine = Machine()
    clock = PatientClock(lambda: machine.wall, lambda: machine.seconds)
    machine.wall += jump
    assert clock.now() == min(T0, machine.wall)
    machine.wall -= jump
    machine.run(HOUR)
    assert clock.now() <= machine.wall

    machine.wall += jump
    clock = PatientClock(lambda: machine.wall, lambda: machine.seconds)
    machine.wall -= jump
    assert clock.now() <= machine.wall, "it began with a wrong clock, which is right by now"


def test_it_goes_on_from_where_the_log_is() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.not_before(T0 + HOUR)
    assert clock.now() == T0 + HOUR
    clock.not_before(T0)
    machine.run(HOUR)
    assert T0 + 2 * HOUR * (1 - SLEW) <= clock.now() <= T0 + 2 * HOUR


@given(st.lists(st.tuples(st.integers(-100_000, 100_000), st.floats(0, 1000))))
def test_it_never_runs_back_and_never_far_from_real_time(steps: list[tuple[int, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    before, real = clock.now(), 0.0
    for jump_s, run_s in steps:
        machine.wall += timedelta(seconds=jump_s)
        machine.run(timedelta(seconds=run_s))
        real += run_s
        now = clock.now()
        assert now >= before
        assert abs((now - T0).total_seconds() - real) <= real * SLEW + 0.001
        before = now
