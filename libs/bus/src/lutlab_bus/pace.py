"""How quickly a line brings a long reply, and sleeping until most of the rest is there.

A line at 12 Mbaud brings a packet of its adapter every half a millisecond, and each would wake the host up, for 10 us
of processor time. So whoever owns a thread measures the pace, sleeps while most of a tty's buffer fills, and takes it
in one read.
"""

from __future__ import annotations

import time

TTY_BYTES = 4095
"""What a tty keeps for its reader. So many at once mean that more waits behind them."""
NAP_BYTES = 3584
"""So many are let come in during one sleep. The rest of a tty's buffer is for a host that wakes up late."""
PACE_BYTES = 128
"""The pace of a reply is known after so many."""
LONG_REPLY_BYTES = 16_384
"""A reply with more of them tells the next one its pace, and believes the one before. That of so many hardly shows that
somebody slept too long, since a tty was full then; that of a few would, and the next sleep would be longer yet."""
SLEEP_MIN_S = 0.0002
"""Waking up takes a good part of a shorter sleep."""
SLEEP_MAX_S = 0.01


class Pace:
    """Of one line, for one thread. Around each reply that takes a while: `begin`, `nap` before each read, `end`."""

    def __init__(self) -> None:
        self._byte_s = 0.0  # of the latest long reply
        self._first_bytes = 0
        self._first_s = 0.0

    def begin(self, got_bytes: int) -> None:
        """So much of the reply came at first."""
        self._first_bytes = got_bytes
        self._first_s = time.perf_counter()

    def nap(self, got_bytes: int, latest_bytes: int, missing_bytes: int) -> None:
        """Sleep while the line brings what is missing, or as much of it as a tty holds; not at all on a fast line.

        No longer than the reply took so far: a line that stopped for a moment is not a slow one.

        Args:
            got_bytes: of the reply so far.
            latest_bytes: of these, what the latest read brought.
            missing_bytes: what will come in any case.
        """
        if latest_bytes >= TTY_BYTES:
            return
        come = got_bytes - self._first_bytes
        longest_s = SLEEP_MAX_S
        if come >= PACE_BYTES:
            passed_s = time.perf_counter() - self._first_s
            byte_s, longest_s = passed_s / come, min(passed_s, longest_s)
        elif missing_bytes >= LONG_REPLY_BYTES:
            byte_s = self._byte_s
        else:
            return
        nap_s = min(missing_bytes, NAP_BYTES) * byte_s
        if nap_s > SLEEP_MIN_S:
            time.sleep(min(nap_s, longest_s))

    def end(self, got_bytes: int) -> None:
        """The whole reply is there, or no more of it comes."""
        come = got_bytes - self._first_bytes
        if come >= LONG_REPLY_BYTES:
            self._byte_s = (time.perf_counter() - self._first_s) / come
