"""Sleeping while a slow line brings a long reply."""

from __future__ import annotations

import pytest

from lutlab_bus import pace
from lutlab_bus.pace import LONG_REPLY_BYTES, NAP_BYTES, PACE_BYTES, SLEEP_MAX_S, SLEEP_MIN_S, TTY_BYTES, Pace

BYTE_S = 10 / 12_000_000


class Line:
    """A clock, and a line that brings a byte every so often from the beginning on."""

    def __init__(self, byte_s: float) -> None:
        self.now_s = 0.0
        self.byte_s = byte_s
        self.late_s = 0.0
        self.naps: list[float] = []

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.naps.append(duration_s)
        self.now_s += duration_s + self.late_s

    def reply(self, watched: Pace, size: int, at_first: int) -> list[int]:
        """Receive a reply, of which so much is there when it begins; what each read brought."""
        self.now_s += at_first * self.byte_s
        begin_s, got, latest = self.now_s, at_first, at_first
        reads = []
        watched.begin(got)
        while got < size:
            watched.nap(got, latest, size - got)
            there = at_first + round((self.now_s - begin_s) / self.byte_s) - got
            if not there:
                there = 1
                self.now_s += self.byte_s
            latest = min(there, TTY_BYTES, size - got)
            got += latest
            reads.append(latest)
        watched.end(got)
        return reads


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line(BYTE_S)
    monkeypatch.setattr(pace, "time", line)
    return line


def test_most_of_a_tty_is_taken_at_once(line: Line) -> None:
    watched = Pace()
    reads = line.reply(watched, 65_536, 1)
    assert reads[:PACE_BYTES] == [1] * PACE_BYTES, "the pace is not known yet"
    assert len(reads) <= PACE_BYTES + 65_536 // NAP_BYTES + 7, "the first sleeps are short"
    assert max(reads) < TTY_BYTES
    assert line.reply(watched, 65_536, 1)[0] >= NAP_BYTES - 1, "the next reply's is"


def test_a_short_reply_does_not_believe_the_pace_of_the_one_before(line: Line) -> None:
    watched = Pace()
    line.reply(watched, 65_536, 1)
    line.naps.clear()
    line.byte_s = 1e-7
    line.reply(watched, PACE_BYTES, 1)
    assert not line.naps


def test_a_long_reply_corrects_the_pace(line: Line) -> None:
    watched = Pace()
    line.reply(watched, 65_536, 1)
    line.byte_s = 1e-8
    line.reply(watched, 65_536, 1)
    line.naps.clear()
    line.reply(watched, 65_536, 1)
    assert not line.naps, "a fast line never sleeps"
    assert NAP_BYTES * 1e-8 < SLEEP_MIN_S


def test_a_full_tty_is_emptied_before_anybody_sleeps(line: Line) -> None:
    watched = Pace()
    line.reply(watched, 65_536, 1)
    line.naps.clear()
    watched.begin(TTY_BYTES)
    watched.nap(TTY_BYTES, TTY_BYTES, 40_000)
    assert not line.naps


@pytest.mark.parametrize("size", [3000, 5000, 15_000])
def test_sleeping_does_not_make_a_line_look_slower_and_slower(line: Line, size: int) -> None:
    """Whoever sleeps wakes up late, and by then a fast line has long brought all."""
    watched, line.byte_s = Pace(), 8e-8
    line.late_s = 100e-6
    for _ in range(30):
        line.reply(watched, size, 1)
    begin_s = line.now_s
    line.reply(watched, size, 1)
    assert line.now_s - begin_s < 3 * size * line.byte_s + SLEEP_MIN_S + line.late_s


def test_a_line_that_stopped_for_a_moment_is_not_a_slow_one(line: Line) -> None:
    watched = Pace()
    watched.begin(500)
    line.now_s += 0.001
    watched.nap(500 + PACE_BYTES, PACE_BYTES, 5000)
    assert line.naps == [0.001]


def test_a_line_that_hangs_is_not_slept_over_for_long(line: Line) -> None:
    watched = Pace()
    watched.begin(0)
    line.now_s = 60.0
    watched.nap(PACE_BYTES, 1, LONG_REPLY_BYTES)
    assert line.naps == [SLEEP_MAX_S]
