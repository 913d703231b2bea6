"""The stream lock, the reports of use, and the default name."""

from __future__ import annotations

import pytest

from lutlab_board_agent.domain import stream_lock
from lutlab_board_agent.domain.usage import use_report_due, use_report_interval_s
from lutlab_events.busmsg import STREAM_LOCK_S


def test_one_stream_at_a_time() -> None:
    lock = stream_lock.touch(None, "a", 100.0)
    assert stream_lock.holder(lock, 100.0) == "a"
    assert stream_lock.touch(lock, "b", 101.0) is None
    renewed = stream_lock.touch(lock, "a", 120.0)
    assert stream_lock.holder(renewed, 120.0 + STREAM_LOCK_S - 0.1) == "a"


def test_a_silent_stream_loses_the_board() -> None:
    lock = stream_lock.touch(None, "a", 100.0)
    assert stream_lock.holder(lock, 100.0 + STREAM_LOCK_S) is None
    taken = stream_lock.touch(lock, "b", 100.0 + STREAM_LOCK_S)
    assert stream_lock.holder(taken, 131.0) == "b"
    assert stream_lock.touch(taken, "a", 131.0) is None


def test_only_the_holder_gives_it_back() -> None:
    lock = stream_lock.touch(None, "a", 100.0)
    assert stream_lock.drop(lock, "b") is lock
    assert stream_lock.drop(lock, "a") is None
    assert stream_lock.drop(None, "a") is None


@pytest.mark.parametrize(("ttl_s", "interval_s"), [(3600, 30), (120, 30), (60, 15), (2, 0.5), (0, 0)])
def test_use_is_reported_well_within_the_time_to_live(ttl_s: float, interval_s: float) -> None:
    assert use_report_interval_s(ttl_s) == interval_s
    assert use_report_due(None, 0.0, ttl_s)
    assert use_report_due(50.0, 50.0 + interval_s, ttl_s)
    if interval_s:
        assert not use_report_due(50.0, 50.0 + interval_s - 0.01, ttl_s)
