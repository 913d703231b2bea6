"""What can go wrong with a board, on demand: for tests of whatever talks to it."""

from __future__ import annotations

import random

import msgspec

SLOW_S_MAX = 60.0


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faults that a board has.

    Attributes:
        flip: probability that a bit of a byte on the serial line is inverted, in either direction.
        loss: probability that a byte on the serial line gets lost.
        jtag_stuck: level that TDO always has; None for a working chain.
        slow_s: seconds that configuring takes longer.
        seed: of the line's chances.
    """

    flip: float = 0.0
    loss: float = 0.0
    jtag_stuck: int | None = None
    slow_s: float = 0.0
    seed: int = 0

    def problem(self) -> str | None:
        """What is wrong with these values, if anything."""
        if not (0.0 <= self.flip <= 1.0 and 0.0 <= self.loss <= 1.0):
            return "flip and loss are probabilities between 0 and 1"
        if self.jtag_stuck not in (None, 0, 1):
            return f"jtag_stuck is 0, 1 or null, not {self.jtag_stuck}"
        if not 0.0 <= self.slow_s <= SLOW_S_MAX:
            return f"slow_s is between 0 and {SLOW_S_MAX:g} seconds"
        return None


class Line:
    """The chances of a serial line.

    Args:
        faults: of the board.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - chances, not secrets

    def pass_on(self, data: bytes) -> bytes:
        """What arrives of some bytes."""
        flip, loss = self._faults.flip, self._faults.loss
        if not (flip or loss):
            return data
        kept = (byte for byte in data if self._random.random() >= loss)
        return bytes(self._struck(byte) if self._random.random() < flip else byte for byte in kept)

    def _struck(self, byte: int) -> int:
        return byte ^ 1 << self._random.randrange(8)
