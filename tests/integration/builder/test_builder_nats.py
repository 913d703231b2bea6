"""The builder on a real NATS server: work in, reports, logs and bitstreams out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from builder_scheduler import SITE, Scheduler, running_builder
from builder_support import EXAMPLES

from lutlab_builder.__main__ import Room
from lutlab_builder.settings import Settings
from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events.work import BuildCancelled
from lutlab_transport.blobs import BlobStore

ENDLESS = b"print('up', flush=True)\nwhile True: pass\n"


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
