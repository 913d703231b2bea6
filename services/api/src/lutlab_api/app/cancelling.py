"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.1


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are over; whatever they raise is dropped.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that meets its result, and the NATS client uses it
    everywhere. So one `cancel` may be lost, and the task goes on: it is cancelled again until it is over.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen, so that it is not logged as never retrieved
