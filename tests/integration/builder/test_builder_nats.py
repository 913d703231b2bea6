"""The builder on a real NATS server: work in, reports, logs and bitstreams out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from builder_support import EXAMPLES, PROFILE
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_builder.__main__ import Room, serve
from lutlab_builder.settings import Settings
from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events.envelope import Answer
from lutlab_events.work import BuildCancelled, BuildWork, LogChunk
from lutlab_transport.blobs import BlobStore
from lutlab_transport.connection import connect
from lutlab_transport.streams import ensure_streams

SITE = "builder-test"
ENDLESS = b"print('up', flush=True)\nwhile True: pass\n"


class Scheduler:
    """Hears commands and logs, and answers the ones that ask."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.js = nc.jetstream()
        self.heard: list[Any] = []
        self.chunks: list[LogChunk] = []
        self.refuse: set[UUID] = set()
        self._news = asyncio.Condition()

    async def start(self) -> None:
        await ensure_streams(self.js)
        await self.js.subscribe(f"cmd.{SITE}.>", durable="test-scheduler", cb=self._on_command)
        await self.js.subscribe(f"log.{SITE}.>", durable="test-logs", cb=self._on_log)

    async def _on_command(self, message: Msg) -> None:
        envelope = codec.decode_command(message.data)
        stale = getattr(envelope.body, "job_id", None) in self.refuse
        if envelope.reply_to:
            answer = Answer(command_id=envelope.command_id, code="stale_attempt" if stale else "ok")
            await self.nc.publish(envelope.reply_to, codec.encode(answer))
        await self._tell(self.heard, envelope.body)

    async def _on_log(self, message: Msg) -> None:
        await self._tell(self.chunks, codec.decode_log_chunk(message.data))

    async def _tell(self, where: list[Any], what: Any) -> None:
        async with self._news:
            where.append(what)
            self._news.notify_all()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(condition)

    def about(self, job: UUID) -> list[Any]:
        return [body for body in self.heard if getattr(body, "job_id", None) == job]

    def lines(self, job: UUID) -> list[str]:
        chunks = sorted((chunk for chunk in self.chunks if chunk.job_id == job), key=lambda chunk: chunk.seq)
        return [line for chunk in chunks for line in chunk.lines]

    async def order(self, source: bytes, filename: str, **options: Any) -> UUID:
        job = uuid4()
        digest = await BlobStore(self.js).put(source)
        work = BuildWork(
            job_id=job,
            attempt=1,
            correlation_id=job,
            source_digest=digest,
            filename=filename,
            profile=PROFILE,
            **options,
        )
        await self.js.publish(subjects.build_work(SITE), codec.encode(work))
        return job

    async def work_left(self) -> int:
        return (await self.js.stream_info(subjects.WORK.name)).state.messages

    async def until_no_work_is_left(self) -> None:
        async with asyncio.timeout(20):
            while await self.work_left():  # noqa: ASYNC110 - the server does not tell when a queue is empty
                await asyncio.sleep(0.05)


@pytest.fixture
async def nc(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url, name="test")
    yield client
    await client.close()


@pytest.fixture
async def scheduler(nc: Client) -> AsyncIterator[Scheduler]:
    found = Scheduler(nc)
    await found.start()
    yield found
    for name in ("COMMANDS", "LOGS", "WORK"):
        await found.js.delete_stream(name)


@asynccontextmanager
async def running_builder(nats_url: str, room: Room, settings: Settings) -> AsyncIterator[None]:
    stop, lost = asyncio.Event(), asyncio.Event()
    client = await connect(nats_url, name="builder", reconnected=lost.set)
    chosen = settings.model_copy(update={"site": SITE, "profiles": PROFILE, "concurrency": 1})
    task = asyncio.create_task(serve(client, room, chosen, stop, lost))
    try:
        yield
    finally:
        stop.set()
        await task
        await client.close()


