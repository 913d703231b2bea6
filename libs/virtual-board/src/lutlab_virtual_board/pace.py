"""How fast an idle design's time runs.

A design that waits for its host needs no time at all. One that counts by itself gets all of the processor while its
host is near, and afterwards a small share, so that many boards can idle on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

FREE_RUN_S = 0.25
"""After the last byte a design runs freely for this long."""

OUTPUT_RUN_S = 5.0
"""A design that sends by itself runs freely for this long after its host's last byte."""

IDLE_PERIOD_S = 0.05
"""Afterwards it runs one slice in every such period."""

SLICE_S = 0.0005
"""Time one slice takes, and so the longest that a new byte waits."""

SLICE_CYCLES_MIN = 256
SLICE_CYCLES_MAX = 1 << 20


@dataclass(slots=True)
class Pace:
    """Decides when a design runs, and for how many cycles at a time.

    Attributes:
        slice_cycles: cycles that take about SLICE_S, measured.
    """

    slice_cycles: int = 4096
    _last_host_s: float = float("-inf")
    _last_traffic_s: float = float("-inf")
    _last_slice_s: float = float("-inf")

    def host_sent(self, now_s: float) -> None:
        """A byte of the host has arrived, or the design has just started."""
        self._last_host_s = self._last_traffic_s = now_s

    def design_sent(self, now_s: float) -> None:
        """The design has sent a byte."""
        if now_s - self._last_host_s < OUTPUT_RUN_S:
            self._last_traffic_s = now_s

    def wait_s(self, now_s: float, quiet: bool, pending: bool) -> float | None:
        """How long to sleep before the next slice: 0 for not at all, None for until something happens."""
        if pending or (not quiet and now_s - self._last_traffic_s < FREE_RUN_S):
            return 0.0
        if quiet:
            return None
        return max(0.0, self._last_slice_s + IDLE_PERIOD_S - now_s)

    def ran(self, began_s: float, ended_s: float, cycles: int) -> None:
        """Note how long a slice took, to size the next one."""
        self._last_slice_s = ended_s
        elapsed_s = ended_s - began_s
        if cycles < self.slice_cycles or elapsed_s <= 0:
            return  # it ended early and says little about a whole slice
        wanted = round(cycles * SLICE_S / elapsed_s)
        self.slice_cycles = min(max((self.slice_cycles + wanted) // 2, SLICE_CYCLES_MIN), SLICE_CYCLES_MAX)
