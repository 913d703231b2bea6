"""A verification job: stages over one file set, one after another.

Theory. A job is `queued` until a builder takes its first stage, then `running` until its last stage has an outcome, or
somebody cancels it. Every stage gets an outcome: a failed stage, or one that could not be carried out, does not stop
the later ones. A report names its stage and attempt; one about anything but the stage in hand is refused
(`stale_attempt`), so a builder that was thought dead changes nothing. `passed` means that no stage failed and none
ended without a verdict; `skipped` stages do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from lutlab_events import verification as v
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_events.values import Json
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Context, Rejected, crowds

STAGE_STARTS_MAX = 5
"""How often one attempt of a stage may be begun (each time after a builder died) until it is given up."""
STAGE_ATTEMPTS_MAX = 3
"""How often a stage is run again because what it left was lost."""

S = v.VerificationStatus
TRANSITIONS: Table[v.VerificationStatus] = {
    (START, v.VerificationSubmitted): (S.QUEUED,),
    (S.QUEUED, v.VerificationStarted): (S.RUNNING,),
    (S.RUNNING, v.StageStarted): (S.RUNNING,),
    (S.RUNNING, v.StageCompleted): (S.RUNNING,),
    (S.RUNNING, v.StageRetried): (S.RUNNING,),
    (S.RUNNING, v.VerificationPassed): (S.PASSED,),
    (S.RUNNING, v.VerificationFailed): (S.FAILED,),
    (S.QUEUED, v.VerificationCancelled): (S.CANCELLED,),
    (S.RUNNING, v.VerificationCancelled): (S.CANCELLED,),
}

PASSED, FAILED, SKIPPED, ERROR = "passed", "failed", "skipped", "error"
"""How a stage can end."""
GOOD = frozenset({PASSED, SKIPPED})
VERIFICATION_FAILED = "verification_failed"
STAGE_TIMEOUT = "stage_timeout"
STAGE_CRASHED = "stage_crashed"
STAGE_LOST = "stage_lost"


class StageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stage that began: when, and how it ended."""

    stage: str
    attempt: int
    started_at: datetime | None = None
    completed_at: datetime | None = None
    outcome: v.StageOutcome | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log says about one job.

    Attributes:
        number: log position of its first event.
        current: which of `stages` is next or under way; their number when all are through.
        attempt, starts: of the current stage; how many builders took this attempt.
        records: of the stages that began, in their order.
    """

    job_id: UUID
    number: int
    project_id: UUID
    owner: str
    site: str
    status: v.VerificationStatus
    stages: tuple[str, ...]
    config_overrides: Json
    files_digest: str
    seed: int
    correlation_id: UUID
    submitted_at: datetime
    updated_at: datetime
    version: int
    current: int = 0
    attempt: int = 1
    starts: int = 0
    builder_id: str | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    records: tuple[StageRecord, ...] = ()
    error_code: str | None = None
    error_message: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to the job any more."""
        return self.status in v.ENDED

    @property
    def stage(self) -> str | None:
        """The stage that is next or under way."""
        return self.stages[self.current] if self.current < len(self.stages) and not self.ended else None


# -- evolve ----------------------------------------------------------------------------------------------


