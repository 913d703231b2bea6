"""Verification: projects (stream `project-<project_id>`) and their jobs of stages (stream `verification-<job_id>`).

A job's stages run one after another, each as one work item for any builder. A job carries the digest of its file set (a
blob: JSON, path -> `FileRef`), so that it goes on meaning the same whatever is uploaded later.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import field

from lutlab_events.values import Frozen, Json

PROJECT_PREFIX, JOB_PREFIX = "proj_", "job_"
"""How ids look to callers: the prefix and the UUID's 32 hexadecimal digits."""
LOG_ATTEMPTS_PER_STAGE = 1000
"""A job's log lines are filed under attempt `stage number * this + attempt`, so that they sort by stage."""


class VerificationStatus(StrEnum):
    """Where a verification job stands (the contract's words)."""

    QUEUED = "queued"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({VerificationStatus.PASSED, VerificationStatus.FAILED, VerificationStatus.CANCELLED})


class ProjectStatus(StrEnum):
    """Whether a project has files yet, or is gone."""

    CREATED = "created"
    ACTIVE = "active"
    DELETED = "deleted"


class FileRef(Frozen, frozen=True, kw_only=True):
    """A file of a project: its SHA-256, which names its blob, and its size."""

    digest: str
    size_bytes: int


class ArtifactRef(Frozen, frozen=True, kw_only=True):
    """A file that a stage left: what the API calls it, its blob, and what it is."""

    name: str
    digest: str
    size_bytes: int
    media_type: str


class StageOutcome(Frozen, frozen=True, kw_only=True):
    """How a stage ended.

    Attributes:
        status: `passed`, `failed`, `skipped`, or `error` where no verdict was reached.
        summary: what results show of it.
        details_digest: the blob with everything about it (JSON), None if there is nothing.
        artifacts: what it left.
        reason: why it was skipped or reached no verdict.
        code: of an `error`: `TOOL_ERROR`, or why the stage could not be carried out.
        seconds: how long the engine ran.
    """

    status: str
    summary: Json = field(default_factory=dict)
    details_digest: str | None = None
    artifacts: tuple[ArtifactRef, ...] = ()
    reason: str | None = None
    code: str | None = None
    seconds: float = 0.0


# -- commands --------------------------------------------------------------------------------------------


class CreateProject(Frozen, frozen=True, kw_only=True, tag=True):
    """Make a project; its name is unique among its owner's."""

    project_id: UUID
    owner: str
    name: str
    top_module: str
    target_pdk: str
    description: str = ""


class UpdateProject(Frozen, frozen=True, kw_only=True, tag=True):
    """Change what is given."""

    project_id: UUID
    owner: str
    is_admin: bool = False
    name: str | None = None
    top_module: str | None = None
    target_pdk: str | None = None
    description: str | None = None


class UploadFiles(Frozen, frozen=True, kw_only=True, tag=True):
    """Add files, whose blobs are stored already, or put them in place of all there are (`replace`)."""

    project_id: UUID
    owner: str
    files: dict[str, FileRef]
    is_admin: bool = False
    replace: bool = False


class DeleteProject(Frozen, frozen=True, kw_only=True, tag=True):
    """Forget a project and cancel its open jobs. What its jobs found stays readable by their ids."""

    project_id: UUID
    owner: str
    is_admin: bool = False


class SubmitVerification(Frozen, frozen=True, kw_only=True, tag=True):
    """Run stages over a project's files.

    Attributes:
        stages: in the order they run.
        config_overrides: dotted path -> value, checked by the sender.
        files_digest: the blob of the file set; it is in the `blobs` table before this command is sent.
        files_bytes: the size of that blob; 0 from senders that do not say.
        seed: whatever is random in a stage derives from it.
    """

    job_id: UUID
    project_id: UUID
    owner: str
    stages: tuple[str, ...]
    files_digest: str
    seed: int
    files_bytes: int = 0
    config_overrides: Json = field(default_factory=dict)
    is_admin: bool = False


class CancelVerification(Frozen, frozen=True, kw_only=True, tag=True):
    """Stop a job that has not ended, in the middle of a stage if need be."""

    job_id: UUID
    owner: str
    is_admin: bool = False


