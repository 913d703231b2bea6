"""Verification as the API shows it: projects, jobs, stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_api.domain.errors import Missing
from lutlab_events.rejections import Rejection
from lutlab_events.verification import (
    JOB_PREFIX,
    PROJECT_PREFIX,
    ArtifactRef,
    FileRef,
    ProjectStatus,
    StageOutcome,
    VerificationStatus,
    parse_shown,
    shown_id,
)
from lutlab_verify.stage import Stage

STAGES = tuple(stage.value for stage in Stage)
"""What a job can ask for, in the order they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectView:
    """A project, as the ledger has it."""

    project_id: UUID
    owner: str
    name: str
    top_module: str
    target_pdk: str
    description: str
    status: ProjectStatus
    created_at: datetime
    updated_at: datetime
    files: Mapping[str, FileRef] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """Its id as callers see it."""
        return shown_project(self.project_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stage that began."""

    stage: str
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    outcome: StageOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationView:
    """A verification job, as the ledger has it."""

    job_id: UUID
    number: int
    project_id: UUID
    owner: str
    status: VerificationStatus
    stages: tuple[str, ...]
    records: tuple[StageView, ...]
    config_overrides: Mapping[str, Any]
    files_digest: str
    seed: int
    error_code: str | None
    error_message: str | None
    submitted_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime

    @property
    def shown(self) -> str:
        """Its id as callers see it."""
        return shown_id(JOB_PREFIX, self.job_id)

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status not in (VerificationStatus.QUEUED, VerificationStatus.RUNNING)

    def record(self, stage: str) -> StageView | None:
        """A stage, once it began."""
        return next((record for record in self.records if record.stage == stage), None)

    def outcome(self, stage: str) -> StageOutcome | None:
        """How a stage ended, once it did."""
        record = self.record(stage)
        return None if record is None else record.outcome

    def stage_status(self, stage: str) -> str:
        """`queued`, `running`, `cancelled`, or how it ended."""
        record = self.record(stage)
        if record is not None and record.outcome is not None:
            return record.outcome.status
        if self.ended:
            return "cancelled"
        return "queued" if record is None else "running"

    def artifacts(self) -> Iterator[tuple[str, ArtifactRef]]:
        """(stage, artifact) of everything it left, in the order of its stages."""
        for record in self.records:
            if record.outcome is not None:
                yield from ((record.stage, artifact) for artifact in record.outcome.artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLine:
    """Lines of a stage's log that were stored together."""

    attempt: int
    seq: int
    stage: str
    text: str
    at: datetime
    level: str | None


def parse_project(text: str) -> UUID:
    """A project's id. Raises: Missing."""
    found = parse_shown(PROJECT_PREFIX, text)
    if found is None:
        raise project_not_found(text)
    return found


def shown_project(project_id: UUID) -> str:
    """A project's id as callers see it."""
    return shown_id(PROJECT_PREFIX, project_id)


def project_not_found(text: str) -> Missing:
    """The answer for a project that does not exist."""
    return Missing(
        Rejection.PROJECT_NOT_FOUND, f"there is no project {text[:64]!r}; list yours with GET /api/v1/projects"
    )


def parse_verification(text: str) -> UUID | None:
    """A verification job's id, None if it is a board job's or none."""
    return parse_shown(JOB_PREFIX, text)


def duration(seconds: float) -> str:
    """As the contract writes it: `2.1s`, `5m30s`, `1h02m`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
