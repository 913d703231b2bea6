"""What handlers share: changing a board or a job, and the consequences of the one for the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from lutlab_events import events as e
from lutlab_events.ids import board_stream, job_stream
from lutlab_events.rejections import Rejection
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import board_decisions, job
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import AttachBoard, UnclaimBoard
from lutlab_scheduler.domain.consequences import consequences
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.outcome import Rejected


def find_board(tx: Transaction, fpga_id: int) -> Board | Rejected:
    """A board by its number, or the refusal."""
    found = tx.world.board(fpga_id)
    if found is None:
        return Rejected(Rejection.FPGA_NOT_FOUND, f"there is no fpga {fpga_id}; GET /fpga lists all boards")
    return found


def find_job(tx: Transaction, job_id: UUID) -> Job | Rejected:
    """A job by its id, or the refusal."""
    found = tx.world.job(job_id)
    if found is None:
        return Rejected(Rejection.JOB_NOT_FOUND, f"there is no job {job_id}; GET /jobs lists your jobs")
    return found


def job_exists(tx: Transaction, job_id: UUID) -> Rejected | None:
    """The refusal of a job id that is taken, None if it is free."""
    if tx.world.job(job_id) is None:
        return None
    return Rejected(Rejection.JOB_EXISTS, f"job {job_id} exists already; a new job needs a new id")


def change_board(tx: Transaction, board: Board, command: Any) -> Rejected | None:
    """Let the board decide, append what it decided, and tell its jobs. The refusal, None if there is none."""
    profile = command.report.profile if isinstance(command, AttachBoard) else board.profile
    decided = board_decisions.decide(command, board, tx.context, tx.world.base(profile))
    if isinstance(decided, Rejected):
        return decided
    tx.append(board_stream(board.fpga_id), decided)
    after = tx.world.board(board.fpga_id)
    assert after is not None
    for told in consequences(board, after, decided):
        found = tx.world.job(told.job_id)
        assert found is not None, f"{board.name} is held by job {told.job_id}, which is not in the ledger"
        refused = change_job(tx, found, told.command)
        if refused is not None:
            return refused
    return None


def change_job(tx: Transaction, found: Job, command: Any) -> Rejected | None:
    """Let the job decide, append what it decided, and free its board if it ended without needing it."""
    decided = job.decide(command, found, tx.context)
    if isinstance(decided, Rejected):
        return decided
    tx.append(job_stream(found.job_id), decided)
    for event in decided:
        if isinstance(event, e.JobFailed | e.JobCancelled):
            return unclaim(tx, found, event.code if isinstance(event, e.JobFailed) else "cancelled")
    return None


def unclaim(tx: Transaction, found: Job, reason: str) -> Rejected | None:
    """Give back the board that an ended job had claimed, if it had one."""
    board = None if found.pinned_fpga_id is None else tx.world.board(found.pinned_fpga_id)
    if board is None or found.job_id != (board.claim.job_id if board.claim else None):
        return None
    return change_board(tx, board, UnclaimBoard(job_id=found.job_id, reason=reason))
