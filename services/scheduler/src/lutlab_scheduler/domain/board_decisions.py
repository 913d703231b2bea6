"""What each command does to a board: `decide(command, board, context, base) -> events or a refusal`.

Commands from outside are those of `lutlab_events.commands`; those defined here are what other aggregates' decisions ask
of a board. Legality is checked by state, ownership by session; see `lutlab_scheduler.domain.board` for the theory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.rejections import Rejection
from lutlab_events.values import BitstreamRef, BoardReport, BoardState, SessionEnd, Withdrawal
from lutlab_scheduler.domain.board import Board, Session
from lutlab_scheduler.domain.outcome import HEALTH_CHECKS_TO_PASS, RENEWAL_PARTS, Context, Rejected

S = BoardState
Decided = list[e.BoardEvent] | Rejected
LOST_CODE = "board_lost"
TIMEOUT_CODE = "program_timeout"
WITHDRAWN_CODE = "board_withdrawn"
SELF = "scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBoard:
    """Set the board aside for a job that is still to be built."""

    job_id: UUID
    owner: str
    job_created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteBuildStarted:
    """The claiming job is being built."""

    job_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UnclaimBoard:
    """The claiming job ended."""

    job_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramBoard:
    """Load a job's bitstream and begin a session."""

    job_id: UUID
    owner: str
    job_created_at: datetime
    session_id: UUID
    bitstream: BitstreamRef


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachBoard:
    """An agent serves this board and found it as reported."""

    agent_id: str
    report: BoardReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseBoard:
    """The board cannot be reached any more."""

    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyBase:
    """The base design of the board's profile exists now."""

    bitstream: BitstreamRef


def decide(command: Any, board: Board, context: Context, base: BitstreamRef | None = None) -> Decided:
    """What happens to `board`, or why nothing does.

    Args:
        command: one of the classes in `DECIDERS`.
        base: the base design of the board's profile (as reported, if the command reports one), None while it is not
            built.
    """
    return DECIDERS[type(command)](command, board, context, base)


def _describe(board: Board) -> str:
    if board.absence is None:
        return f"{board.name} is {board.state.value}"
    reason = f" ({board.absence.reason})" if board.absence.reason else ""
    return f"{board.name} is {board.state.value}, in {board.absence.why.value}{reason}"


def _nothing(message: str) -> Rejected:
    return Rejected(Rejection.NOTHING_TO_DO, message)


def _start_reset(
    board: Board,
    context: Context,
    base: BitstreamRef | None,
    *,
    epoch: int | None = None,
    attempt: int = 1,
    job_id: UUID | None = None,
    job_created_at: datetime | None = None,
) -> e.ResetStarted:
    return e.ResetStarted(
        epoch=epoch or board.epoch + 1,
        attempt=attempt,
        deadline_at=context.now + context.rules.program_deadline,
        bitstream=base,
        job_id=job_id,
        job_created_at=job_created_at,
    )


def _end_session(session: Session, reason: SessionEnd) -> e.SessionEnded:
    return e.SessionEnded(session_id=session.session_id, owner=session.owner, reason=reason)


def _not_yours(board: Board, session: Session, owner: str, is_admin: bool) -> Rejected | None:
    if is_admin or session.owner == owner:
        return None
    return Rejected(
        Rejection.NOT_YOUR_SESSION,
        f"the session on {board.name} belongs to {session.owner}, not to {owner}; "
        f"it ends by {session.expires_at:%Y-%m-%dT%H:%M:%SZ} unless it is used",
    )


def _is_another(session: Session, meant: UUID | None) -> bool:
    """Whether a session is not the one that a command means, but began after that was sent."""
    return meant is not None and session.session_id != meant


# -- claims and programming --------------------------------------------------------------------------


def _waits_for(board: Board, job_id: UUID) -> bool:
    """Whether the board is set aside for this job and not being programmed yet."""
    return board.claim is not None and board.claim.job_id == job_id and board.state is not S.PROGRAMMING


