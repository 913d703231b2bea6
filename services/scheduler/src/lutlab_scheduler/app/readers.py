"""Readers of the log that act on the outside: each stores how far it came and goes on from there.

An effect may happen again after a crash (the position is stored after the effect), so every effect is recognisable as a
repetition: events by their id, work by its message id, control messages by their content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from lutlab_events.envelope import EventEnvelope
from lutlab_scheduler.app.ports import BusUnavailable, Positions
from lutlab_scheduler.app.tail import Tail, wait

log = structlog.get_logger(__name__)

READ_MAX = 256
RETRY_WAITS_S = (0.05, 0.1, 0.25, 0.5, 1.0)


async def follow_log(
    name: str, tail: Tail, positions: Positions, effect: Callable[[EventEnvelope], Awaitable[None]]
) -> None:
    """Have `effect` on every event after the stored position, in order, until cancelled.

    While the bus is unavailable the same event is tried again: nothing is skipped.
    """
    position = await positions.get(name)
    with tail.flag() as flag:
        while True:
            events = await tail.read(position, READ_MAX)
            for event in events:
                await _until_done(name, event, effect)
            if events:
                position = events[-1].position
                await positions.set(name, position)
            else:
                await wait(flag)


async def _until_done(name: str, event: EventEnvelope, effect: Callable[[EventEnvelope], Awaitable[None]]) -> None:
    attempt = 0
    while True:
        try:
            return await effect(event)
        except BusUnavailable as error:
            wait_s = RETRY_WAITS_S[min(attempt, len(RETRY_WAITS_S) - 1)]
            attempt += 1
            log.warning(
                "effect_retried", reader=name, position=event.position, attempt=attempt, wait_s=wait_s, error=str(error)
            )
            await asyncio.sleep(wait_s)
