"""A stage on a real NATS server and in the real sandbox: work in, lines, progress, results and heartbeats out."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from builder_scheduler import SITE, Scheduler, running_builder
from nats.aio.client import Client

from lutlab_builder import __main__ as builder_main
from lutlab_builder.__main__ import Room
from lutlab_builder.settings import Settings
from lutlab_events import codec, subjects
from lutlab_events.ids import digest
from lutlab_events.verification import LOG_ATTEMPTS_PER_STAGE, ReportStageCompleted, ReportStageStarted
from lutlab_events.work import BuildCancelled, BuilderHeartbeat, StageProgress, StageWork, ToolReport
from lutlab_transport.blobs import BlobStore
from lutlab_verify.stage import Artifact, Stage, StageContext, StageResult, StageStatus
from lutlab_verify.tools import ToolCall

CONFIG = b"project: {name: a, top_module: a, target_pdk: sky130}\ndesign: {sources: [a.v]}\n"
COUNT = "print(open('src/a.v').read().count('module'), flush=True); open('count', 'w').write('2')"


async def counting(context: StageContext) -> StageResult:
    """A trivial engine: one tool, one number."""
    context.sink.progress(0, 1, "files")
    outcome = await context.tools.run(ToolCall("python", ["python", "-c", COUNT]), context.sink.log)
    assert outcome.exit_code == 0, outcome.tail
    count = Artifact("count.txt", context.work / "count", "text/plain")
    return StageResult(StageStatus.PASSED, {"words": int(outcome.tail[-1])}, {"all": True}, (count,))


async def endless(context: StageContext) -> StageResult:
    """Ends only if it is killed."""
    await context.tools.run(ToolCall("python", ["python", "-c", "print('up', flush=True)\nwhile True: pass"]),
                            context.sink.log)  # fmt: skip
    raise AssertionError("killed by the limit instead of by the cancellation")


async def order(lab: Scheduler, stage: str) -> StageWork:
    blobs = BlobStore(lab.js)
    files = {"lutlab.yaml": CONFIG, "a.v": b"module a; endmodule\n"}
    for data in files.values():
        await blobs.put(data)
    refs = {path: {"digest": digest(data), "size_bytes": len(data)} for path, data in files.items()}
    work = StageWork(
        job_id=uuid4(),
        project_id=uuid4(),
        stage=stage,
        number=1,
        attempt=1,
        correlation_id=uuid4(),
        files_digest=await blobs.put(json.dumps(refs).encode()),
        seed=7,
        limit_s=30,
    )
    await lab.js.publish(subjects.build_work(SITE), codec.encode(work))
    return work


async def test_a_stage_is_carried_out_and_another_one_cancelled(
    scheduler: Scheduler,
    nc: Client,
    nats_url: str,
    room: Room,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engines = {Stage.LINT: counting, Stage.FORMAL: endless}
    monkeypatch.setattr(builder_main, "engine", engines.__getitem__)
    monkeypatch.setattr(builder_main, "tool_reports", lambda: [ToolReport(name="t", available=True, version="1")])
    progress: list[StageProgress] = []
    beats: list[BuilderHeartbeat] = []

    async def on_progress(message: object) -> None:
        progress.append(codec.decode_progress(message.data))  # type: ignore[attr-defined]

    async def on_beat(message: object) -> None:
        beats.append(codec.decode_builder_heartbeat(message.data))  # type: ignore[attr-defined]

    await nc.subscribe(subjects.live(SITE), cb=on_progress)
    await nc.subscribe(subjects.builder_heartbeat(SITE, "*"), cb=on_beat)
    async with running_builder(nats_url, room, settings):
        work = await order(scheduler, "lint")
        await scheduler.until(lambda: any(isinstance(b, ReportStageCompleted) for b in scheduler.about(work.job_id)))
        stuck = await order(scheduler, "formal")
        await scheduler.until(lambda: "up" in scheduler.lines(stuck.job_id))
        await nc.publish(subjects.builders_control(SITE), codec.encode(BuildCancelled(job_id=stuck.job_id)))
        async with asyncio.timeout(20):
            await scheduler.until_no_work_is_left()
    started, done = scheduler.about(work.job_id)
    assert isinstance(started, ReportStageStarted)
    assert (done.outcome.status, done.outcome.summary) == ("passed", {"words": 2})
    blobs = BlobStore(scheduler.js)
    assert await blobs.get(done.outcome.artifacts[0].digest) == b"2"
    assert json.loads(await blobs.get(done.outcome.details_digest)) == {"all": True}
    (chunk, *_) = [chunk for chunk in scheduler.chunks if chunk.job_id == work.job_id]
    assert (chunk.stage, chunk.level, chunk.attempt) == ("lint", "INFO", LOG_ATTEMPTS_PER_STAGE + 1)
    assert [(told.done, told.total, told.unit) for told in progress] == [(0, 1, "files")]
    assert beats[0].tools[0].name == "t"
    assert [type(body) for body in scheduler.about(stuck.job_id)] == [ReportStageStarted]
