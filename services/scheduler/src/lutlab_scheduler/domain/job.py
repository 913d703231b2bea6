"""A job: one thing a user asked for, from its acceptance to its only end.

Theory. Three kinds share one life: a *build* is built (in numbered attempts), waits for a board, and is programmed; a
*reset* goes to its board at once; a *run* is recorded when it is already over. Ends are final: no event leads out of
`complete`, `failed` or `cancelled`, so a late report can only be refused. A report names its attempt; one about another
attempt is refused (`stale_attempt`). Jobs queue by `number`, the log position of their first event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_events.values import BitstreamRef, JobStatus, JobType, Json
from lutlab_scheduler.domain.machine import START, Table, follow, only
from lutlab_scheduler.domain.outcome import BUILD_ATTEMPTS_MAX, BUILD_STARTS_MAX, Context, Rejected, crowds


class JobState(StrEnum):
    """Where a job stands, finer than its public status."""

    QUEUED = "queued"
    BUILDING = "building"
    BUILT = "built"
    ON_BOARD = "on_board"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


J = JobState

TRANSITIONS: Table[JobState] = {
    (START, e.JobSubmitted): (J.QUEUED,),
    (START, e.RunRecorded): (J.COMPLETE, J.FAILED),
    (J.QUEUED, e.BuildStarted): (J.BUILDING,),
    (J.BUILDING, e.BuildStarted): (J.BUILDING,),
    (J.BUILDING, e.BuildStageEntered): (J.BUILDING,),
    (J.QUEUED, e.BuildSucceeded): (J.BUILT,),
    (J.BUILDING, e.BuildSucceeded): (J.BUILT,),
    (J.QUEUED, e.BuildRetried): (J.QUEUED,),
    (J.BUILDING, e.BuildRetried): (J.QUEUED,),
    # A reset job goes to its board without a build.
    (J.QUEUED, e.JobBoardAssigned): (J.ON_BOARD,),
    (J.BUILT, e.JobBoardAssigned): (J.ON_BOARD,),
    (J.ON_BOARD, e.JobCompleted): (J.COMPLETE,),
    (J.QUEUED, e.JobFailed): (J.FAILED,),
    (J.BUILDING, e.JobFailed): (J.FAILED,),
    (J.BUILT, e.JobFailed): (J.FAILED,),
    (J.ON_BOARD, e.JobFailed): (J.FAILED,),
    (J.QUEUED, e.JobCancelled): (J.CANCELLED,),
    (J.BUILDING, e.JobCancelled): (J.CANCELLED,),
    (J.BUILT, e.JobCancelled): (J.CANCELLED,),
}
ONLY = only(TRANSITIONS)

ENDED = frozenset({J.COMPLETE, J.FAILED, J.CANCELLED})
STATUS: dict[JobState, JobStatus] = {
    J.QUEUED: JobStatus.QUEUED,
    J.BUILDING: JobStatus.RUNNING,
    J.BUILT: JobStatus.RUNNING,
    J.ON_BOARD: JobStatus.RUNNING,
    J.COMPLETE: JobStatus.COMPLETE,
    J.FAILED: JobStatus.FAILED,
    J.CANCELLED: JobStatus.CANCELLED,
}
BUILD_TIMEOUT = "build_timeout"
BUILD_CRASHED = "build_crashed"
BUILD_LOST = "build_lost"
WRONG_PROFILE = "wrong_profile"


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log says about one job.

    Attributes:
        number: log position of its first event: its place in the queue.
        site: the lab it was submitted to; its builds go to that lab's builders.
        pinned_fpga_id: the board it was submitted to (older generation).
        labels: labels its board must have.
        priority: higher gets a board first.
        fpga_id: the board it runs or ran on.
        attempt: the current build attempt, from 1; 0 for jobs without a build.
        starts: how many builders took this attempt.
        deadline_at: until when the attempt under way may take.
    """

    job_id: UUID
    number: int
    type: JobType
    state: JobState
    owner: str
    site: str
    correlation_id: UUID
    created_at: datetime
    updated_at: datetime
    version: int
    profile: str | None = None
    source_digest: str | None = None
    filename: str | None = None
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None
    pinned_fpga_id: int | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0
    fpga_id: int | None = None
    attempt: int = 0
    starts: int = 0
    builder_id: str | None = None
    build_stage: str | None = None
    deadline_at: datetime | None = None
    bitstream: BitstreamRef | None = None
    report: Json | None = None
    cached: bool | None = None
    result: Json | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_stage: str | None = None

    @property
    def status(self) -> JobStatus:
        """The public status."""
        return STATUS[self.state]

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to the job any more."""
        return self.state in ENDED


# -- evolve ------------------------------------------------------------------------------------------


def evolve(job: Job | None, envelope: Happened) -> Job:
    """The job after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    if job is None:
        return _first(envelope)
    state = ONLY.get((job.state, type(event))) or follow(TRANSITIONS, envelope.stream, job.state, event)
    changed = EVOLVERS[type(event)](job, event)
    return replace(changed, state=state, version=envelope.version, updated_at=envelope.at)


