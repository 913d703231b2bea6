"""When a design's time runs, and for how long at once."""

from __future__ import annotations

from lutlab_virtual_board.pace import (
    FREE_RUN_S,
    IDLE_PERIOD_S,
    OUTPUT_RUN_S,
    SLICE_CYCLES_MAX,
    SLICE_CYCLES_MIN,
    SLICE_S,
    Pace,
)


def test_a_quiet_design_waits_for_its_host() -> None:
    pace = Pace()
    pace.host_sent(0.0)
    assert pace.wait_s(0.1, quiet=True, pending=False) is None


def test_bytes_on_their_way_are_carried_at_once() -> None:
    assert Pace().wait_s(1000.0, quiet=True, pending=True) == 0.0


def test_a_busy_design_runs_freely_near_traffic_and_then_in_slices() -> None:
    pace = Pace()
    pace.host_sent(10.0)
    assert pace.wait_s(10.0 + FREE_RUN_S * 0.9, quiet=False, pending=False) == 0.0
    later = 10.0 + FREE_RUN_S * 1.1
    pace.ran(later, later + SLICE_S, pace.slice_cycles)
    wait = pace.wait_s(later + SLICE_S, quiet=False, pending=False)
    assert wait is not None and abs(wait - IDLE_PERIOD_S) < 1e-9
    assert pace.wait_s(later + 2 * IDLE_PERIOD_S, quiet=False, pending=False) == 0.0


def test_slices_approach_their_length_in_time() -> None:
    for cycles_per_s in (1e5, 1e6, 2e7):
        pace = Pace()
        for _ in range(40):
            pace.ran(0.0, pace.slice_cycles / cycles_per_s, pace.slice_cycles)
        assert pace.slice_cycles == max(SLICE_CYCLES_MIN, round(cycles_per_s * SLICE_S)) or (
            abs(pace.slice_cycles / cycles_per_s - SLICE_S) < SLICE_S / 10
        )
        assert SLICE_CYCLES_MIN <= pace.slice_cycles <= SLICE_CYCLES_MAX


def test_a_slice_that_ended_early_does_not_change_the_length() -> None:
    pace = Pace()
    before = pace.slice_cycles
    pace.ran(0.0, 1.0, before - 1)
    assert pace.slice_cycles == before


def test_a_design_that_never_stops_sending_does_not_keep_the_processor() -> None:
    pace = Pace()
    pace.host_sent(0.0)
    now = 0.0
    while now < OUTPUT_RUN_S + 2 * FREE_RUN_S:
        now += 0.01
        pace.design_sent(now)
        pace.ran(now, now, pace.slice_cycles)
    assert pace.wait_s(now, quiet=False, pending=False) != 0.0
