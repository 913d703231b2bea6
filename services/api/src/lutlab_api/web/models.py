"""Request and response bodies, as documented at /docs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, FailFast, Field, Strict

from lutlab_api.app.asking import Accepted as AcceptedValue
from lutlab_api.app.health import Health as HealthValue
from lutlab_api.app.keys import IssuedKey as IssuedKeyValue
from lutlab_api.app.keys import KeyWish
from lutlab_api.app.reads import Result as ResultValue
from lutlab_api.domain.views import BoardView, EventView, Failure, JobDetail, JobView, KeyView, SessionView
from lutlab_api.web.moments import Moment
from lutlab_events.values import JobStatus, JobType, Role, Scope
from lutlab_events.work import BuilderHeartbeat

StrictInt = Annotated[int, Strict()]
Words = Annotated[list[StrictInt], FailFast()]
"""Only the first that is wrong is told: of a body full of wrong ones all problems take a second of everybody's time."""
OWNER = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
TEXT = r"^[^\x00]*$"
"""Postgres takes no NUL."""
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
FpgaState = Literal["idle", "queued", "building", "programming", "reserved", "error"]


class Model(BaseModel):
    """Base of every body."""

    model_config = ConfigDict(frozen=True)


class ErrorDetail(Model):
    """What went wrong."""

    error: str = Field(description="stable code", examples=["fpga_not_idle"])
    message: str = Field(description="for a person: the offending value and the way out")
    job_id: UUID | None = Field(None, description="the job this is about, if there is one")


class ErrorBody(Model):
    """The body of every error."""

    detail: ErrorDetail


class ErrorV1Detail(Model):
    """What went wrong."""

    code: str = Field(description="stable code, see docs/errors.md", examples=["validation_error"])
    message: str = Field(description="for a person: the offending value and the way out")
    details: dict[str, Any] = Field(
        description="for programs: e.g. `field`, and `suggestion` where a valid value is near; `job_id`"
    )


class ErrorV1(Model):
    """The body of every error under /api/v1."""

    error: ErrorV1Detail


class Problem(Model):
    """Why a job or a board failed."""

    code: str = Field(description="stable code", examples=["does_not_fit"])
    message: str = Field(description="with the tool's own words, file and line where there are any")
    stage: str | None = Field(None, description="build stage it happened in", examples=["place-and-route"])

    @staticmethod
    def of(failure: Failure | None) -> Problem | None:
        """From the ledger's view."""
        return None if failure is None else Problem(code=failure.code, message=failure.message, stage=failure.stage)


class ToolHealth(Model):
    """A tool of verification."""

    available: bool
    version: str | None = None
    hint: str | None = Field(None, description="how to get it, where no builder has it")

    @staticmethod
    def of_all(builders: Sequence[BuilderHeartbeat]) -> dict[str, ToolHealth]:
        """The tools that builders have between them."""
        found: dict[str, ToolHealth] = {}
        for tool in (tool for builder in builders for tool in builder.tools):
            if tool.name not in found or (tool.available and not found[tool.name].available):
                found[tool.name] = ToolHealth(available=tool.available, version=tool.version, hint=tool.hint)
        return found


class BuilderHealth(Model):
    """A builder that was heard of lately."""

    builder_id: str
    slots: int
    busy: int


class Health(Model):
    """Whether requests can be served."""

    status: Literal["ok", "degraded"] = Field(description="`ok` if everything below is there")
    redis: bool = Field(description="the message bus answers (the reference's name for it; here it is NATS)")
    nats: bool = Field(description="the message bus answers")
    postgres: bool = Field(description="the ledger answers")
    scheduler: bool = Field(description="a scheduler takes commands")
    commands_waiting: int | None = Field(description="commands the scheduler has not taken yet")
    bootstrap: bool = Field(description="the configured first API key is known")
    version: str
    git_commit: str | None = None
    tools: dict[str, ToolHealth] = Field(description="tools of verification that builders have between them, by name")
    build_tools: dict[str, str] = Field(description="versions of the tools that made the newest build")
    builders: list[BuilderHealth] = Field(description="builders heard of in the last seconds")

    @staticmethod
    def of(
        health: HealthValue, version: str, git_commit: str | None, builders: Sequence[BuilderHeartbeat] = ()
    ) -> Health:
        """From the checks."""
        return Health(
            status="ok" if health.status == "ok" else "degraded",
            redis=health.nats,
            nats=health.nats,
            postgres=health.postgres,
            scheduler=health.scheduler,
            commands_waiting=health.commands_waiting,
            bootstrap=health.bootstrap,
            version=version,
            git_commit=git_commit,
            tools=ToolHealth.of_all(builders),
            build_tools=dict(health.tools),
            builders=[BuilderHealth(builder_id=b.builder_id, slots=b.slots, busy=b.busy) for b in builders],
        )


