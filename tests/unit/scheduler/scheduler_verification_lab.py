"""A world with a verification project and its job, told commands one by one."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lutlab_events import verification as v
from lutlab_events.envelope import CommandEnvelope, EventEnvelope
from lutlab_events.ids import derived
from lutlab_events.rejections import Rejection
from lutlab_scheduler.app.handlers import HANDLERS
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain import verification
from lutlab_scheduler.domain.outcome import Rejected, Rules

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PROJECT, JOB, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
FILE = v.FileRef(digest="ab" * 32, size_bytes=10)
PASSED = v.StageOutcome(status="passed", summary={"warnings": 1, "errors": 0}, seconds=1.0)
FAILED = v.StageOutcome(status="failed", summary={"tests_passed": 2, "tests_failed": 1})
BROKEN = v.StageOutcome(status="error", code="TOOL_ERROR", reason="yosys: no")
SKIPPED = v.StageOutcome(status="skipped", reason="nothing to do")


class Lab:
    """A world that is told commands."""

    def __init__(self, **limits: Any) -> None:
        fields: dict[str, Any] = {
            "session_ttl": timedelta(hours=1),
            "program_deadline": timedelta(seconds=90),
            "build_deadline": timedelta(hours=1),
            "queue_jobs_max": 3,
            "profiles": frozenset(),
            "default_profile": "",
            "stage_limit": timedelta(minutes=10),
        }
        self.world = World()
        self.rules = Rules(**(fields | limits))
        self.now = NOW
        self.log: list[EventEnvelope] = []
        self.commands = itertools.count()

    def told(self, body: Any) -> list[Any] | Rejected:
        envelope = CommandEnvelope(
            command_id=derived(next(self.commands)),
            body=body,
            actor="test",
            site="main",
            correlation_id=UUID(int=9),
            issued_at=NOW,
        )
        tx = Transaction(world=self.world, command=envelope, rules=self.rules, position=len(self.log), now=self.now)
        outcome = HANDLERS[type(body)](body, tx)
        if isinstance(outcome, Rejected):
            self.world.undo()
            return outcome
        self.world.settle()
        self.log += tx.events
        return [event.body for event in tx.events]

    def refused(self, body: Any) -> Rejection:
        outcome = self.told(body)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.message
        return outcome.code

    def with_project(self, name: str = "uart", project_id: UUID = PROJECT, owner: str = "ada") -> Lab:
        assert isinstance(self.told(create(name, project_id, owner)), list)
        upload = v.UploadFiles(project_id=project_id, owner=owner, files={"a.v": FILE})
        assert isinstance(self.told(upload), list)
        return self

    def with_job(self, *stages: str, job_id: UUID = JOB) -> Lab:
        assert isinstance(self.told(submit(*stages, job_id=job_id)), list)
        return self

    def begun(self, stage: str, attempt: int = 1) -> list[Any] | Rejected:
        return self.told(v.ReportStageStarted(job_id=JOB, stage=stage, attempt=attempt, builder_id="b"))

    def ended(self, stage: str, outcome: v.StageOutcome = PASSED, attempt: int = 1) -> list[Any] | Rejected:
        return self.told(v.ReportStageCompleted(job_id=JOB, stage=stage, attempt=attempt, outcome=outcome))

    @property
    def job(self) -> verification.Verification:
        found = self.world.verification(JOB)
        assert found is not None
        return found


def create(name: str = "uart", project_id: UUID = PROJECT, owner: str = "ada") -> v.CreateProject:
    return v.CreateProject(project_id=project_id, owner=owner, name=name, top_module="top", target_pdk="sky130")


def submit(*stages: str, job_id: UUID = JOB, owner: str = "ada", **more: Any) -> v.SubmitVerification:
    fields = {"project_id": PROJECT, "files_digest": "cd" * 32, "seed": 7}
    return v.SubmitVerification(job_id=job_id, owner=owner, stages=stages, **(fields | more))
