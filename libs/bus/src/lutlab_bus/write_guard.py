"""Ends a blocking write to a tty that takes too long.

A blocking write moves a block in one system call, in two thirds of the CPU time that polling takes, but nothing bounds
it. So a thread looks every tick whether one is overdue; it then makes the descriptor non-blocking and wakes the writer,
who returns with what was taken so far. The thread exists only while there are long writes.
"""

from __future__ import annotations

import contextlib
import os
import termios
import threading
import time
from types import TracebackType

TICK_S = 0.05
IDLE_TICKS = 40
"""The thread ends when so many passed without a write."""


class WriteGuard:
    """Use it as a context manager around one blocking write; it raises `BlockingIOError` or returns early if overdue.

    Args:
        fd: a tty in blocking mode, for which it stays open as long as writes are under way.
        limit_s: how long a write may take, give or take a tick.
    """

    def __init__(self, fd: int, limit_s: float) -> None:
        self._fd = fd
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._until_s: float | None = None
        self._ended = False
        self._runs = False

    def __enter__(self) -> None:
        with self._lock:
            self._until_s = time.monotonic() + self._limit_s
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._watch, name="lutlab-bus-write-guard", daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._until_s = None
            if self._ended:
                self._ended = False
                os.set_blocking(self._fd, True)

    def _watch(self) -> None:
        idle = 0
        while idle < IDLE_TICKS:
            time.sleep(TICK_S)
            with self._lock:
                idle = idle + 1 if self._until_s is None else 0
                if idle >= IDLE_TICKS:
                    self._runs = False
                elif self._until_s is not None and time.monotonic() > self._until_s:
                    self._end()

    def _end(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError, termios.error):
            os.set_blocking(self._fd, False)
            termios.tcflow(self._fd, termios.TCOOFF)
            termios.tcflow(self._fd, termios.TCOON)  # wakes the writer
