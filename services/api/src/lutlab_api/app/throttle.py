"""Slowing down whoever guesses: failures are counted by address, in this process."""

from __future__ import annotations

import math
from collections import OrderedDict

from lutlab_api.app.ports import Monotonic
from lutlab_api.domain.errors import Code, TooMany

WINDOW_S = 60.0
ADDRESSES_MAX = 10_000


class Throttle:
    """At most `failures_max` failures a minute and address."""

    def __init__(self, monotonic: Monotonic, *, failures_max: int) -> None:
        self._monotonic = monotonic
        self._failures_max = failures_max
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, address: str) -> None:
        """Pass addresses with few failures. Raises: TooMany."""
        since, count = self._failures.get(address, (0.0, 0))
        left_s = since + WINDOW_S - self._monotonic()
        if count >= self._failures_max and left_s > 0:
            wait_s = math.ceil(left_s)
            raise TooMany(
                Code.TOO_MANY_ATTEMPTS,
                f"{count} failed attempts came from {address or 'here'} within a minute; try again in {wait_s} s",
                retry_after_s=wait_s,
            )

    def failed(self, address: str) -> None:
        """Count a failure."""
        now = self._monotonic()
        since, count = self._failures.pop(address, (now, 0))
        self._failures[address] = (now, 1) if since + WINDOW_S <= now else (since, count + 1)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
