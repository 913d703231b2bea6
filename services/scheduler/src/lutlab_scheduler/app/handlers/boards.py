"""Handlers of commands about boards and sessions."""

from __future__ import annotations

from typing import Any

from lutlab_events import commands as c
from lutlab_events.ids import job_stream
from lutlab_events.values import BoardState, Json
from lutlab_scheduler.app.handlers.common import change_board, change_job, find_board, find_job, job_exists
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import job
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import LOST_CODE, AttachBoard, LoseBoard
from lutlab_scheduler.domain.job import AssignTo, Fail
from lutlab_scheduler.domain.outcome import Rejected


def _reset(command: c.ResetBoard | c.ReleaseSession, tx: Transaction) -> Json | Rejected:
    """Reset or release: the board agrees first, then the job that accompanies it is opened and assigned."""
    board = find_board(tx, command.fpga_id)
    if isinstance(board, Rejected):
        return board
    refused = job_exists(tx, command.job_id) or change_board(tx, board, command)
    if refused is not None:
        return refused
    decided = job.submit_reset(command)
    if isinstance(decided, Rejected):
        return decided
    tx.append(job_stream(command.job_id), decided)
    after = tx.world.board(board.fpga_id)
    opened = find_job(tx, command.job_id)
    assert after is not None and not isinstance(opened, Rejected)
    refused = change_job(tx, opened, _what_the_reset_job_does(after))
    if refused is not None:
        return refused
    return {"job_id": str(command.job_id), "fpga_id": command.fpga_id, "status": opened.status.value}


def _what_the_reset_job_does(board: Board) -> AssignTo | Fail:
    if board.state is not BoardState.LOST:
        return AssignTo(fpga_id=board.fpga_id, epoch=board.epoch)
    message = f"the session is over, but {board.name} cannot be reached; it is reset as soon as it is back"
    return Fail(code=LOST_CODE, message=message)


def _board_command(command: Any, tx: Transaction) -> Json | Rejected:
    """Whatever only concerns the board and the jobs on it."""
    board = find_board(tx, command.fpga_id)
    if isinstance(board, Rejected):
        return board
    return change_board(tx, board, command) or {}


def _board_lost(command: c.ReportBoardLost, tx: Transaction) -> Json | Rejected:
    board = find_board(tx, command.fpga_id)
    if isinstance(board, Rejected):
        return board
    return change_board(tx, board, LoseBoard(agent_id=command.agent_id, reason=command.message)) or {}


def _board_found(command: c.ReportBoardFound, tx: Transaction) -> Json | Rejected:
    board = find_board(tx, command.fpga_id)
    if isinstance(board, Rejected):
        return board
    return change_board(tx, board, AttachBoard(agent_id=command.agent_id, report=command.report)) or {}


HANDLERS: dict[type, Any] = {
    c.ResetBoard: _reset,
    c.ReleaseSession: _reset,
    c.ReportBoardLost: _board_lost,
    c.ReportBoardFound: _board_found,
    c.ReportProgrammed: _board_command,
    c.ReportProgramFailed: _board_command,
    c.ReportSessionUsed: _board_command,
    c.ExpireSession: _board_command,
    c.ExpireDeadline: _board_command,
    c.RetryReset: _board_command,
    c.WithdrawBoard: _board_command,
    c.ReturnBoard: _board_command,
    c.ForgetBoard: _board_command,
    c.CheckBoard: _board_command,
}
