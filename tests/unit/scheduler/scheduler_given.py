"""Given events, when a command, then events: what the scheduler's domain tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lutlab_events import events as e
from lutlab_events.envelope import EventEnvelope
from lutlab_events.events import Event
from lutlab_events.ids import derived
from lutlab_events.values import BitstreamRef, BoardReport, JobType, SessionEnd, Withdrawal
from lutlab_scheduler.domain import board as boards
from lutlab_scheduler.domain import job as jobs
from lutlab_scheduler.domain.outcome import Context, Rules

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(hours=1)
LOAD = timedelta(seconds=90)
BUILD = timedelta(minutes=30)
PROFILE = "lfe5u-25f"
RULES = Rules(
    session_ttl=TTL,
    program_deadline=LOAD,
    build_deadline=BUILD,
    queue_jobs_max=3,
    profiles=frozenset({PROFILE, "lfe5um5g-85f"}),
    default_profile=PROFILE,
)
NOW = T0 + timedelta(minutes=1)
CONTEXT = Context(NOW, RULES)
JOB, OTHER_JOB, RESET_JOB = derived("job"), derived("other job"), derived("reset job")
SESSION = derived("session")
AGENT = "bench"


def bits(name: str, profile: str = PROFILE) -> BitstreamRef:
    return BitstreamRef(
        digest=name.ljust(64, "0"),
        size_bytes=100,
        build_key=name,
        build_id=len(name),
        profile=profile,
        clk_hz=50_000_000,
        baud=1_000_000,
    )


USER, BASE = bits("user"), bits("base!")


def report(build_id: int | None = None, epoch: int = 0, **more: Any) -> BoardReport:
    fields: dict[str, Any] = {"board_key": "b3", "profile": PROFILE}
    return BoardReport(**(fields | {"running_build_id": build_id, "epoch": epoch} | more))


def fold(evolve: Callable[[Any, EventEnvelope], Any], stream: str, events: Sequence[Event]) -> Any:
    """The aggregate after these events, the first at T0, one second apart."""
    state = None
    for envelope in envelopes(stream, events):
        state = evolve(state, envelope)
    return state


def envelopes(stream: str, events: Sequence[Event]) -> list[EventEnvelope]:
    """These events as they are recorded, the first at T0, one second apart."""
    return [
        EventEnvelope(
            position=index + 1,
            event_id=derived(stream, index),
            stream=stream,
            version=index + 1,
            body=body,
            causation_id=UUID(int=0),
            correlation_id=UUID(int=1),
            actor="test",
            site="main",
            at=T0 + timedelta(seconds=index),
        )
        for index, body in enumerate(events)
    ]


def board(events: Sequence[Event]) -> boards.Board:
    result: boards.Board = fold(boards.evolve, "board-3", events)
    return result


def job(events: Sequence[Event]) -> jobs.Job:
    result: jobs.Job = fold(jobs.evolve, f"job-{JOB}", events)
    return result


# -- boards in every state ---------------------------------------------------------------------------


def claimed(job_id: UUID = JOB) -> e.BoardClaimed:
    return e.BoardClaimed(job_id=job_id, owner="ada", job_created_at=T0)


def programming(epoch: int = 1, job_id: UUID = JOB) -> e.ProgrammingStarted:
    return e.ProgrammingStarted(
        job_id=job_id,
        owner="ada",
        job_created_at=T0,
        session_id=SESSION,
        epoch=epoch,
        bitstream=USER,
        deadline_at=T0 + LOAD,
    )


def reset_started(epoch: int, attempt: int = 1, base: BitstreamRef | None = BASE, job_id: UUID | None = None) -> Event:
    return e.ResetStarted(
        epoch=epoch,
        attempt=attempt,
        deadline_at=T0 + LOAD,
        bitstream=base,
        job_id=job_id,
        job_created_at=T0 if job_id else None,
    )


def reset_failed(epoch: int, attempt: int = 1) -> e.ResetFailed:
    return e.ResetFailed(epoch=epoch, attempt=attempt, code="cable", message="no cable")


REGISTERED = e.BoardRegistered(fpga_id=3, board_key="b3", agent_id=AGENT, profile=PROFILE)
PROGRAMMED = e.BoardProgrammed(
    job_id=JOB, owner="ada", session_id=SESSION, epoch=1, session_created_at=T0, session_expires_at=T0 + TTL
)
PROGRAMMING_FAILED = e.ProgrammingFailed(job_id=JOB, epoch=1, code="cable", message="no cable")
ENDED = e.SessionEnded(session_id=SESSION, owner="ada", reason=SessionEnd.RELEASED)
RESTORE = e.RestoreStarted(session_id=SESSION, epoch=2, bitstream=USER, deadline_at=T0 + LOAD)
RESTORE_FAILED = e.RestoreFailed(session_id=SESSION, epoch=2, code="cable", message="no cable")
LOST = e.BoardLost(agent_id=AGENT, reason="unplugged")
BUILD_STARTED = e.BoardBuildStarted(job_id=JOB)

MAINTENANCE = e.BoardWithdrawn(why=Withdrawal.MAINTENANCE, by="root", reason="new cable")
QUARANTINE = e.BoardWithdrawn(why=Withdrawal.QUARANTINE, by="scheduler", reason="it failed")

IDLE: list[Event] = [REGISTERED]
QUEUED = [*IDLE, claimed()]
BUILDING = [*QUEUED, BUILD_STARTED]
PROGRAMMING = [*IDLE, programming()]
RESERVED = [*PROGRAMMING, PROGRAMMED]
RESETTING = [*RESERVED, ENDED, reset_started(2, job_id=RESET_JOB)]
WAITING_FOR_BASE = [*RESERVED, ENDED, reset_started(2, base=None)]
RESTORING = [*RESERVED, RESTORE]
PROGRAM_ERROR = [*PROGRAMMING, PROGRAMMING_FAILED]
RESET_ERROR = [*RESETTING, reset_failed(2)]
RESTORE_ERROR = [*RESTORING, RESTORE_FAILED, ENDED]
RESTING_ERROR: list[Event] = [
    *RESETTING,
    reset_failed(2),
    reset_started(3, attempt=2, job_id=RESET_JOB),
    reset_failed(3, attempt=2),
    reset_started(4, attempt=3, job_id=RESET_JOB),
    reset_failed(4, attempt=3),
]
BOARDS: dict[str, list[Event]] = {
    "idle": IDLE,
    "queued": QUEUED,
    "building": BUILDING,
    "programming": PROGRAMMING,
    "reserved": RESERVED,
    "resetting": RESETTING,
    "waiting-for-base": WAITING_FOR_BASE,
    "restoring": RESTORING,
    "program-error": PROGRAM_ERROR,
    "reset-error": RESET_ERROR,
    "restore-error": RESTORE_ERROR,
    "resting-error": RESTING_ERROR,
    "lost-idle": [*IDLE, LOST],
    "lost-queued": [*QUEUED, LOST],
    "lost-building": [*BUILDING, LOST],
    "lost-programming": [*PROGRAM_ERROR, LOST],
    "lost-reserved": [*RESERVED, LOST],
    "lost-restoring": [*RESTORING, LOST],
    "lost-resetting": [*RESET_ERROR, LOST],
    "lost-resting": [*RESTING_ERROR, LOST],
}

# -- jobs in every state -----------------------------------------------------------------------------


def submitted(**more: Any) -> e.JobSubmitted:
    fields: dict[str, Any] = {
        "job_id": JOB,
        "job_type": JobType.BUILD_AND_PROGRAM,
        "owner": "ada",
        "source_digest": "5" * 64,
        "filename": "design.v",
        "profile": PROFILE,
    }
    return e.JobSubmitted(**(fields | more))


def build_started(attempt: int = 1, builder: str = "builder-1") -> e.BuildStarted:
    return e.BuildStarted(attempt=attempt, builder_id=builder, deadline_at=T0 + BUILD)


JOB_QUEUED: list[Event] = [submitted()]
JOB_PINNED: list[Event] = [submitted(fpga_id=3)]
JOB_BUILDING = [*JOB_QUEUED, build_started()]
JOB_BUILT = [*JOB_BUILDING, e.BuildSucceeded(attempt=1, bitstream=USER, report={}, cached=False)]
JOB_ON_BOARD = [*JOB_BUILT, e.JobBoardAssigned(fpga_id=3, epoch=1)]
JOB_COMPLETE = [*JOB_ON_BOARD, e.JobCompleted(result={"fpga_id": 3})]
JOB_FAILED = [*JOB_BUILDING, e.JobFailed(code="synthesis_failed", message="line 3")]
JOB_CANCELLED = [*JOB_QUEUED, e.JobCancelled(by="ada")]
JOB_RESET: list[Event] = [submitted(job_type=JobType.RESET, source_digest=None, filename=None, profile=None, fpga_id=3)]
JOBS: dict[str, list[Event]] = {
    "queued": JOB_QUEUED,
    "pinned": JOB_PINNED,
    "building": JOB_BUILDING,
    "built": JOB_BUILT,
    "on-board": JOB_ON_BOARD,
    "complete": JOB_COMPLETE,
    "failed": JOB_FAILED,
    "cancelled": JOB_CANCELLED,
    "reset": JOB_RESET,
}
