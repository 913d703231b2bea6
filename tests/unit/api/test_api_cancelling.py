"""Ending tasks that do not take the first hint."""

from __future__ import annotations

import asyncio

from lutlab_api.app.cancelling import end


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async def failing() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("dropped")

    async def finished() -> int:
        return 1

    tasks = [asyncio.create_task(work()) for work in (deaf, failing, finished)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(tasks)
    assert swallowed == 3
    assert all(task.done() for task in tasks)


async def test_nothing_to_end() -> None:
    await end([])
