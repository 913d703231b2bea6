"""Bodies of verification: the contract's projects and jobs of stages."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from lutlab_api.app.verifications import SEED_MAX, LogLine, Submitted
from lutlab_api.domain.verification import ProjectView, VerificationView, duration, shown_project
from lutlab_api.web.models import TEXT, Model
from lutlab_api.web.paging import Page, PageQuery, Strict
from lutlab_events.verification import ArtifactRef, ProjectStatus, VerificationStatus
from lutlab_events.work import StageProgress

NAME = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
TOP = r"^[A-Za-z_][A-Za-z0-9_$]{0,127}$"
PDK = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
DESCRIPTION_CHARS_MAX = 4000
OVERRIDE_CHARS_MAX = 200
TAIL_MAX = 100_000

StageName = Literal["lint", "simulation", "formal", "crypto", "synthesis"]
Sort = Literal["updated_at", "created_at", "name", "-updated_at", "-created_at", "-name"]


Description = Annotated[str, Field(max_length=DESCRIPTION_CHARS_MAX, pattern=TEXT)]


class NewProject(Strict):
    """A project to make."""

    name: str = Field(pattern=NAME, description="letters, digits and hyphens; unique", examples=["ntt-butterfly"])
    top_module: str = Field(pattern=TOP, examples=["ntt_butterfly"])
    target_pdk: str = Field(pattern=PDK, examples=["sky130"])
    description: Description = ""


class ProjectChanges(Strict):
    """What to change of a project; the rest stays."""

    name: str | None = Field(None, pattern=NAME)
    top_module: str | None = Field(None, pattern=TOP)
    target_pdk: str | None = Field(None, pattern=PDK)
    description: Description | None = None


class Project(Model):
    """A project."""

    id: str = Field(examples=["proj_5a0e8e1c3df15f0a9d1c0e8a5d1b7c01"])
    name: str
    top_module: str
    target_pdk: str
    description: str
    status: ProjectStatus = Field(description="`created`, and `active` once it has files")
    files: int = Field(description="how many files it has")
    owner: str
    created_at: datetime
    updated_at: datetime
    url: str

    @staticmethod
    def of(view: ProjectView) -> Project:
        """From the ledger's view."""
        return Project(
            id=view.shown,
            name=view.name,
            top_module=view.top_module,
            target_pdk=view.target_pdk,
            description=view.description,
            status=view.status,
            files=len(view.files),
            owner=view.owner,
            created_at=view.created_at,
            updated_at=view.updated_at,
            url=f"/api/v1/projects/{view.shown}",
        )


class ProjectsQuery(PageQuery):
    """Which projects to list."""

    status: Literal["created", "active"] | None = Field(None, description="only projects in this status")
    sort: Sort = Field("updated_at", description="times newest first, names A to Z; `-` turns it round")
    name: str | None = Field(None, max_length=64, pattern=TEXT, description="only projects whose name contains this")


class Projects(Page):
    """A page of projects."""

    projects: list[Project]


class ProjectFile(Model):
    """A file of a project."""

    path: str
    size_bytes: int
    sha256: str


class ProjectFiles(Model):
    """A project's files."""

    project_id: str
    files: list[ProjectFile]

    @staticmethod
    def of(view: ProjectView) -> ProjectFiles:
        """From the ledger's view."""
        files = [
            ProjectFile(path=path, size_bytes=ref.size_bytes, sha256=ref.digest)
            for path, ref in sorted(view.files.items())
        ]
        return ProjectFiles(project_id=view.shown, files=files)


class UploadDone(Model):
    """What an upload added."""

    uploaded: int
    project_id: str
    files: list[str]