class Session(Model):
    """Somebody's right to a board; renewed by use."""

    session_id: UUID
    fpga_id: int
    owner: str
    created_at: datetime
    expires_at: datetime

    @staticmethod
    def of(session: SessionView) -> Session:
        """From the ledger's view."""
        return Session(
            session_id=session.session_id,
            fpga_id=session.fpga_id,
            owner=session.owner,
            created_at=session.created_at,
            expires_at=session.expires_at,
        )


class Fpga(Model):
    """A board."""

    fpga_id: int = Field(examples=[3])
    state: FpgaState = Field(description="a board being reset or restored is `programming`, an unreachable one `error`")
    owner: str | None = Field(description="who has it", examples=["ada"])
    session: Session | None
    current_job_id: UUID | None
    current_job_created_at: datetime | None
    profile: str = Field(description="device profile", examples=["lfe5u-25f"])
    online: bool = Field(description="it can be reached")
    labels: list[str]
    error: Problem | None = Field(None, description="why it is in `error`, or what its reset waits for")

    @staticmethod
    def of(board: BoardView) -> Fpga:
        """From the ledger's view."""
        return Fpga.model_validate(
            {
                "fpga_id": board.fpga_id,
                "state": board.public_state,
                "owner": board.owner,
                "session": None if board.session is None else Session.of(board.session),
                "current_job_id": board.current_job_id,
                "current_job_created_at": board.current_job_created_at,
                "profile": board.profile,
                "online": board.online,
                "labels": list(board.labels),
                "error": Problem.of(board.error),
            }
        )


def _job_fields(job: JobView) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "fpga_id": job.fpga_id,
        "type": job.type,
        "status": job.public_status,
        "build_stage": job.public_stage,
        "owner": job.owner,
        "profile": job.profile,
        "error": Problem.of(job.failure),
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


class Job(Model):
    """A job."""

    job_id: UUID
    fpga_id: int | None = Field(description="its board; null until it has one")
    type: JobType
    status: JobStatus
    build_stage: str | None = Field(
        description="what a running build job is doing: `elaborate`, `synthesize`, `place-and-route`, `pack`, "
        "`wait-for-board` or `program`"
    )
    owner: str
    profile: str | None
    error: Problem | None = Field(description="why it failed")
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def of(job: JobView) -> Job:
        """From the ledger's view."""
        return Job.model_validate(_job_fields(job))


class JobWithReport(Job):
    """A job, with its build report once it is built."""

    report: dict[str, Any] | None = Field(description="fmax, utilization, warnings, toolchain, ... of the build")

    @staticmethod
    def of_detail(detail: JobDetail) -> JobWithReport:
        """From the ledger's view."""
        return JobWithReport.model_validate({**_job_fields(detail.job), "report": detail.report})


class JobDetails(JobWithReport):
    """A job with everything the ledger knows of it."""

    number: int = Field(description="its place in the queue: jobs get boards in this order")
    attempt: int = Field(description="build attempts so far")
    filename: str | None
    source_digest: str | None = Field(description="SHA-256 of the upload")
    top: str | None
    sys_clk_hz: int | None
    timing_target_mhz: float | None
    bitstream: dict[str, Any] | None = Field(description="digest, size, clock, build id, ... of the bitstream")
    cached: bool | None = Field(description="the bitstream was there already")
    correlation_id: UUID | None = Field(description="shared by everything the submitting request caused")
    result: dict[str, Any] | None
    queue_position: int | None = Field(None, description="1: the next to get a board; null: it does not wait")
    estimated_start_at: datetime | None = Field(None, description="when its turn for a board may come")

    @staticmethod
    def of_everything(detail: JobDetail) -> JobDetails:
        """From the ledger's view."""
        return JobDetails.model_validate(
            {
                **_job_fields(detail.job),
                "report": detail.report,
                "number": detail.job.number,
                "attempt": detail.attempt,
                "filename": detail.filename,
                "source_digest": detail.source_digest,
                "top": detail.top,
                "sys_clk_hz": detail.sys_clk_hz,
                "timing_target_mhz": detail.timing_target_mhz,
                "bitstream": detail.bitstream,
                "cached": detail.cached,
                "correlation_id": detail.correlation_id,
                "result": detail.job.result,
            }
        )


class Accepted(Model):
    """A job was accepted."""

    job_id: UUID
    fpga_id: int | None = Field(description="null until the job has a board")
    status: JobStatus

    @staticmethod
    def of(accepted: AcceptedValue) -> Accepted:
        """From the use case."""
        return Accepted(job_id=accepted.job_id, fpga_id=accepted.fpga_id, status=JobStatus(accepted.status))


