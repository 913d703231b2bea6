"""Handlers of commands about jobs and their builds."""

from __future__ import annotations

from typing import Any

from lutlab_events import commands as c
from lutlab_events.ids import job_stream
from lutlab_events.rejections import Rejection
from lutlab_events.values import JobStatus, Json
from lutlab_scheduler.app.handlers.common import change_board, change_job, find_board, find_job, job_exists
from lutlab_scheduler.app.storage import instead
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import job
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import ClaimBoard, NoteBuildStarted, ProgramBoard
from lutlab_scheduler.domain.job import Fail, Job, JobState
from lutlab_scheduler.domain.matching import default_profile, holder, is_gone
from lutlab_scheduler.domain.outcome import Rejected


def _submit_build(command: c.SubmitBuild, tx: Transaction) -> Json | Rejected:
    taken = job_exists(tx, command.job_id)
    if taken is not None:
        return taken
    pinned = None if command.fpga_id is None else find_board(tx, command.fpga_id)
    if isinstance(pinned, Rejected):
        return pinned
    profile = _profile(command, pinned, tx)
    if isinstance(profile, Rejected):
        return profile
    unfit = _unfit(command, pinned, profile, tx)
    if unfit is not None:
        return unfit
    owner_builds = tx.world.open_builds_of(command.owner)
    decided = job.submit_build(command, profile, tx.world.open_builds(), tx.context, owner_builds)
    if isinstance(decided, Rejected):
        return decided
    full = tx.keep(command.owner, at_least=1)
    if full is not None:
        return full
    tx.append(job_stream(command.job_id), decided)
    if pinned is not None:
        claim = ClaimBoard(job_id=command.job_id, owner=command.owner, job_created_at=tx.now)
        refused = change_board(tx, pinned, claim)
        if refused is not None:
            return refused
    return {"job_id": str(command.job_id), "fpga_id": command.fpga_id, "status": JobStatus.QUEUED.value}


def _unfit(command: c.SubmitBuild, pinned: Board | None, profile: str, tx: Transaction) -> Rejected | None:
    """Why no board could ever take the job, as far as is known now; and the owner's limit for a board named at once."""
    wanted = set(command.labels)
    boards = tx.world.boards() if pinned is None else [pinned]
    if wanted and not any(b.profile == profile and wanted <= set(b.labels) and not is_gone(b) for b in boards):
        which = "no board" if pinned is None else pinned.name
        told = ", ".join(sorted(wanted))
        what = f"{which} of profile {profile} has the labels {told}; GET /fpga lists boards with their labels"
        return Rejected(Rejection.NO_SUCH_BOARD, what)
    held = sum(holder(b) == command.owner for b in tx.world.boards()) if pinned is not None else 0
    if held >= tx.rules.owner_boards_max:
        return Rejected(
            Rejection.OWNER_LIMIT,
            f"{command.owner} has {held} boards, the limit is {tx.rules.owner_boards_max}; release one first",
        )
    return None


def _profile(command: c.SubmitBuild, pinned: Board | None, tx: Transaction) -> str | Rejected:
    """What to build for: what was asked, else what the board is, else what most boards are."""
    if pinned is None:
        return command.profile or default_profile(tx.world.boards(), tx.rules.default_profile)
    if command.profile not in {None, pinned.profile}:
        return Rejected(
            Rejection.UNKNOWN_PROFILE,
            f"{pinned.name} is a {pinned.profile}, not a {command.profile}; leave the profile out",
        )
    return pinned.profile


def _cancel(command: c.CancelJob, tx: Transaction) -> Json | Rejected:
    found = find_job(tx, command.job_id)
    if isinstance(found, Rejected):
        return found
    return change_job(tx, found, command) or {}


def _report(command: Any, tx: Transaction) -> Json | Rejected:
    """A builder's report, or a timer's verdict on a build."""
    found = find_job(tx, command.job_id)
    if isinstance(found, Rejected):
        return found
    return change_job(tx, found, command) or _status(tx, found)


def _report_built(command: c.ReportBuildSucceeded, tx: Transaction) -> Json | Rejected:
    """The bitstream counts for the job's owner; without room for it the job fails."""
    decided = instead(command, tx.world, tx.storage, tx.rules)
    answer = _report(decided, tx)
    found = tx.world.job(command.job_id)
    if decided is command and found is not None and found.bitstream == command.bitstream:
        tx.keep(found.owner)
    return answer


def _status(tx: Transaction, found: Job) -> Json:
    """Where the job stands now; tells a builder whether its work is still wanted."""
    after = tx.world.job(found.job_id)
    assert after is not None
    return {"job_id": str(after.job_id), "status": after.status.value}


def _report_started(command: c.ReportBuildStarted, tx: Transaction) -> Json | Rejected:
    found = find_job(tx, command.job_id)
    if isinstance(found, Rejected):
        return found
    refused = change_job(tx, found, command)
    if refused is not None:
        return refused
    pinned = None if found.pinned_fpga_id is None else tx.world.board(found.pinned_fpga_id)
    if pinned is not None:
        refused = change_board(tx, pinned, NoteBuildStarted(job_id=found.job_id))
    return refused or _status(tx, found)


def _assign_board(command: c.AssignBoard, tx: Transaction) -> Json | Rejected:
    found = find_job(tx, command.job_id)
    board = find_board(tx, command.fpga_id)
    if isinstance(found, Rejected):
        return found
    if isinstance(board, Rejected):
        return board
    if found.state is not JobState.BUILT or found.bitstream is None:
        return Rejected(Rejection.NOTHING_TO_DO, f"job {found.job_id} is {found.state.value}; it needs no board")
    program = ProgramBoard(
        job_id=found.job_id,
        owner=found.owner,
        job_created_at=found.created_at,
        session_id=command.session_id,
        bitstream=found.bitstream,
    )
    refused = change_board(tx, board, program)
    if refused is not None and refused.code is Rejection.UNKNOWN_PROFILE:
        # The board a job was submitted to is of another model by now: the job can never run there.
        refused = change_job(tx, found, Fail(code=job.WRONG_PROFILE, message=refused.message))
    return refused or {"job_id": str(found.job_id), "fpga_id": board.fpga_id}


def _record_run(command: c.RecordRun, tx: Transaction) -> Json | Rejected:
    refused = job_exists(tx, command.job_id)
    board = find_board(tx, command.fpga_id)
    if isinstance(board, Rejected):
        return board
    refused = refused or change_board(tx, board, command)
    if refused is not None:
        return refused
    decided = job.record_run(command)
    if isinstance(decided, Rejected):
        return decided
    tx.append(job_stream(command.job_id), decided)
    status = JobStatus.COMPLETE if command.failure is None else JobStatus.FAILED
    return {"job_id": str(command.job_id), "fpga_id": command.fpga_id, "status": status.value}


HANDLERS: dict[type, Any] = {
    c.SubmitBuild: _submit_build,
    c.CancelJob: _cancel,
    c.ReportBuildStarted: _report_started,
    c.ReportBuildStage: _report,
    c.ReportBuildSucceeded: _report_built,
    c.ReportBuildFailed: _report,
    c.ExpireBuild: _report,
    c.RetryBuild: _report,
    c.AssignBoard: _assign_board,
    c.RecordRun: _record_run,
}
