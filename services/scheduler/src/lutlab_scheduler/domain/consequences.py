"""What a board's change means for the jobs that depend on it; decided in the same transaction as the change."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from lutlab_events import events as e
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import WITHDRAWN_CODE
from lutlab_scheduler.domain.job import AssignTo, Complete, Fail

SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class ForJob:
    """What to ask of a job."""

    job_id: UUID
    command: AssignTo | Complete | Fail


def consequences(before: Board, after: Board, events: list[e.BoardEvent]) -> list[ForJob]:
    """What the jobs on a board are to be told.

    Args:
        before, after: the board before and after `events`.
    """
    result: list[ForJob] = []
    for event in events:
        if isinstance(event, e.ProgrammingStarted):
            result.append(ForJob(event.job_id, AssignTo(fpga_id=after.fpga_id, epoch=event.epoch)))
        elif isinstance(event, e.BoardProgrammed):
            done = {"fpga_id": after.fpga_id, "session_id": str(event.session_id)}
            result.append(ForJob(event.job_id, Complete(result=done)))
        elif isinstance(event, e.ProgrammingFailed):
            result.append(ForJob(event.job_id, Fail(code=event.code, message=event.message)))
        elif isinstance(event, e.BoardUnclaimed):
            # Mostly because the job has ended, and then this changes nothing.
            result.append(ForJob(event.job_id, Fail(code=WITHDRAWN_CODE, message=event.reason)))
    return result + _for_reset_job(before, after, events)


def _for_reset_job(before: Board, after: Board, events: list[e.BoardEvent]) -> list[ForJob]:
    """The reset job lives through repetitions; it ends when its reset is done, given up or replaced."""
    job_id = before.reset.job_id if before.reset else None
    if job_id is None:
        return []
    if any(isinstance(event, e.BoardReset) for event in events):
        return [ForJob(job_id, Complete())]
    carried = after.reset is not None and after.reset.job_id == job_id
    if carried:
        return []
    if after.reset is not None:
        message = f"another reset of {after.name} was asked for while this one waited to be repeated"
        return [ForJob(job_id, Fail(code=SUPERSEDED, message=message))]
    assert after.failure is not None
    return [ForJob(job_id, Fail(code=after.failure.code, message=after.failure.message))]
