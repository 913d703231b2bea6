"""Long polls: a read is repeated when something happened, until it is what was waited for or the time is over."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lutlab_api.app.ports import Changes, Monotonic

T = TypeVar("T")

LOOK_AGAIN_S = 5.0
"""Between two looks where nothing was heard: news are lost while the message bus is away."""


ONES_SHARE = 0.8
"""Of the callers that wait at once, how many may be one owner's: nobody takes all places."""


class Waiting:
    """Repeats reads; at most `waits_max` callers wait at once, those beyond are answered at once."""

    def __init__(self, changes: Changes, monotonic: Monotonic, *, waits_max: int) -> None:
        self._changes = changes
        self._monotonic = monotonic
        self._waits_max = waits_max
        self._of_one_max = math.ceil(ONES_SHARE * waits_max)
        self._of_one: Counter[str] = Counter()

    @property
    def waits(self) -> int:
        """How many wait."""
        return self._of_one.total()

    async def until(
        self, stream: str, read: Callable[[], Awaitable[T]], done: Callable[[T], bool], wait_s: float, whose: str = ""
    ) -> T:
        """What `read` gives when it is `done`, or after `wait_s`, for a caller who is `whose`."""
        if wait_s <= 0 or self.waits >= self._waits_max or self._of_one[whose] >= self._of_one_max:
            return await read()
        deadline = self._monotonic() + wait_s
        self._of_one[whose] += 1
        try:
            with self._changes.watch(stream) as news:
                while True:
                    news.clear()
                    found = await read()
                    left_s = deadline - self._monotonic()
                    if done(found) or left_s <= 0:
                        return found
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), min(left_s, LOOK_AGAIN_S))
        finally:
            self._of_one[whose] -= 1
            if not self._of_one[whose]:
                del self._of_one[whose]