def _claim(command: ClaimBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.absence is not None:
        return Rejected(Rejection.FPGA_NOT_IDLE, f"{_describe(board)}; it takes no jobs; GET /fpga lists boards")
    if board.state is not S.IDLE:
        return Rejected(
            Rejection.FPGA_NOT_IDLE, f"{_describe(board)}, not idle; GET /fpga lists boards with their state"
        )
    return [e.BoardClaimed(job_id=command.job_id, owner=command.owner, job_created_at=command.job_created_at)]


def _note_build(command: NoteBuildStarted, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if not _waits_for(board, command.job_id) or (board.claim and board.claim.building):
        return []
    return [e.BoardBuildStarted(job_id=command.job_id)]


def _unclaim(command: UnclaimBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if not _waits_for(board, command.job_id):
        return []
    return [e.BoardUnclaimed(job_id=command.job_id, reason=command.reason)]


def _program(command: ProgramBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    ours = board.state is not S.LOST and _waits_for(board, command.job_id)
    free = board.state is S.IDLE and board.absence is None
    if not free and not ours:
        return Rejected(
            Rejection.FPGA_NOT_IDLE, f"{_describe(board)}; it cannot be programmed for job {command.job_id}"
        )
    if board.profile != command.bitstream.profile:
        return Rejected(
            Rejection.UNKNOWN_PROFILE,
            f"{board.name} is a {board.profile}, but the bitstream is for {command.bitstream.profile}",
        )
    return [
        e.ProgrammingStarted(
            job_id=command.job_id,
            owner=command.owner,
            job_created_at=command.job_created_at,
            session_id=command.session_id,
            epoch=board.epoch + 1,
            bitstream=command.bitstream,
            deadline_at=context.now + context.rules.program_deadline,
        )
    ]


# -- what agents report ------------------------------------------------------------------------------


def _stale(board: Board, epoch: int) -> Rejected | None:
    """Why a report about the load of `epoch` comes too late, None if it does not."""
    if epoch != board.epoch:
        return Rejected(Rejection.STALE_EPOCH, f"{board.name} is at epoch {board.epoch}; the report is about {epoch}")
    if board.loading is None or board.loading.bitstream is None:
        return Rejected(Rejection.STALE_EPOCH, f"{_describe(board)}; nothing is being loaded under epoch {epoch}")
    return None


def _programmed(command: c.ReportProgrammed, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    stale = _stale(board, command.epoch)
    if stale is not None:
        return stale
    if board.state is S.RESETTING:
        return [e.BoardReset(epoch=board.epoch), *_healthy(board)]
    if board.state is S.RESTORING:
        assert board.session is not None
        return [e.BoardRestored(session_id=board.session.session_id, epoch=board.epoch)]
    assert board.claim is not None and board.loading is not None and board.loading.session_id is not None
    return [
        e.BoardProgrammed(
            job_id=board.claim.job_id,
            owner=board.claim.owner,
            session_id=board.loading.session_id,
            epoch=board.epoch,
            session_created_at=context.now,
            session_expires_at=context.now + min(context.rules.session_ttl, context.rules.session_max),
        )
    ]


def _healthy(board: Board) -> list[e.BoardEvent]:
    """What follows from a reset that worked: a quarantined board has passed a health check, maybe the last it needs."""
    absence = board.absence
    if absence is None or absence.why is not Withdrawal.QUARANTINE or absence.passed + 1 < HEALTH_CHECKS_TO_PASS:
        return []
    return [e.BoardReturned(by=SELF, reason=f"passed {HEALTH_CHECKS_TO_PASS} health checks in a row")]


def _fail_load(board: Board, code: str, message: str, context: Context) -> list[e.BoardEvent]:
    if board.state is S.RESETTING:
        assert board.reset is not None
        return [e.ResetFailed(epoch=board.epoch, attempt=board.reset.attempt, code=code, message=message)]
    if board.state is S.RESTORING:
        assert board.session is not None
        failed = e.RestoreFailed(session_id=board.session.session_id, epoch=board.epoch, code=code, message=message)
        return [failed, _end_session(board.session, SessionEnd.BOARD_FAILED)]
    assert board.claim is not None
    unloaded = e.ProgrammingFailed(job_id=board.claim.job_id, epoch=board.epoch, code=code, message=message)
    count = board.failures + 1
    if count < context.rules.quarantine_after or board.absence is not None:
        return [unloaded]
    reason = f"{count} loads in a row failed, the last with {code}: {message}"
    return [unloaded, e.BoardWithdrawn(why=Withdrawal.QUARANTINE, by=SELF, reason=reason)]


def _program_failed(
    command: c.ReportProgramFailed, board: Board, context: Context, base: BitstreamRef | None
) -> Decided:
    return _stale(board, command.epoch) or _fail_load(board, command.code, command.message, context)


def _expire_deadline(command: c.ExpireDeadline, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    stale = _stale(board, command.epoch)
    if stale is not None:
        return stale
    assert board.loading is not None
    if command.now < board.loading.deadline_at:
        return Rejected(Rejection.NOT_DUE, f"{board.name} may load until {board.loading.deadline_at.isoformat()}")
    limit_s = context.rules.program_deadline.total_seconds()
    message = (
        f"agent {board.agent_id} did not report the load of {board.name} (epoch {board.epoch}) within {limit_s:g} s"
    )
    return _fail_load(board, TIMEOUT_CODE, message, context)


def _attach(command: AttachBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    report = command.report
    epoch = max(board.epoch, report.epoch)
    profile = report.profile if report.profile != board.profile else None
    labels = report.labels if report.labels != board.labels else None
    events: list[e.BoardEvent] = []
    same = command.agent_id == board.agent_id and profile is None and labels is None and epoch == board.epoch
    if board.state is S.LOST or not same:
        events.append(
            e.BoardAttached(
                agent_id=command.agent_id,
                running_build_id=report.running_build_id,
                epoch=report.epoch,
                profile=profile,
                labels=labels,
            )
        )
    if board.absence is not None and board.absence.why is Withdrawal.REMOVED:
        events.append(e.BoardReturned(by=SELF, reason="it was found again"))
    if board.session is not None and board.state in {S.LOST, S.RESERVED} and not _intact(board, report):
        events.append(
            e.RestoreStarted(
                session_id=board.session.session_id,
                epoch=epoch + 1,
                bitstream=board.session.bitstream,
                deadline_at=context.now + context.rules.program_deadline,
            )
        )
    elif board.state is S.LOST and board.unclean:
        events.append(_start_reset(board, context, base, epoch=epoch + 1))
    elif profile is not None and base is not None and _waits_for_base(board):
        # It is of another model than we thought, and for that one the base design is there.
        deadline_at = context.now + context.rules.program_deadline
        events.append(e.ResetSupplied(epoch=epoch, bitstream=base, deadline_at=deadline_at))
    return events


def _waits_for_base(board: Board) -> bool:
    return board.state is S.RESETTING and board.loading is not None and board.loading.bitstream is None


def _intact(board: Board, report: BoardReport) -> bool:
    """Whether the session's design still runs, loaded by the newest load there was."""
    session = board.session
    return session is not None and report.running_build_id == session.bitstream.build_id and report.epoch == board.epoch


def _lose(command: LoseBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if command.agent_id != board.agent_id:
        return Rejected(
            Rejection.STALE_INCARNATION, f"{board.name} is served by agent {board.agent_id}, not by {command.agent_id}"
        )
    if board.state is S.LOST:
        return _nothing(f"{board.name} is lost already")
    lost = e.BoardLost(agent_id=command.agent_id, reason=command.reason)
    if board.state in {S.PROGRAMMING, S.RESETTING}:
        return [*_fail_load(board, LOST_CODE, command.reason, context), lost]
    return [lost]


# -- sessions ----------------------------------------------------------------------------------------


def _renewal(board: Board, session: Session, context: Context) -> list[e.BoardEvent]:
    """The session's renewal, unless it would move the end by too little to be worth an event."""
    ttl = context.rules.session_ttl
    expires_at = min(context.now + ttl, session.created_at + context.rules.session_max)
    if board.state is not S.RESERVED or expires_at - session.expires_at < ttl / RENEWAL_PARTS:
        return []
    return [e.SessionRenewed(session_id=session.session_id, expires_at=expires_at)]


def _session_used(command: c.ReportSessionUsed, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    session = board.session
    if session is None or session.session_id != command.session_id:
        return Rejected(Rejection.NO_ACTIVE_SESSION, f"{_describe(board)}; session {command.session_id} is not on it")
    if command.epoch != board.epoch:
        return Rejected(Rejection.STALE_EPOCH, f"{board.name} is at epoch {board.epoch}, not at {command.epoch}")
    return _renewal(board, session, context) or _nothing(f"session {session.session_id} was renewed just now")


def _record_run(command: c.RecordRun, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    """A run carried out under the session before is history too: its lease was checked when it ran."""
    for session in (board.session, board.past_session):
        if session is not None and session.session_id == command.session_id:
            refused = _not_yours(board, session, command.owner, command.is_admin)
            return refused or (_renewal(board, session, context) if session is board.session else [])
    return Rejected(
        Rejection.FPGA_NOT_RESERVED,
        f"{_describe(board)}, not reserved under session {command.session_id}; submit a design to get a session",
    )


def _release(command: c.ReleaseSession, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.session is None:
        return Rejected(
            Rejection.NO_ACTIVE_SESSION, f"{_describe(board)} and has no session; there is nothing to release"
        )
    if _is_another(board.session, command.session_id):
        return Rejected(
            Rejection.NO_ACTIVE_SESSION,
            f"the session on {board.name} that was to be released is over; the one there now began later and goes on",
        )
    refused = _not_yours(board, board.session, command.owner, command.is_admin)
    if refused is not None:
        return refused
    ended = _end_session(board.session, SessionEnd.RELEASED)
    if board.state is S.LOST:
        return [ended]
    return [ended, _start_reset(board, context, base, job_id=command.job_id, job_created_at=context.now)]


def _reset(command: c.ResetBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.state not in {S.RESERVED, S.ERROR}:
        return Rejected(
            Rejection.FPGA_NOT_RESETTABLE,
            f"{_describe(board)}; only a reserved or failed board can be reset; GET /fpga lists boards and states",
        )
    started = _start_reset(board, context, base, job_id=command.job_id, job_created_at=context.now)
    if board.session is None:
        return [started]
    if _is_another(board.session, command.session_id):
        return Rejected(
            Rejection.FPGA_NOT_RESETTABLE,
            f"a session began on {board.name} after its reset was asked for; ask again to end it",
        )
    return _not_yours(board, board.session, command.owner, command.is_admin) or [
        _end_session(board.session, SessionEnd.RESET),
        started,
    ]


def _expire_session(command: c.ExpireSession, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    session = board.session
    if session is None or session.session_id != command.session_id:
        return Rejected(Rejection.NO_ACTIVE_SESSION, f"{_describe(board)}; session {command.session_id} is over")
    if command.now < session.expires_at:
        return Rejected(Rejection.NOT_DUE, f"session {session.session_id} lasts until {session.expires_at.isoformat()}")
    ended = _end_session(session, SessionEnd.EXPIRED)
    return [ended] if board.state is S.LOST else [ended, _start_reset(board, context, base)]


# -- resets ------------------------------------------------------------------------------------------


def _retry_reset(command: c.RetryReset, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.state is not S.ERROR or board.retry_at is None:
        return _nothing(f"{_describe(board)}; no reset is to be repeated")
    if command.failed_epoch != board.epoch:
        return Rejected(Rejection.STALE_EPOCH, f"{board.name} is at epoch {board.epoch}, not at {command.failed_epoch}")
    if board.reset is None:
        return [_start_reset(board, context, base)]
    last = board.reset
    return [
        _start_reset(
            board, context, base, attempt=last.attempt + 1, job_id=last.job_id, job_created_at=last.job_created_at
        )
    ]


def _supply(command: SupplyBase, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if not _waits_for_base(board) or board.profile != command.bitstream.profile:
        return []
    deadline_at = context.now + context.rules.program_deadline
    return [e.ResetSupplied(epoch=board.epoch, bitstream=command.bitstream, deadline_at=deadline_at)]


# -- out of service and back -------------------------------------------------------------------------


def _withdraw(command: c.WithdrawBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    """Drain, or with `kick` clear, a board: also of a job that is still on its way to it.

    A quarantine becomes maintenance: an admin has it in hand now.
    """
    events: list[e.BoardEvent] = []
    absence = board.absence
    if absence is None or absence.why is not Withdrawal.MAINTENANCE or absence.reason != command.reason:
        events.append(e.BoardWithdrawn(why=Withdrawal.MAINTENANCE, by=command.owner, reason=command.reason))
    if command.kick and board.session is not None:
        events.append(_end_session(board.session, SessionEnd.WITHDRAWN))
        if board.state is not S.LOST:
            events.append(_start_reset(board, context, base))
    elif command.kick and board.claim is not None:
        events.append(_take_from(board, board.claim.job_id, command.reason))
    return events or _nothing(f"{_describe(board)} already")


def _take_from(board: Board, job_id: UUID, reason: str) -> e.BoardEvent:
    """Take the board away from the job whose session has not begun. What was being loaded is made undone by a reset."""
    told = f"{board.name} was taken out of service" + (f": {reason}" if reason else "")
    if board.state is S.PROGRAMMING:
        return e.ProgrammingFailed(job_id=job_id, epoch=board.epoch, code=WITHDRAWN_CODE, message=told)
    return e.BoardUnclaimed(job_id=job_id, reason=told)


def _forget(command: c.ForgetBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.state is not S.LOST or board.claim is not None:
        waits = f"; job {board.claim.job_id} waits for it, cancel it first" if board.claim else ""
        return Rejected(
            Rejection.BOARD_IN_USE, f"{_describe(board)}{waits}; only a board that cannot be reached is forgotten"
        )
    if board.absence is not None and board.absence.why is Withdrawal.REMOVED:
        return _nothing(f"{board.name} is forgotten already")
    gone = e.BoardWithdrawn(why=Withdrawal.REMOVED, by=command.owner, reason=command.reason)
    ended = [] if board.session is None else [_end_session(board.session, SessionEnd.WITHDRAWN)]
    return [*ended, gone]


def _return(command: c.ReturnBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    if board.absence is None:
        return _nothing(f"{_describe(board)} and in service")
    return [e.BoardReturned(by=command.owner, reason=command.reason)]


def _check(command: c.CheckBoard, board: Board, context: Context, base: BitstreamRef | None) -> Decided:
    absence = board.absence
    if absence is None or absence.check_at is None or board.state not in {S.IDLE, S.ERROR}:
        return _nothing(f"{_describe(board)}; no health check is due")
    if command.epoch != board.epoch:
        return Rejected(Rejection.STALE_EPOCH, f"{board.name} is at epoch {board.epoch}, not at {command.epoch}")
    if command.now < absence.check_at:
        return Rejected(Rejection.NOT_DUE, f"{board.name} is checked at {absence.check_at.isoformat()}")
    return [_start_reset(board, context, base)]


DECIDERS: dict[type, Callable[[Any, Board, Context, BitstreamRef | None], Decided]] = {
    ClaimBoard: _claim,
    NoteBuildStarted: _note_build,
    UnclaimBoard: _unclaim,
    ProgramBoard: _program,
    AttachBoard: _attach,
    LoseBoard: _lose,
    SupplyBase: _supply,
    c.ReportProgrammed: _programmed,
    c.ReportProgramFailed: _program_failed,
    c.ReportSessionUsed: _session_used,
    c.RecordRun: _record_run,
    c.ReleaseSession: _release,
    c.ResetBoard: _reset,
    c.ExpireSession: _expire_session,
    c.ExpireDeadline: _expire_deadline,
    c.RetryReset: _retry_reset,
    c.WithdrawBoard: _withdraw,
    c.ReturnBoard: _return,
    c.ForgetBoard: _forget,
    c.CheckBoard: _check,
}
