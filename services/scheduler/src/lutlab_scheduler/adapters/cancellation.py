"""Cancellations that a library swallowed.

`asyncio.wait_for` before Python 3.12 forgets a cancellation that arrives in the same moment as the result, and nats-py
swallows one while it flushes. The task would then go on as if nothing had happened, and whoever cancelled it (a task
group that is being closed) would wait for ever. The task itself still counts the request, so it can be found again.
"""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if somebody cancelled the current task and that got lost."""
    task = asyncio.current_task()
    if task is not None and task.cancelling() > 0:
        raise asyncio.CancelledError("a cancellation was swallowed on the way")