class ReportStageStarted(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder took a stage."""

    job_id: UUID
    stage: str
    attempt: int
    builder_id: str


class ReportStageCompleted(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder has a stage's outcome; details and artifacts are in the blob store."""

    job_id: UUID
    stage: str
    attempt: int
    outcome: StageOutcome


class ExpireStage(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: a stage took longer than allowed."""

    job_id: UUID
    stage: str
    attempt: int
    now: datetime


class RetryStage(Frozen, frozen=True, kw_only=True, tag=True):
    """From the scheduler itself: what this attempt left was lost before it was copied; run the stage again."""

    job_id: UUID
    stage: str
    attempt: int
    reason: str


# -- events of projects ----------------------------------------------------------------------------------


class ProjectCreated(Frozen, frozen=True, kw_only=True, tag="project.created.v1"):
    """A project exists."""

    project_id: UUID
    owner: str
    name: str
    top_module: str
    target_pdk: str
    description: str = ""


class ProjectUpdated(Frozen, frozen=True, kw_only=True, tag="project.updated.v1"):
    """What is not None changed."""

    name: str | None = None
    top_module: str | None = None
    target_pdk: str | None = None
    description: str | None = None


class FilesUploaded(Frozen, frozen=True, kw_only=True, tag="project.files_uploaded.v1"):
    """These files were added, or took the place of all (`replaced`)."""

    files: dict[str, FileRef]
    replaced: bool = False


class ProjectDeleted(Frozen, frozen=True, kw_only=True, tag="project.deleted.v1"):
    """The project is gone, and its name free."""

    by: str


# -- events of jobs --------------------------------------------------------------------------------------


class VerificationSubmitted(Frozen, frozen=True, kw_only=True, tag="verification.submitted.v1"):
    """A job waits for a builder."""

    job_id: UUID
    project_id: UUID
    owner: str
    stages: tuple[str, ...]
    files_digest: str
    seed: int
    config_overrides: Json = field(default_factory=dict)


class VerificationStarted(Frozen, frozen=True, kw_only=True, tag="verification.started.v1"):
    """A builder took the job's first stage."""

    builder_id: str


class StageStarted(Frozen, frozen=True, kw_only=True, tag="verification.stage_started.v1"):
    """A builder took a stage; again, if the one before died."""

    stage: str
    attempt: int
    builder_id: str
    deadline_at: datetime


class StageCompleted(Frozen, frozen=True, kw_only=True, tag="verification.stage_completed.v1"):
    """a stage has its outcome."""

    stage: str
    attempt: int
    outcome: StageOutcome


class StageRetried(Frozen, frozen=True, kw_only=True, tag="verification.stage_retried.v1"):
    """A stage runs again, as this attempt."""

    stage: str
    attempt: int
    reason: str


class VerificationPassed(Frozen, frozen=True, kw_only=True, tag="verification.completed.v1"):
    """Every stage passed or was skipped."""

    summary: Json = field(default_factory=dict)


class VerificationFailed(Frozen, frozen=True, kw_only=True, tag="verification.failed.v1"):
    """A stage failed (`verification_failed`) or reached no verdict (its own code)."""

    code: str
    message: str
    summary: Json = field(default_factory=dict)


class VerificationCancelled(Frozen, frozen=True, kw_only=True, tag="verification.cancelled.v1"):
    """The job was stopped."""

    by: str


ProjectCommand = CreateProject | UpdateProject | UploadFiles | DeleteProject
JobCommand = (
    SubmitVerification | CancelVerification | ReportStageStarted | ReportStageCompleted | ExpireStage | RetryStage
)
VerificationCommand = ProjectCommand | JobCommand
ProjectEvent = ProjectCreated | ProjectUpdated | FilesUploaded | ProjectDeleted
JobEvent = (
    VerificationSubmitted
    | VerificationStarted
    | StageStarted
    | StageCompleted
    | StageRetried
    | VerificationPassed
    | VerificationFailed
    | VerificationCancelled
)
VerificationEvent = ProjectEvent | JobEvent


def project_stream(project_id: UUID) -> str:
    """The stream of a project."""
    return f"project-{project_id}"


def verification_stream(job_id: UUID) -> str:
    """The stream of a verification job."""
    return f"verification-{job_id}"


def shown_id(prefix: str, ident: UUID) -> str:
    """An id as callers see it: `job_` and 32 hexadecimal digits."""
    return f"{prefix}{ident.hex}"


def parse_shown(prefix: str, text: str) -> UUID | None:
    """The id in such a text, None if it is none."""
    if not text.startswith(prefix):
        return None
    digits = text.removeprefix(prefix)
    if len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        return None
    return UUID(digits)
