"""A blocking write to a tty that nobody reads from ends in time, and the tty is blocking again."""

from __future__ import annotations

import os
import threading
import time
import tty

import pytest

from lutlab_bus import write_guard
from lutlab_bus.write_guard import WriteGuard


@pytest.fixture
def stalled():
    master, slave = os.openpty()
    tty.setraw(slave)
    yield slave
    os.close(master)
    os.close(slave)


def test_a_write_that_is_overdue_ends_and_the_next_one_too(stalled):
    guard = WriteGuard(stalled, 0.1)
    for _ in range(2):
        start_s = time.monotonic()
        try:
            with guard:
                sent = os.write(stalled, bytes(1 << 20))
        except BlockingIOError:
            sent = 0
        assert sent < 1 << 20
        assert 0.1 <= time.monotonic() - start_s < 2
        assert os.get_blocking(stalled)


def test_the_thread_ends_when_nothing_is_written_and_comes_back(stalled, monkeypatch):
    monkeypatch.setattr(write_guard, "TICK_S", 0.01)
    monkeypatch.setattr(write_guard, "IDLE_TICKS", 2)
    guard = WriteGuard(stalled, 0.05)
    before = set(threading.enumerate())

    def watchers():
        return [thread for thread in threading.enumerate() if thread not in before]

    for _ in range(2):
        with guard:
            os.write(stalled, b"x")
            (watcher,) = watchers()
        watcher.join(5)
        assert not watchers()
