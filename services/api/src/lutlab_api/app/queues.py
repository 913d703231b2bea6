"""Where jobs stand in the queue for boards."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from lutlab_api.app.ports import Clock
from lutlab_api.domain.queue import Queue, Standing, standing


class Queues(Protocol):
    """What counts for waiting jobs."""

    async def queue(self, job_id: UUID) -> Queue | None:
        """What counts for a job; None for one that does not wait for just any board. Raises: Unavailable."""
        ...


class Standings:
    """Tells waiting jobs their place."""

    def __init__(self, queues: Queues, clock: Clock) -> None:
        self._queues = queues
        self._clock = clock

    async def of(self, job_id: UUID) -> Standing | None:
        """A job's place; None if it does not wait. Raises: Unavailable."""
        queue = await self._queues.queue(job_id)
        return None if queue is None else standing(queue, self._clock.now())
