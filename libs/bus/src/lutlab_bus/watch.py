"""Waiting for a reply that is due in a moment: asleep, or looking again and again, whichever is quicker here and now.

A processor that idles may need longer to wake up than a board to answer: 20 to 60 us on a virtual machine, where a
fast line brings a word in 20. So whoever owns a thread may look for a while whether the reply is there, and let others
run in between, before it sleeps until the reply comes. On a busy machine, and behind an adapter with a latency timer,
sleeping is quicker and cheaper. No rule tells which, so both are timed: mostly the better one is used, and the other is
tried for a few calls now and then.
"""

from __future__ import annotations

import os
import select
import time

LOOKS_MAX = 60
"""Each takes 1 to 2 us."""
TRIAL_CALLS = 16
STINT_CALLS = 512
"""So many calls go the better way between two trials of the other one."""
PATIENCE_S = 0.0005
"""A trial that takes longer than this for one call ends there; more than this no call counts for."""

GAIN = 0.9
"""Looking costs processor time: it must take less than this of what sleeping takes."""


class Watch:
    """Watches a descriptor for one thread. Around each read of it: `wait`, then `note`.

    Args:
        fd: readable when there is something.

    Attributes:
        worth_it: whether to look at all; without it nothing here does anything.
        looking: what is done now, looking or sleeping.
    """

    def __init__(self, fd: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._look = poll.poll
        self.worth_it = False
        self.looking = False
        self._trial = False
        self._left = TRIAL_CALLS
        self._calls = 0
        self._sum_s = 0.0
        self._other_s = float("inf")
        self._begin_s = 0.0

    def wait(self) -> None:
        """Return when the descriptor is readable, or when it is better to sleep until it is."""
        if self.worth_it:
            self._begin_s = time.perf_counter()
            self.look()

    def look(self) -> None:
        """As `wait`, in the middle of what is timed."""
        if self.looking:
            look, let_others_run = self._look, os.sched_yield
            for _ in range(LOOKS_MAX):
                if look(0):
                    break
                let_others_run()

    def note(self) -> None:
        """What was waited for is there."""
        if self.worth_it:
            took_s = time.perf_counter() - self._begin_s
            self._sum_s += min(took_s, PATIENCE_S)
            self._calls += 1
            if self._calls == self._left or (self._trial and took_s > PATIENCE_S):
                self._judge()

    def _judge(self) -> None:
        """A stint is over: go on with the better way, or try the other one."""
        mean_s, other_s = self._sum_s / self._calls, self._other_s
        looking_s, asleep_s = (mean_s, other_s) if self.looking else (other_s, mean_s)
        better = looking_s < GAIN * asleep_s
        if not self._trial or better != self.looking:
            self.looking = not self.looking
            self._other_s = mean_s
        self._trial = not self._trial
        self._left = TRIAL_CALLS if self._trial else STINT_CALLS
        self._calls, self._sum_s = 0, 0.0
