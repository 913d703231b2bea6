"""Stages on their way: what is sent to builders, with which files; what is brought to safety when they report."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from scheduler_fakes import MemoryArchive, MemoryBlobs
from scheduler_rig import Rig
from scheduler_verification_lab import JOB, Lab

from lutlab_events import verification as v
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_events.work import BuildCancelled
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.intake import BLOBS_AT_ONCE, DEPTH_MAX, Intake
from lutlab_scheduler.app.ports import Unstorable

ARTIFACT = v.ArtifactRef(name="a", digest="artifact", size_bytes=1, media_type="text/plain")


async def test_each_stage_is_sent_when_the_one_before_has_its_outcome_and_its_files_travel_first() -> None:
    rig = Rig("cd" * 32, "file")
    (first,) = await rig.follow()
    assert (first.stage, first.number, first.attempt, first.seed) == ("lint", 0, 1, 7)
    assert first.limit_s == timedelta(minutes=10).total_seconds()
    assert rig.blobs.digests == {"cd" * 32, "file"}
    rig.lab.begun("lint")
    assert not await rig.follow()
    rig.lab.told(v.RetryStage(job_id=JOB, stage="lint", attempt=1, reason="lost"))
    (again,) = await rig.follow()
    assert (again.stage, again.attempt) == ("lint", 2)
    rig.lab.ended("lint", attempt=2)
    (second,) = await rig.follow()
    assert (second.stage, second.number) == ("formal", 1)
    assert len({message_id for message_id, _ in rig.bus.work}) == 3
    assert await rig.dispatcher.send_all() == 1
    assert rig.bus.work[-1] == rig.bus.work[-2], "sent again under the same name"
    rig.lab.ended("formal")
    assert not await rig.follow()
    assert await rig.dispatcher.send_all() == 0


async def test_a_cancelled_job_is_stopped_and_not_sent() -> None:
    rig = Rig("cd" * 32, "file")
    rig.lab.told(v.CancelVerification(job_id=JOB, owner="ada"))
    assert not await rig.follow()
    assert rig.bus.control_ == [BuildCancelled(job_id=JOB)]


async def test_files_that_are_nowhere_end_the_stage() -> None:
    rig = Rig("cd" * 32)
    assert not await rig.follow()
    (due,) = rig.inside.due
    assert isinstance(due.command, v.ReportStageCompleted)
    assert (due.command.stage, due.command.outcome.code) == ("lint", "source_missing")
    assert isinstance(rig.lab.told(due.command), list)


def report(**more: Any) -> CommandEnvelope:
    fields = {"status": "passed", "details_digest": "details", "artifacts": (ARTIFACT,)} | more
    body = v.ReportStageCompleted(job_id=JOB, stage="lint", attempt=1, outcome=v.StageOutcome(**fields))
    return CommandEnvelope(
        command_id=derived("r"), body=body, actor="b", site="main", correlation_id=UUID(int=1), issued_at=Lab().now
    )


async def test_what_a_stage_left_is_archived_before_it_is_decided_and_leaves_nats() -> None:
    archive, blobs = MemoryArchive(), MemoryBlobs("details", "artifact", "other")
    intake = Intake(archive, blobs, Carrier(archive, blobs))
    assert await intake.prepare(report()) == report()
    assert (archive.digests, blobs.digests) == ({"details", "artifact"}, {"other"})
    assert await intake.prepare(report()) == report(), "a repetition finds everything archived"


async def test_a_file_of_a_project_that_is_an_artifact_too_stays_in_nats() -> None:
    archive, blobs = MemoryArchive("artifact"), MemoryBlobs("details")
    carrier = Carrier(archive, blobs)
    await carrier.provide("artifact")
    archive.digests.clear()
    await Intake(archive, blobs, carrier).prepare(report())
    assert blobs.digests == {"artifact"}


async def test_what_no_reader_of_the_log_could_read_is_kept_out() -> None:
    intake = Intake(MemoryArchive(), MemoryBlobs(), Carrier(MemoryArchive(), MemoryBlobs()))
    deep: Any = 1
    for _ in range(DEPTH_MAX - 2):
        deep = [deep]
    for summary, is_let_in in (({"a": deep, "b": [1] * 1000}, True), ({"a": {"b": [deep]}}, False)):
        asked = report(summary=summary, details_digest=None, artifacts=())
        if is_let_in:
            assert await intake.prepare(asked) == asked
        else:
            with pytest.raises(Unstorable, match="nested deeper"):
                await intake.prepare(asked)
    for text, becomes in (("\\u0000", "\\u0000"), ("\\\\\0", "\\\\\ufffd"), ("\0", "\ufffd")):
        asked = report(summary={"a": [{text: text}]}, details_digest=None, artifacts=())
        wanted = report(summary={"a": [{becomes: becomes}]}, details_digest=None, artifacts=())
        assert await intake.prepare(asked) == wanted


async def test_a_file_set_that_is_none_ends_the_stage() -> None:
    rig = Rig("cd" * 32, "file")
    rig.archive.manifest = "no json"
    assert not await rig.follow()
    (due,) = rig.inside.due
    assert isinstance(due.command, v.ReportStageCompleted) and due.command.outcome.code == "source_missing"


class SlowBlobs(MemoryBlobs):
    """Counts who fetches at once; whoever is at it when the blob is taken away waits for ever, as with NATS."""

    def __init__(self, *digests: str) -> None:
        super().__init__(*digests)
        self.at_once = self.most_at_once = 0

    async def get(self, digest: str) -> bytes:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        found = await super().get(digest)
        for _ in range(3):
            await asyncio.sleep(0)
        if digest not in self.digests:
            await asyncio.Event().wait()
        self.at_once -= 1
        return found


async def test_of_many_reports_that_come_at_once_few_have_their_blobs_in_memory() -> None:
    names = [f"details {number}" for number in range(100)]
    archive, blobs = MemoryArchive(), SlowBlobs(*names)
    intake = Intake(archive, blobs, Carrier(archive, blobs))
    async with asyncio.timeout(1.0):
        await asyncio.gather(*(intake.prepare(report(details_digest=name, artifacts=())) for name in names))
    assert archive.digests == set(names)
    assert blobs.most_at_once == BLOBS_AT_ONCE


async def test_two_reports_of_the_same_finding_do_not_take_it_from_each_other() -> None:
    archive, blobs = MemoryArchive(), SlowBlobs("details", "artifact")
    intake = Intake(archive, blobs, Carrier(archive, blobs))
    async with asyncio.timeout(1.0):
        prepared = await asyncio.gather(*(intake.prepare(report()) for _ in range(3)))
    assert prepared == [report()] * 3
    assert (archive.digests, blobs.digests) == ({"details", "artifact"}, set())


async def test_a_stage_whose_artifacts_are_lost_is_run_again() -> None:
    archive, blobs = MemoryArchive(), MemoryBlobs("details")
    prepared = await Intake(archive, blobs, Carrier(archive, blobs)).prepare(report())
    assert isinstance(prepared.body, v.RetryStage)
    lab = Lab().with_project().with_job("lint")
    assert isinstance(lab.told(prepared.body), list)
    assert lab.job.attempt == 2