def _first(envelope: Happened) -> Job:
    event = envelope.body
    wanted = None
    if isinstance(event, e.RunRecorded):
        wanted = J.COMPLETE if event.failure is None else J.FAILED
    state = follow(TRANSITIONS, envelope.stream, START, event, wanted)
    if isinstance(event, e.RunRecorded):
        return _run_recorded(event, envelope, state)
    assert isinstance(event, e.JobSubmitted)
    is_build = event.job_type is JobType.BUILD_AND_PROGRAM
    return Job(
        job_id=event.job_id,
        number=envelope.position,
        type=event.job_type,
        state=state,
        owner=event.owner,
        site=envelope.site,
        correlation_id=envelope.correlation_id,
        created_at=envelope.at,
        updated_at=envelope.at,
        version=envelope.version,
        profile=event.profile,
        source_digest=event.source_digest,
        filename=event.filename,
        top=event.top,
        sys_clk_hz=event.sys_clk_hz,
        timing_target_mhz=event.timing_target_mhz,
        pinned_fpga_id=event.fpga_id,
        labels=event.labels,
        priority=event.priority,
        attempt=1 if is_build else 0,
    )


def _run_result(event: e.RunRecorded) -> Json:
    """What the view shows of a run; the words of a batch one operation behind the other, and each for itself."""
    result: Json = {
        "ok": event.failure is None,
        "data": list(event.data),
        "op": event.op,
        "address_bytes": event.address_bytes,
        "count": event.count,
        "fixed_address": event.fixed_address,
    }
    if event.ops:
        result["data"] = [word for step in event.ops for word in step.data]
        result["ops"] = [
            {
                "ok": step.failure is None,
                "data": list(step.data),
                "error": None if step.failure is None else msgspec.to_builtins(step.failure),
            }
            for step in event.ops
        ]
    return result


def _run_recorded(event: e.RunRecorded, envelope: Happened, state: JobState) -> Job:
    failure = event.failure
    return Job(
        job_id=event.job_id,
        number=envelope.position,
        type=JobType.RUN,
        state=state,
        owner=event.owner,
        site=envelope.site,
        correlation_id=envelope.correlation_id,
        created_at=envelope.at,
        updated_at=envelope.at,
        version=envelope.version,
        fpga_id=event.fpga_id,
        result=_run_result(event),
        error_code=failure.code if failure else None,
        error_message=failure.message if failure else None,
    )


def _build_started(job: Job, event: e.BuildStarted) -> Job:
    return replace(
        job, builder_id=event.builder_id, starts=job.starts + 1, deadline_at=event.deadline_at, build_stage=None
    )


def _build_succeeded(job: Job, event: e.BuildSucceeded) -> Job:
    return replace(job, bitstream=event.bitstream, report=event.report, cached=event.cached, deadline_at=None)


def _build_retried(job: Job, event: e.BuildRetried) -> Job:
    return replace(job, attempt=event.attempt, starts=0, builder_id=None, build_stage=None, deadline_at=None)


def _failed(job: Job, event: e.JobFailed) -> Job:
    return replace(job, error_code=event.code, error_message=event.message, error_stage=event.stage, deadline_at=None)


