"""Stages on their way: what is sent to builders, with which files; what is brought to safety when they report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from test_scheduler_leases import ManualClock, MemoryArchive, MemoryBlobs
from test_scheduler_verification import JOB, Lab

from lutlab_events import verification as v
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_events.work import BuildCancelled, Control, StageWork, Work
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.dispatch import Dispatcher
from lutlab_scheduler.app.intake import Intake
from lutlab_scheduler.app.postponed import Postponed
from lutlab_scheduler.domain.policies import Due

ARTIFACT = v.ArtifactRef(name="a", digest="artifact", size_bytes=1, media_type="text/plain")
MANIFEST = json.dumps({"a.v": {"digest": "file", "size_bytes": 1}})


class Bus:
    """Remembers what is sent."""

    def __init__(self) -> None:
        self.work: list[tuple[str, Work]] = []
        self.control_: list[Control] = []

    async def publish_work(self, subject: str, message_id: str, work: Work) -> None:
        self.work.append((message_id, work))

    async def control(self, subject: str, message: Control) -> None:
        self.control_.append(message)


class Archive(MemoryArchive):
    """Whose file sets are JSON."""

    async def get(self, digest: str) -> bytes:
        await super().get(digest)
        return MANIFEST.encode() if digest == "cd" * 32 else digest.encode()


class Blobs(MemoryBlobs):
    """Whose file sets are JSON."""

    async def put(self, data: bytes) -> None:
        self.digests.add("cd" * 32 if data.startswith(b"{") else data.decode())


class Inside:
    """Remembers what the scheduler asks of itself."""

    def __init__(self) -> None:
        self.due: list[Due] = []

    async def carry_out(self, due: Due) -> None:
        self.due.append(due)


class Rig:
    """A dispatcher over memory.

    Attributes:
        told: what was written into the logs of jobs.
    """

    def __init__(self, *archived: str, postponed: Postponed | None = None) -> None:
        self.lab = Lab().with_project().with_job("lint", "formal")
        self.bus, self.inside = Bus(), Inside()
        self.archive, self.blobs = Archive(*archived), Blobs()
        self.carrier = Carrier(self.archive, self.blobs)
        self.told: list[str] = []
        parts: dict[str, Any] = {"bus": self.bus, "carrier": self.carrier, "inside": self.inside, "tell": self._tell}
        if postponed is None:
            postponed = Postponed(clock=ManualClock(), owe=self._owe, make_room=self._make_room)
        self.dispatcher = Dispatcher(world=self.lab.world, rules=self.lab.rules, postponed=postponed, **parts)
        self.read = 0

    async def _tell(self, job: Any, line: str) -> None:
        self.told.append(line)

    async def _owe(self, number: int) -> None:
        raise AssertionError("there is room for everything")

    async def _make_room(self) -> None:
        raise AssertionError("there is room for everything")

    async def follow(self) -> Sequence[StageWork]:
        """Let the dispatcher see what happened since; the work it sent."""
        before = len(self.bus.work)
        for envelope in self.lab.log[self.read :]:
            await self.dispatcher.on_event(envelope)
        self.read = len(self.lab.log)
        return [work for _, work in self.bus.work[before:] if isinstance(work, StageWork)]


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


async def test_a_stage_whose_artifacts_are_lost_is_run_again() -> None:
    archive, blobs = MemoryArchive(), MemoryBlobs("details")
    prepared = await Intake(archive, blobs, Carrier(archive, blobs)).prepare(report())
    assert isinstance(prepared.body, v.RetryStage)
    lab = Lab().with_project().with_job("lint")
    assert isinstance(lab.told(prepared.body), list)
    assert lab.job.attempt == 2