def evolve(job: Verification | None, envelope: Happened) -> Verification:
    """The job after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    status = follow(TRANSITIONS, envelope.stream, START if job is None else job.status, event)
    if isinstance(event, v.VerificationSubmitted):
        return Verification(
            job_id=event.job_id,
            number=envelope.position,
            project_id=event.project_id,
            owner=event.owner,
            site=envelope.site,
            status=status,
            stages=event.stages,
            config_overrides=event.config_overrides,
            files_digest=event.files_digest,
            seed=event.seed,
            correlation_id=envelope.correlation_id,
            submitted_at=envelope.at,
            updated_at=envelope.at,
            version=envelope.version,
        )
    assert job is not None
    changed = EVOLVERS[type(event)](job, event, envelope.at)
    return replace(changed, status=status, version=envelope.version, updated_at=envelope.at)


def _stage_started(job: Verification, event: v.StageStarted, at: datetime) -> Verification:
    again = bool(job.records) and job.records[-1].stage == event.stage
    record = StageRecord(stage=event.stage, attempt=event.attempt, started_at=at)
    records = (*job.records[:-1], record) if again else (*job.records, record)
    return replace(
        job, records=records, starts=job.starts + 1, builder_id=event.builder_id, deadline_at=event.deadline_at
    )


def _stage_completed(job: Verification, event: v.StageCompleted, at: datetime) -> Verification:
    begun = bool(job.records) and job.records[-1].stage == event.stage
    record = job.records[-1] if begun else StageRecord(stage=event.stage, attempt=event.attempt)
    record = replace(record, completed_at=at, outcome=event.outcome)
    records = (*job.records[:-1], record) if begun else (*job.records, record)
    return replace(job, records=records, current=job.current + 1, attempt=1, starts=0, deadline_at=None)


def _stage_retried(job: Verification, event: v.StageRetried, at: datetime) -> Verification:
    return replace(job, attempt=event.attempt, starts=0, deadline_at=None)


def _ended(job: Verification, event: v.VerificationPassed | v.VerificationCancelled, at: datetime) -> Verification:
    return replace(job, completed_at=at, deadline_at=None)


def _failed(job: Verification, event: v.VerificationFailed, at: datetime) -> Verification:
    return replace(job, completed_at=at, deadline_at=None, error_code=event.code, error_message=event.message)


EVOLVERS: dict[type, Callable[[Verification, Any, datetime], Verification]] = {
    v.VerificationStarted: lambda job, event, at: replace(job, started_at=at, builder_id=event.builder_id),
    v.StageStarted: _stage_started,
    v.StageCompleted: _stage_completed,
    v.StageRetried: _stage_retried,
    v.VerificationPassed: _ended,
    v.VerificationFailed: _failed,
    v.VerificationCancelled: _ended,
}

# -- decide ----------------------------------------------------------------------------------------------

Decided = list[v.JobEvent] | Rejected


def decide(command: Any, job: Verification, context: Context) -> Decided:
    """What happens to `job`, or why nothing does. `command` is one of the classes in `DECIDERS`."""
    return DECIDERS[type(command)](command, job, context)


def submit(command: v.SubmitVerification, owner: str, open_jobs: int, own_jobs: int, context: Context) -> Decided:
    """Accept a job while fewer than the allowed numbers are open: of all, and of this owner.

    Args:
        owner: the project's.
    """
    refused = crowds(context.rules, owner, "verification jobs", open_jobs, own_jobs)
    if refused is not None:
        return refused
    return [
        v.VerificationSubmitted(
            job_id=command.job_id,
            project_id=command.project_id,
            owner=owner,
            stages=command.stages,
            files_digest=command.files_digest,
            seed=command.seed,
            config_overrides=command.config_overrides,
        )
    ]


def _cancel(command: v.CancelVerification, job: Verification, context: Context) -> Decided:
    shown = v.shown_id(v.JOB_PREFIX, job.job_id)
    if command.owner != job.owner and not command.is_admin:
        return Rejected(Rejection.NOT_YOUR_JOB, f"job {shown} belongs to {job.owner}, not to {command.owner}")
    if job.ended:
        return Rejected(Rejection.JOB_NOT_CANCELLABLE, f"job {shown} is {job.status.value}; it has ended")
    return [v.VerificationCancelled(by=command.owner)]


def _stale(job: Verification, stage: str, attempt: int) -> Rejected | None:
    """Why a report about this stage and attempt comes too late, None if it does not."""
    if job.ended:
        return Rejected(Rejection.STALE_ATTEMPT, f"job {job.job_id} is {job.status.value}; no stage of it runs")
    if (stage, attempt) != (job.stage, job.attempt):
        return Rejected(
            Rejection.STALE_ATTEMPT,
            f"job {job.job_id} is at {job.stage} attempt {job.attempt}; the report is about {stage} attempt {attempt}",
        )
    return None


def _report_started(command: v.ReportStageStarted, job: Verification, context: Context) -> Decided:
    stale = _stale(job, command.stage, command.attempt)
    if stale is not None:
        return stale
    if job.starts >= STAGE_STARTS_MAX:
        reason = f"{command.stage} was begun {job.starts} times and never ended, the last time by {job.builder_id}"
        return _completed(job, _without_verdict(STAGE_CRASHED, reason))
    return [
        *_beginning(job, command.builder_id),
        v.StageStarted(
            stage=command.stage,
            attempt=command.attempt,
            builder_id=command.builder_id,
            deadline_at=context.now + context.rules.stage_deadline,
        ),
    ]


def _report_completed(command: v.ReportStageCompleted, job: Verification, context: Context) -> Decided:
    return _stale(job, command.stage, command.attempt) or _completed(job, command.outcome)


def _expire(command: v.ExpireStage, job: Verification, context: Context) -> Decided:
    stale = _stale(job, command.stage, command.attempt)
    if stale is not None:
        return stale
    if job.deadline_at is None or command.now < job.deadline_at:
        return Rejected(Rejection.NOT_DUE, f"{command.stage} of job {job.job_id} may run until {job.deadline_at}")
    limit_s = context.rules.stage_deadline.total_seconds()
    return _completed(job, _without_verdict(STAGE_TIMEOUT, f"{command.stage} did not end within {limit_s:g} s"))


def _retry(command: v.RetryStage, job: Verification, context: Context) -> Decided:
    stale = _stale(job, command.stage, command.attempt)
    if stale is not None:
        return stale
    if job.attempt >= STAGE_ATTEMPTS_MAX:
        reason = f"what {command.stage} left was lost after each of {job.attempt} runs: {command.reason}"
        return _completed(job, _without_verdict(STAGE_LOST, reason))
    retried = v.StageRetried(stage=command.stage, attempt=job.attempt + 1, reason=command.reason)
    return [*_beginning(job), retried]


def _beginning(job: Verification, builder_id: str = "") -> list[v.JobEvent]:
    """A job begins with the first that is heard of its first stage, even if that is not its start."""
    return [] if job.started_at is not None else [v.VerificationStarted(builder_id=builder_id)]


def _without_verdict(code: str, reason: str) -> v.StageOutcome:
    return v.StageOutcome(status=ERROR, code=code, reason=reason)


def _completed(job: Verification, outcome: v.StageOutcome) -> list[v.JobEvent]:
    """The stage's outcome, and the job's after its last stage."""
    assert job.stage is not None
    done = v.StageCompleted(stage=job.stage, attempt=job.attempt, outcome=outcome)
    if job.current + 1 < len(job.stages):
        return [*_beginning(job), done]
    before = [(record.stage, record.outcome) for record in job.records if record.outcome is not None]
    return [*_beginning(job), done, _end([*before, (job.stage, outcome)])]


def _end(outcomes: list[tuple[str, v.StageOutcome]]) -> v.VerificationPassed | v.VerificationFailed:
    summary = summary_of(outcomes)
    bad = [(stage, outcome) for stage, outcome in outcomes if outcome.status not in GOOD]
    if not bad:
        return v.VerificationPassed(summary=summary)
    code = next((outcome.code for _, outcome in bad if outcome.status == ERROR and outcome.code), VERIFICATION_FAILED)
    told = "; ".join(f"{stage}: {outcome.reason or outcome.status}" for stage, outcome in bad)
    return v.VerificationFailed(code=code, message=told, summary=summary)


TOLD = ("tests_passed", "tests_failed", "properties_proven", "properties_failed", "properties_inconclusive")
"""What of the stages' summaries goes into the job's, under the same name."""


def summary_of(outcomes: list[tuple[str, v.StageOutcome]]) -> Json:
    """The numbers of a whole job, as webhooks tell them."""
    summary: Json = {"stages": {stage: outcome.status for stage, outcome in outcomes}}
    for stage, outcome in outcomes:
        summary |= {name: outcome.summary[name] for name in TOLD if name in outcome.summary}
        if stage == "lint":
            counts = {name: outcome.summary.get(name) for name in ("errors", "warnings")}
            summary |= {f"lint_{name}": count for name, count in counts.items() if count is not None}
        if stage == "crypto":
            areas = [area for area in outcome.summary.values() if isinstance(area, dict)]
            summary["crypto_checks_passed"] = sum(area.get("status") == PASSED for area in areas)
    return summary


DECIDERS: dict[type, Callable[[Any, Verification, Context], Decided]] = {
    v.CancelVerification: _cancel,
    v.ReportStageStarted: _report_started,
    v.ReportStageCompleted: _report_completed,
    v.ExpireStage: _expire,
    v.RetryStage: _retry,
}