class NewVerification(Strict):
    """A job to submit."""

    stages: list[StageName] = Field(min_length=1, max_length=5, description="run in the order lint ... synthesis")
    config_overrides: dict[str, Any] = Field(
        default_factory=dict,
        max_length=200,
        description="dotted path -> value, in place of what the configuration says",
        examples=[{"verification.simulation.coverage": True}],
    )
    seed: int | None = Field(None, ge=0, le=SEED_MAX, description="of whatever is random; left out: a new one")

    @field_validator("config_overrides")
    @classmethod
    def _is_json(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        """What Python reads beyond JSON cannot be written into the log."""
        longest = max(overrides, key=len, default="")
        if len(longest) > OVERRIDE_CHARS_MAX:
            raise ValueError(f"names a path of {len(longest)} characters; {OVERRIDE_CHARS_MAX} are allowed")
        try:
            json.dumps(overrides, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise ValueError("holds NaN, an infinity, half a character, or is nested too deeply") from None
        return overrides

    @field_validator("stages")
    @classmethod
    def _once_each(cls, stages: list[StageName]) -> list[StageName]:
        if len(set(stages)) != len(stages):
            raise ValueError("names a stage twice")
        return stages


class VerificationAccepted(Model):
    """A job that was accepted."""

    job_id: str = Field(examples=["job_7b1f9f2d4ef25a1b8e2d1f9b6e2c8d02"])
    project_id: str
    status: VerificationStatus
    stages: list[str]
    seed: int
    submitted_at: datetime
    estimated_duration: str = Field(description="from how long these stages took lately", examples=["5m30s"])
    url: str

    @staticmethod
    def of(submitted: Submitted) -> VerificationAccepted:
        """From the use case."""
        job = submitted.job
        return VerificationAccepted(
            job_id=job.shown,
            project_id=shown_project(job.project_id),
            status=VerificationStatus.QUEUED,
            stages=list(job.stages),
            seed=job.seed,
            submitted_at=job.submitted_at,
            estimated_duration=duration(submitted.estimated_s),
            url=f"/api/v1/jobs/{job.shown}",
        )


class StageState(Model):
    """Where a stage stands.

    Attributes:
        status: queued, running, passed, failed, skipped, error or cancelled.
        duration: how long it took, e.g. `2.1s`.
        progress: while it runs, e.g. `7/10 tests`.
        attempt: above 1 if the stage had to begin again.
        reason: why it was skipped or reached no verdict.
    """

    status: str
    duration: str | None = None
    progress: str | None = None
    attempt: int | None = None
    reason: str | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Verification(Model):
    """A job of stages."""

    job_id: str
    project_id: str
    status: VerificationStatus
    progress: dict[str, StageState]
    stages: list[str]
    config_overrides: dict[str, Any]
    seed: int
    submitted_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error: dict[str, str] | None = Field(None, description="code and message, if it failed")
    url: str

    @staticmethod
    def of(job: VerificationView, progress: StageProgress | None) -> Verification:
        """From the ledger's view, and what is told live."""
        error = None
        if job.error_code is not None:
            error = {"code": job.error_code, "message": job.error_message or ""}
        return Verification(
            job_id=job.shown,
            project_id=shown_project(job.project_id),
            status=job.status,
            progress={stage: _state(job, stage, progress) for stage in job.stages},
            stages=list(job.stages),
            config_overrides=dict(job.config_overrides),
            seed=job.seed,
            submitted_at=job.submitted_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
            error=error,
            url=f"/api/v1/jobs/{job.shown}",
        )


def _state(job: VerificationView, stage: str, progress: StageProgress | None) -> StageState:
    status, record = job.stage_status(stage), job.record(stage)
    if record is None:
        return StageState(status=status)
    outcome = record.outcome
    told = None
    if status == "running" and progress is not None and (progress.stage, progress.attempt) == (stage, record.attempt):
        told = f"{progress.done}/{progress.total} {progress.unit}"
    return StageState(
        status=status,
        duration=None if outcome is None else duration(outcome.seconds),
        progress=told,
        attempt=record.attempt if record.attempt > 1 else None,
        reason=None if outcome is None else outcome.reason,
    )


class Verifications(Page):
    """A page of jobs, newest first."""

    jobs: list[Verification]


class VerificationsQuery(PageQuery):
    """Which jobs to list."""

    status: VerificationStatus | None = Field(None, description="only jobs in this status")


class LogsQuery(Strict):
    """Which lines of a log."""

    stage: StageName | None = Field(None, description="only lines of this stage")
    tail: int | None = Field(None, ge=1, le=TAIL_MAX, description="only the last lines")
    follow: bool = Field(False, description="go on until the job has ended: one JSON object per line")


class LogEntry(Model):
    """A line of a log."""

    timestamp: datetime
    stage: str
    level: str
    message: str

    @staticmethod
    def of(line: LogLine) -> LogEntry:
        """From the use case."""
        return LogEntry(timestamp=line.at, stage=line.stage, level=line.level, message=line.message)


class Logs(Model):
    """A job's log."""

    logs: list[LogEntry]
    older: bool = Field(description="whether there are older lines: ask for more with `tail`, or for all with `follow`")


class Results(Model):
    """What a job's stages found, by stage; crypto by area."""

    job_id: str
    overall_status: VerificationStatus
    stages: dict[str, dict[str, Any]]

    @staticmethod
    def of(job: VerificationView) -> Results:
        """From the ledger's view."""
        found = {stage: result_of(job, stage) for stage in job.stages}
        return Results(job_id=job.shown, overall_status=job.status, stages=found)


def result_of(job: VerificationView, stage: str) -> dict[str, Any]:
    """A stage's object in the results."""
    outcome = job.outcome(stage)
    if outcome is None:
        return {"status": job.stage_status(stage)}
    why: dict[str, Any] = {}
    if outcome.code is not None:
        why["error"] = {"code": outcome.code, "message": outcome.reason, "details": outcome.summary.get("error", {})}
    elif outcome.reason is not None:
        why["reason"] = outcome.reason
    summary = {name: value for name, value in outcome.summary.items() if name != "error" or outcome.code is None}
    if stage == "crypto" and summary:
        return {**summary, **why}
    return {"status": outcome.status, **summary, **why}


class StageArtifact(Model):
    """Something a stage left, to download."""

    name: str = Field(examples=["trace.fst"])
    stage: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str

    @staticmethod
    def of(job: VerificationView, stage: str, artifact: ArtifactRef) -> StageArtifact:
        """From the ledger's view."""
        return StageArtifact(
            name=artifact.name,
            stage=stage,
            media_type=artifact.media_type,
            size_bytes=artifact.size_bytes,
            sha256=artifact.digest,
            url=f"/api/v1/jobs/{job.shown}/artifacts/{artifact.name}?stage={stage}",
        )


class StageArtifacts(Model):
    """What a job's stages left."""

    artifacts: list[StageArtifact]


class NewReport(Strict):
    """A report to make.

    Attributes:
        include: only these stages; left out: all.
        template: a template by its name, or one of the project's files; null: the usual one.
    """

    format: Literal["html", "json", "sarif", "junit", "markdown"] = "html"
    include: Annotated[list[StageName], Field(max_length=20)] | None = None
    template: Annotated[str, Field(max_length=200)] | None = None


class TrendQuery(Strict):
    """How far back."""

    limit: int = Field(50, ge=1, le=200, description="most jobs")


class Trend(Model):
    """A project's jobs as points of series, oldest first; null where a job had no such stage."""

    project_id: str
    points: list[dict[str, Any]]