class OpResult(Model):
    """How one operation of a batch went."""

    ok: bool
    data: list[int] = Field(
        description="words read or written; of a modify the word before, of a poll the one read last"
    )
    error: Problem | None = Field(None, description="why it is not ok; left out otherwise")


class Result(Model):
    """How a job went."""

    ok: bool
    data: list[int] = Field(description="words read, or words written; of a batch all of them; empty for other jobs")
    error: Problem | None = Field(None, description="why it is not ok, of a batch the first reason; else left out")
    ops: list[OpResult] | None = Field(None, description="of a batch: each operation; left out otherwise")

    @staticmethod
    def of(result: ResultValue) -> Result:
        """From the use case."""
        ops = [OpResult(ok=op.ok, data=list(op.data), error=Problem.of(op.failure)) for op in result.ops]
        return Result(ok=result.ok, data=list(result.data), error=Problem.of(result.failure), ops=ops or None)


class NewKey(Model):
    """Whose key to issue."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"owner": "ada", "label": "laptop"}]})

    owner: str = Field(pattern=OWNER, description="on whose behalf the key acts")
    role: Role = Field(Role.MEMBER, description="an admin's key also manages keys and acts for anyone")
    label: str = Field("", max_length=100, pattern=PRINTABLE, description="to recognise the key by")
    scopes: Annotated[list[Scope], Field(max_length=32)] | None = Field(
        None, description="what it is good for; left out: everything its role allows"
    )
    team: str | None = Field(None, pattern=OWNER, description="whose jobs its owner may read beside the own ones")
    expires_at: Moment | None = Field(None, description="when it stops working; left out: never")

    def wish(self) -> KeyWish:
        """For the use case."""
        return KeyWish(
            owner=self.owner,
            role=self.role,
            label=self.label,
            scopes=None if self.scopes is None else tuple(sorted(set(self.scopes))),
            team=self.team,
            expires_at=self.expires_at,
        )


class IssuedKey(Model):
    """A new key, shown this once."""

    api_key: str
    key_id: UUID
    owner: str
    role: Role
    label: str
    scopes: list[Scope]
    team: str | None
    expires_at: datetime | None

    @staticmethod
    def of(issued: IssuedKeyValue) -> IssuedKey:
        """From the use case."""
        wish = issued.wish
        return IssuedKey(
            api_key=issued.secret,
            key_id=issued.key_id,
            owner=wish.owner,
            role=wish.role,
            label=wish.label,
            scopes=sorted(wish.granted),
            team=wish.team,
            expires_at=wish.expires_at,
        )


class LoggedIn(Model):
    """A key got by logging in, shown this once."""

    api_key: str
    github_username: str
    owner: str
    expires_at: datetime | None


class Key(Model):
    """A key, without the key."""

    key_id: UUID
    owner: str
    role: Role
    label: str
    scopes: list[Scope]
    team: str | None
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to within a few seconds")
    rotated_until: datetime | None = Field(description="until when the secret before the last rotation works")
    revoked_at: datetime | None

    @staticmethod
    def of(key: KeyView) -> Key:
        """From the ledger's view."""
        return Key(
            key_id=key.key_id,
            owner=key.owner,
            role=key.role,
            label=key.label,
            scopes=sorted(key.scopes),
            team=key.team,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            rotated_until=key.previous_until,
            revoked_at=key.revoked_at,
        )


class Event(Model):
    """Something that happened."""

    position: int = Field(description="its place in the whole log, without gaps")
    stream: str = Field(examples=["board-3"])
    version: int = Field(description="its place in its stream")
    type: str = Field(examples=["board.programmed.v1"])
    at: datetime
    actor: str = Field(description="who caused it")
    correlation_id: UUID
    data: dict[str, Any]

    @staticmethod
    def of(event: EventView) -> Event:
        """From the ledger."""
        return Event(
            position=event.position,
            stream=event.stream,
            version=event.version,
            type=event.type,
            at=event.at,
            actor=event.actor,
            correlation_id=event.correlation_id,
            data=dict(event.data),
        )


class Events(Model):
    """A page of events, oldest first."""

    events: list[Event]
    next_after: int = Field(description="pass as `after` for the next page")

    @staticmethod
    def of(events: list[EventView], after: int) -> Events:
        """From the ledger."""
        return Events(events=[Event.of(event) for event in events], next_after=events[-1].position if events else after)


class GithubToken(Model):
    """What the reference's login sends."""

    github_token: str = Field(min_length=1, max_length=512)
