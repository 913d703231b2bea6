"""The work queue on a real NATS server, with services that fail and hang as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from builder_scheduler import SITE, Scheduler
from builder_support import PROFILE

from lutlab_builder.adapters.nats_worker import BuildQueue
from lutlab_builder.app.do_work import HOST_REST_S, RETRY_WAIT_S, Later
from lutlab_events import codec, subjects
from lutlab_events.work import BuildCancelled, BuildWork
from lutlab_transport.connection import connect, settled


class Service:
    """Does with work what it is told."""

    def __init__(self, do: Callable[[], Awaitable[None]], outcome: Later | None = None) -> None:
        self.taken: list[UUID] = []
        self.news = asyncio.Condition()
        self._do = do
        self._outcome = outcome

    async def handle(self, work: BuildWork, delivery: int) -> Later | None:
        async with self.news:
            self.taken.append(work.job_id)
            self.news.notify_all()
        await self._do()
        return None

    async def crashed(self, work: BuildWork, delivery: int, error: Exception) -> Later | None:
        return self._outcome

    async def until(self, taken: int) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.taken) == taken)


@asynccontextmanager
async def serving(nats_url: str, service: Service, slots: int) -> AsyncIterator[None]:
    client = await connect(nats_url, name="builder")
    queue = BuildQueue(client, service, site=SITE, slots=slots)
    running = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await queue.stop()
        await client.close()


async def order(scheduler: Scheduler, job: UUID) -> None:
    work = BuildWork(job_id=job, attempt=1, correlation_id=job, source_digest="", filename="design.py", profile=PROFILE)
    await scheduler.js.publish(subjects.build_work(SITE), codec.encode(work))


async def test_a_host_that_can_do_nothing_does_not_draw_all_work_to_itself(scheduler: Scheduler, nats_url: str) -> None:
    async def fail() -> None:
        raise OSError("No space left on device")

    async def work() -> None:
        pass

    assert HOST_REST_S > RETRY_WAIT_S, "or it has the work again"
    ill, well = Service(fail, Later(0.05, rest_s=60)), Service(work)
    async with serving(nats_url, ill, 1):
        for _ in range(3):
            await order(scheduler, uuid4())
        await ill.until(1)
        async with serving(nats_url, well, 1):
            await well.until(3)
            await scheduler.until_no_work_is_left()
    assert len(ill.taken) == 1


@pytest.mark.parametrize("twice", [False, True])
async def test_a_cancelled_job_ends_however_often_it_was_delivered(
    scheduler: Scheduler, nats_url: str, twice: bool
) -> None:
    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    service, job = Service(hang), uuid4()
    async with serving(nats_url, service, 2):
        for _ in range(1 + twice):
            await order(scheduler, job)
        await service.until(1 + twice)
        await scheduler.nc.publish(subjects.builders_control(SITE), codec.encode(BuildCancelled(job_id=job)))
        await settled(scheduler.nc)
        await scheduler.until_no_work_is_left()
