"""What the scheduler does by itself, again and again: matching, retries, and everything that has a deadline."""

from __future__ import annotations

import asyncio

import structlog

from lutlab_scheduler.app.inside import Inside
from lutlab_scheduler.app.leases import Leases
from lutlab_scheduler.app.ports import Clock
from lutlab_scheduler.app.tail import POLL_S, Tail, wait
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.policies import Due, agenda, stage_timers

log = structlog.get_logger(__name__)

WAIT_MIN_S = 0.002


async def keep_house(
    tail: Tail, world: World, inside: Inside, leases: Leases, clock: Clock, *, boards_max: int | None = None
) -> None:
    """Carry out what is due whenever something was committed, a moment has come, or `POLL_S` has passed.

    Args:
        boards_max: how many boards one owner may have at once.
    """
    with tail.flag() as flag:
        while True:
            now = clock.now()
            plan = agenda(world.timed_jobs(), world.boards(), now, boards_max, world.waiting())
            stages = stage_timers(world.open_verifications(), now)
            await _carry_out(inside, [*plan.due, *stages.due, *leases.lapsed(world.agents(), now)])
            wait_s = POLL_S
            next_at = min((at for at in (plan.next_at, stages.next_at) if at is not None), default=None)
            if next_at is not None:
                wait_s = min(POLL_S, max(WAIT_MIN_S, (next_at - clock.now()).total_seconds()))
            await wait(flag, wait_s)


async def _carry_out(inside: Inside, due: list[Due]) -> None:
    """All of it in one batch of the writer; a refusal means that the situation has changed meanwhile."""
    answers = await asyncio.gather(*(inside.carry_out(item) for item in due))
    for item, answer in zip(due, answers, strict=True):
        if answer is not None and not answer.accepted:
            log.info("due_refused", command=type(item.command).__name__, code=answer.code, message=answer.message)