EVOLVERS: dict[type, Callable[[Job, Any], Job]] = {
    e.BuildStarted: _build_started,
    e.BuildStageEntered: lambda job, event: replace(job, build_stage=event.stage),
    e.BuildSucceeded: _build_succeeded,
    e.BuildRetried: _build_retried,
    e.JobBoardAssigned: lambda job, event: replace(job, fpga_id=event.fpga_id),
    e.JobCompleted: lambda job, event: replace(job, result=event.result),
    e.JobFailed: _failed,
    e.JobCancelled: lambda job, event: replace(job, deadline_at=None),
}


# -- decide ------------------------------------------------------------------------------------------

Decided = list[e.JobEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignTo:
    """Carry the job out on this board, under this epoch."""

    fpga_id: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The board did it."""

    result: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The board could not."""

    code: str
    message: str


def decide(command: Any, job: Job, context: Context) -> Decided:
    """What happens to `job`, or why nothing does. `command` is one of the classes in `DECIDERS`."""
    return DECIDERS[type(command)](command, job, context)


def submit_build(
    command: c.SubmitBuild, profile: str, open_builds: int, context: Context, own_builds: int = 0
) -> Decided:
    """Accept a build job for `profile` while fewer than the allowed numbers are open: of all, and of this owner."""
    if profile not in context.rules.profiles:
        known = ", ".join(sorted(context.rules.profiles))
        return Rejected(Rejection.UNKNOWN_PROFILE, f"no device profile {profile!r}; known profiles: {known}")
    refused = crowds(context.rules, command.owner, "build jobs", open_builds, own_builds)
    if refused is not None:
        return refused
    return [
        e.JobSubmitted(
            job_id=command.job_id,
            job_type=JobType.BUILD_AND_PROGRAM,
            owner=command.owner,
            source_digest=command.source_digest,
            filename=command.filename,
            top=command.top,
            sys_clk_hz=command.sys_clk_hz,
            timing_target_mhz=command.timing_target_mhz,
            fpga_id=command.fpga_id,
            profile=profile,
            labels=tuple(sorted(set(command.labels))),
            priority=command.priority,
        )
    ]


def submit_reset(command: c.ResetBoard | c.ReleaseSession) -> Decided:
    """Accept a reset job; the board has agreed already."""
    return [e.JobSubmitted(job_id=command.job_id, job_type=JobType.RESET, owner=command.owner, fpga_id=command.fpga_id)]


def record_run(command: c.RecordRun) -> Decided:
    """Record a run that is already over; the board has confirmed its session."""
    return [
        e.RunRecorded(
            job_id=command.job_id,
            owner=command.owner,
            fpga_id=command.fpga_id,
            session_id=command.session_id,
            op=command.op,
            address_bytes=command.address_bytes,
            count=command.count,
            fixed_address=command.fixed_address,
            data=command.data,
            failure=command.failure,
            ops=command.ops,
        )
    ]


def _cancel(command: c.CancelJob, job: Job, context: Context) -> Decided:
    if command.fpga_id is not None and command.fpga_id not in {job.pinned_fpga_id, job.fpga_id}:
        return Rejected(Rejection.JOB_NOT_FOUND, f"job {job.job_id} is not on fpga {command.fpga_id}")
    if not command.is_admin and command.owner != job.owner:
        return Rejected(Rejection.NOT_YOUR_JOB, f"job {job.job_id} belongs to {job.owner}, not to {command.owner}")
    cancellable = {J.QUEUED} if command.fpga_id is not None else {J.QUEUED, J.BUILDING, J.BUILT}
    if job.state not in cancellable:
        way_out = "it has ended" if job.ended else "wait for it to end"
        if job.state in {J.BUILDING, J.BUILT}:
            way_out = f"DELETE /jobs/{job.job_id} also cancels jobs that are being built"
        return Rejected(
            Rejection.JOB_NOT_CANCELLABLE, f"job {job.job_id} is {job.state.value} and cannot be cancelled; {way_out}"
        )
    return [e.JobCancelled(by=command.owner)]


def _stale(job: Job, attempt: int) -> Rejected | None:
    """Why a report about build attempt `attempt` comes too late, None if it does not."""
    if attempt != job.attempt:
        return Rejected(
            Rejection.STALE_ATTEMPT, f"job {job.job_id} is at attempt {job.attempt}; the report is about {attempt}"
        )
    if job.state not in {J.QUEUED, J.BUILDING}:
        return Rejected(Rejection.STALE_ATTEMPT, f"job {job.job_id} is {job.state.value}; it is not being built")
    return None


def _report_started(command: c.ReportBuildStarted, job: Job, context: Context) -> Decided:
    stale = _stale(job, command.attempt)
    if stale is not None:
        return stale
    if job.starts >= BUILD_STARTS_MAX:
        message = f"the build was begun {job.starts} times and never finished, the last time by {job.builder_id}"
        return [e.JobFailed(code=BUILD_CRASHED, message=message, stage=job.build_stage)]
    return [
        e.BuildStarted(
            attempt=job.attempt,
            builder_id=command.builder_id,
            deadline_at=context.now + context.rules.build_deadline,
        )
    ]


def _report_stage(command: c.ReportBuildStage, job: Job, context: Context) -> Decided:
    stale = _stale(job, command.attempt)
    if stale is not None:
        return stale
    if job.state is not J.BUILDING or job.build_stage == command.stage:
        return Rejected(Rejection.NOTHING_TO_DO, f"job {job.job_id} is {job.state.value}, stage {job.build_stage}")
    return [e.BuildStageEntered(attempt=job.attempt, stage=command.stage)]


def _report_succeeded(command: c.ReportBuildSucceeded, job: Job, context: Context) -> Decided:
    stale = _stale(job, command.attempt)
    if stale is not None:
        return stale
    built_for = command.bitstream.profile
    if built_for != job.profile:
        return [e.JobFailed(code=WRONG_PROFILE, message=f"the bitstream is for {built_for}, the job for {job.profile}")]
    return [
        e.BuildSucceeded(attempt=job.attempt, bitstream=command.bitstream, report=command.report, cached=command.cached)
    ]


def _report_failed(command: c.ReportBuildFailed, job: Job, context: Context) -> Decided:
    return _stale(job, command.attempt) or [
        e.JobFailed(code=command.code, message=command.message, stage=command.stage)
    ]


def _expire_build(command: c.ExpireBuild, job: Job, context: Context) -> Decided:
    stale = _stale(job, command.attempt)
    if stale is not None:
        return stale
    if job.deadline_at is None or command.now < job.deadline_at:
        return Rejected(Rejection.NOT_DUE, f"job {job.job_id} may build until {job.deadline_at}")
    limit_s = context.rules.build_deadline.total_seconds()
    message = f"the build did not end within {limit_s:g} s; it was in stage {job.build_stage}"
    return [e.JobFailed(code=BUILD_TIMEOUT, message=message, stage=job.build_stage)]


def _retry_build(command: c.RetryBuild, job: Job, context: Context) -> Decided:
    stale = _stale(job, command.attempt)
    if stale is not None:
        return stale
    if job.attempt >= BUILD_ATTEMPTS_MAX:
        message = f"the bitstream was lost after each of {job.attempt} builds: {command.reason}"
        return [e.JobFailed(code=BUILD_LOST, message=message)]
    return [e.BuildRetried(attempt=job.attempt + 1, reason=command.reason)]


def _assign(command: AssignTo, job: Job, context: Context) -> Decided:
    ready = J.BUILT if job.type is JobType.BUILD_AND_PROGRAM else J.QUEUED
    if job.state is not ready:
        return Rejected(Rejection.NOTHING_TO_DO, f"job {job.job_id} is {job.state.value}; it needs no board")
    return [e.JobBoardAssigned(fpga_id=command.fpga_id, epoch=command.epoch)]


def _complete(command: Complete, job: Job, context: Context) -> Decided:
    return [] if job.ended else [e.JobCompleted(result=command.result)]


def _fail(command: Fail, job: Job, context: Context) -> Decided:
    return [] if job.ended else [e.JobFailed(code=command.code, message=command.message)]


DECIDERS: dict[type, Callable[[Any, Job, Context], Decided]] = {
    c.CancelJob: _cancel,
    c.ReportBuildStarted: _report_started,
    c.ReportBuildStage: _report_stage,
    c.ReportBuildSucceeded: _report_succeeded,
    c.ReportBuildFailed: _report_failed,
    c.ExpireBuild: _expire_build,
    c.RetryBuild: _retry_build,
    AssignTo: _assign,
    Complete: _complete,
    Fail: _fail,
}