async def test_work_is_built_and_reported(scheduler: Scheduler, nats_url: str, room: Room, settings: Settings) -> None:
    source = (EXAMPLES / "counter" / "design.v").read_bytes()
    async with running_builder(nats_url, room, settings):
        job = await scheduler.order(source, "design.v")
        await scheduler.until(lambda: any(isinstance(b, c.ReportBuildSucceeded) for b in scheduler.about(job)))
        await scheduler.until(lambda: any(isinstance(b, c.ReportBaseBuilt) for b in scheduler.heard))
        await scheduler.until_no_work_is_left()
    told = scheduler.about(job)
    assert isinstance(told[0], c.ReportBuildStarted)
    stages = [body.stage for body in told if isinstance(body, c.ReportBuildStage)]
    assert stages == [stage for stage in ("elaborate", "synthesize", "place-and-route", "pack") if stage in stages]
    done = told[-1]
    assert isinstance(done, c.ReportBuildSucceeded)
    bitstream = await BlobStore(scheduler.js).get(done.bitstream.digest)
    assert len(bitstream) == done.bitstream.size_bytes == done.report["bitstream_bytes"]
    assert any("Info: Program finished normally." in line for line in scheduler.lines(job))
    seqs = sorted(chunk.seq for chunk in scheduler.chunks if chunk.job_id == job)
    assert seqs == list(range(len(seqs)))
    base = next(body for body in scheduler.heard if isinstance(body, c.ReportBaseBuilt))
    assert await BlobStore(scheduler.js).exists(base.bitstream.digest)


async def test_log_lines_arrive_while_the_build_runs(
    scheduler: Scheduler, nats_url: str, room: Room, settings: Settings
) -> None:
    async with running_builder(nats_url, room, settings):
        job = await scheduler.order(ENDLESS, "design.py")
        await scheduler.until(lambda: scheduler.lines(job) == ["up"])
        assert not any(isinstance(body, c.ReportBuildFailed) for body in scheduler.about(job))
        # Cancelling frees the only slot, and nothing is reported of the cancelled job.
        await scheduler.nc.publish(subjects.builders_control(SITE), codec.encode(BuildCancelled(job_id=job)))
        bad = await scheduler.order(b"x = = 1\n", "design.py")
        await scheduler.until(lambda: any(isinstance(b, c.ReportBuildFailed) for b in scheduler.about(bad)))
        await scheduler.until_no_work_is_left()
    failed = scheduler.about(bad)[-1]
    assert (failed.code, failed.message, failed.stage) == ("syntax_error", "design.py:1: invalid syntax", "elaborate")
    assert scheduler.lines(bad)[-1] == "error: syntax_error: design.py:1: invalid syntax"
    assert not any(isinstance(body, c.ReportBuildFailed) for body in scheduler.about(job))


async def test_refused_work_is_dropped(scheduler: Scheduler, nats_url: str, room: Room, settings: Settings) -> None:
    job = await scheduler.order(ENDLESS, "design.py")
    scheduler.refuse.add(job)
    async with running_builder(nats_url, room, settings):
        await scheduler.until_no_work_is_left()
    assert [type(body) for body in scheduler.about(job)] == [c.ReportBuildStarted]


async def test_a_builder_that_stops_gives_its_work_back_at_once(
    scheduler: Scheduler, nats_url: str, room: Room, settings: Settings
) -> None:
    async with running_builder(nats_url, room, settings):
        job = await scheduler.order(ENDLESS, "design.py")
        await scheduler.until(lambda: scheduler.lines(job) == ["up"])
    assert await scheduler.work_left() == 1
    started = asyncio.get_running_loop().time()
    async with running_builder(nats_url, room, settings):
        await scheduler.until(lambda: scheduler.lines(job) == ["up", "up"])
        elapsed = timedelta(seconds=asyncio.get_running_loop().time() - started)
        assert elapsed < timedelta(seconds=subjects.BUILD_ACK_WAIT_S)
        await scheduler.nc.publish(subjects.builders_control(SITE), codec.encode(BuildCancelled(job_id=job)))
        await scheduler.until_no_work_is_left()
    builders = {body.builder_id for body in scheduler.about(job) if isinstance(body, c.ReportBuildStarted)}
    assert len(builders) == 2


async def test_what_cannot_be_understood_is_buried(
    scheduler: Scheduler, nats_url: str, room: Room, settings: Settings
) -> None:
    await scheduler.js.publish(subjects.build_work(SITE), b"garbage")
    async with running_builder(nats_url, room, settings):
        await scheduler.until_no_work_is_left()
    message = await scheduler.js.get_last_msg(subjects.DEAD.name, subjects.dead(SITE, subjects.WORK.name))
    assert message.data == b"garbage"
