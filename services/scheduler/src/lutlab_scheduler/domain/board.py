"""A board: who has it, what is loaded, and under which epoch.

Theory. A board is a register that several parties want to write: jobs program it, owners use it, timers and agents take
it back. Three ideas keep that safe:

- *One load at a time, each under its own epoch.* Programming, restoring and resetting are all loads. Every load starts
  with `epoch + 1`; agents refuse older epochs, and a report that names another epoch than the current one is refused
  here (`stale_epoch`). So a late or repeated message can do nothing.
- *A session outlives its cable.* A lost board keeps its session and its claim. When it comes back running what the
  session loaded, nothing happened; otherwise the design is loaded again (restoring).
- *Unclean until reset.* When a session ends, or a load fails, the board may hold somebody's design. It only becomes
  idle through a reset, i.e. by loading the profile's base design. Failed resets are repeated a few times; then the
  board rests in `error` for a while before they begin again, unless it was taken out of service. A reset can be asked
  for at any time.

This module holds the state, the table and `evolve`; what a command does to a board is in `board_decisions`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from lutlab_events import events as e
from lutlab_events.envelope import Happened
from lutlab_events.values import BitstreamRef, BoardState, Withdrawal
from lutlab_scheduler.domain.machine import START, Table, follow, only
from lutlab_scheduler.domain.outcome import (
    HEALTH_CHECK_EVERY_S,
    RESET_ATTEMPTS_MAX,
    RESET_REST_S,
    RESET_RETRY_WAITS_S,
)

S = BoardState

TRANSITIONS: Table[BoardState] = {
    (START, e.BoardRegistered): (S.IDLE,),
    # A claim sets the board aside while its job is built (older generation).
    (S.IDLE, e.BoardClaimed): (S.QUEUED,),
    (S.QUEUED, e.BoardBuildStarted): (S.BUILDING,),
    (S.QUEUED, e.BoardUnclaimed): (S.IDLE,),
    (S.BUILDING, e.BoardUnclaimed): (S.IDLE,),
    # Programming, and the session it leads to.
    (S.IDLE, e.ProgrammingStarted): (S.PROGRAMMING,),
    (S.QUEUED, e.ProgrammingStarted): (S.PROGRAMMING,),
    (S.BUILDING, e.ProgrammingStarted): (S.PROGRAMMING,),
    (S.PROGRAMMING, e.BoardProgrammed): (S.RESERVED,),
    (S.PROGRAMMING, e.ProgrammingFailed): (S.ERROR,),
    (S.RESERVED, e.SessionRenewed): (S.RESERVED,),
    (S.RESERVED, e.SessionEnded): (S.RESETTING,),
    # Restoring a session's design after a power loss.
    (S.RESERVED, e.RestoreStarted): (S.RESTORING,),
    (S.RESTORING, e.BoardRestored): (S.RESERVED,),
    (S.RESTORING, e.RestoreFailed): (S.ERROR,),
    (S.RESTORING, e.SessionEnded): (S.RESETTING,),
    (S.ERROR, e.SessionEnded): (S.ERROR,),
    # Resetting: the only way back to idle.
    (S.RESETTING, e.ResetStarted): (S.RESETTING,),
    # A health check of a quarantined board.
    (S.IDLE, e.ResetStarted): (S.RESETTING,),
    (S.ERROR, e.ResetStarted): (S.RESETTING,),
    (S.RESETTING, e.ResetSupplied): (S.RESETTING,),
    (S.RESETTING, e.BoardReset): (S.IDLE,),
    (S.RESETTING, e.ResetFailed): (S.ERROR,),
    # Losing a board. A load under way fails first, so it is lost from `error`.
    (S.IDLE, e.BoardLost): (S.LOST,),
    (S.QUEUED, e.BoardLost): (S.LOST,),
    (S.BUILDING, e.BoardLost): (S.LOST,),
    (S.RESERVED, e.BoardLost): (S.LOST,),
    (S.RESTORING, e.BoardLost): (S.LOST,),
    (S.ERROR, e.BoardLost): (S.LOST,),
    (S.LOST, e.BoardBuildStarted): (S.LOST,),
    (S.LOST, e.BoardUnclaimed): (S.LOST,),
    (S.LOST, e.SessionEnded): (S.LOST,),
    # Finding it again: back to where it was, as far as that still holds.
    (S.LOST, e.BoardAttached): (S.IDLE, S.QUEUED, S.BUILDING, S.RESERVED, S.ERROR),
    # A board that was never lost can be attached too: its agent restarted, or another one serves it.
    **{(s, e.BoardAttached): (s,) for s in S if s is not S.LOST},
    # Out of service and back says nothing about what the board is doing.
    **{(s, event): (s,) for s in S for event in (e.BoardWithdrawn, e.BoardReturned)},
}

ONLY = only(TRANSITIONS)


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The job that has the board before its session begins."""

    job_id: UUID
    owner: str
    job_created_at: datetime
    building: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An owner's right to the board for a time, and what is loaded for it."""

    session_id: UUID
    owner: str
    created_at: datetime
    expires_at: datetime
    bitstream: BitstreamRef
    job_id: UUID
    job_created_at: datetime


class Loading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A load under way. `bitstream` is None while a reset waits for the base design; no deadline runs then."""

    bitstream: BitstreamRef | None
    deadline_at: datetime
    session_id: UUID | None = None


class Reset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The reset under way or last tried, and the job that asked for it, None where nobody did."""

    attempt: int
    job_id: UUID | None = None
    job_created_at: datetime | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why the last load failed."""

    code: str
    message: str


class Absence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why the board gets no new jobs.

    Attributes:
        check_at: when the next health check is due; None: none is, or one is under way.
        passed: how many health checks in a row it passed.
    """

    why: Withdrawal
    by: str
    reason: str
    check_at: datetime | None = None
    passed: int = 0


class Board(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log says about one board.

    Attributes:
        site: the lab its agent belongs to.
        board_key: its agent's own name for it.
        epoch: the newest epoch of any load, also of those only the agent remembers.
        claim: the job that has it (queued, building, programming, or lost in the first two).
        session: the session on it (reserved, restoring, or lost).
        past_session: the session before, so that runs which it really carried out can still be recorded.
        loading: the load under way (programming, restoring, resetting).
        reset: the reset under way, or the failed one that will be repeated.
        retry_at: when the scheduler itself starts the next reset (in `error` only); None: not by itself.
        failures: how often programming failed in a row.
        absence: why it gets no new jobs; None: it does.
        unclean: whether a lost board must be reset when it returns.
        loaded: the bitstream last loaded successfully, for the views.
    """

    fpga_id: int
    site: str
    board_key: str
    agent_id: str
    profile: str
    labels: tuple[str, ...]
    state: BoardState
    epoch: int
    version: int
    updated_at: datetime
    claim: Claim | None = None
    session: Session | None = None
    past_session: Session | None = None
    loading: Loading | None = None
    reset: Reset | None = None
    retry_at: datetime | None = None
    failure: Failure | None = None
    failures: int = 0
    unclean: bool = False
    absence: Absence | None = None
    loaded: BitstreamRef | None = None

    @property
    def name(self) -> str:
        """How messages call the board."""
        return f"fpga {self.fpga_id}"


def evolve(board: Board | None, envelope: Happened) -> Board:
    """The board after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    if board is None:
        return _registered(envelope)
    state = ONLY.get((board.state, type(event)))
    if state is None:
        wanted = _returns_to(board) if isinstance(event, e.BoardAttached) and board.state is S.LOST else None
        state = follow(TRANSITIONS, envelope.stream, board.state, event, wanted)
    changed = EVOLVERS[type(event)](board, event, envelope.at)
    return replace(changed, state=state, version=envelope.version, updated_at=envelope.at)


def _registered(envelope: Happened) -> Board:
    event = envelope.body
    state = follow(TRANSITIONS, envelope.stream, START, event)
    assert isinstance(event, e.BoardRegistered)
    return Board(
        fpga_id=event.fpga_id,
        site=envelope.site,
        board_key=event.board_key,
        agent_id=event.agent_id,
        profile=event.profile,
        labels=event.labels,
        state=state,
        epoch=event.epoch,
        version=envelope.version,
        updated_at=envelope.at,
    )


def _returns_to(board: Board) -> BoardState:
    """Where a lost board is when it is found again."""
    if board.session is not None:
        return S.RESERVED
    if board.claim is not None:
        return S.BUILDING if board.claim.building else S.QUEUED
    return S.ERROR if board.unclean else S.IDLE


def _attached(board: Board, event: e.BoardAttached, at: datetime) -> Board:
    return replace(
        board,
        agent_id=event.agent_id,
        epoch=max(board.epoch, event.epoch),
        profile=board.profile if event.profile is None else event.profile,
        labels=board.labels if event.labels is None else event.labels,
        unclean=False,
        failure=None if board.state is S.LOST else board.failure,
    )


def _lost(board: Board, event: e.BoardLost, at: datetime) -> Board:
    return replace(
        board,
        loading=None,
        reset=None,
        retry_at=None,
        unclean=board.state is S.ERROR,
        failure=Failure(code="board_lost", message=event.reason),
    )


def _claimed(board: Board, event: e.BoardClaimed, at: datetime) -> Board:
    return replace(
        board, claim=Claim(job_id=event.job_id, owner=event.owner, job_created_at=event.job_created_at), failure=None
    )


def _build_started(board: Board, event: e.BoardBuildStarted, at: datetime) -> Board:
    assert board.claim is not None
    return replace(board, claim=replace(board.claim, building=True))


def _unclaimed(board: Board, event: e.BoardUnclaimed, at: datetime) -> Board:
    return replace(board, claim=None)


def _programming_started(board: Board, event: e.ProgrammingStarted, at: datetime) -> Board:
    return replace(
        board,
        epoch=event.epoch,
        claim=Claim(job_id=event.job_id, owner=event.owner, job_created_at=event.job_created_at),
        loading=Loading(bitstream=event.bitstream, deadline_at=event.deadline_at, session_id=event.session_id),
        failure=None,
    )


def _programmed(board: Board, event: e.BoardProgrammed, at: datetime) -> Board:
    assert board.loading is not None and board.loading.bitstream is not None and board.claim is not None
    session = Session(
        session_id=event.session_id,
        owner=event.owner,
        created_at=event.session_created_at,
        expires_at=event.session_expires_at,
        bitstream=board.loading.bitstream,
        job_id=event.job_id,
        job_created_at=board.claim.job_created_at,
    )
    return replace(board, claim=None, loading=None, session=session, failures=0, loaded=session.bitstream)


def _programming_failed(board: Board, event: e.ProgrammingFailed, at: datetime) -> Board:
    return replace(
        board,
        claim=None,
        loading=None,
        reset=None,
        retry_at=at,
        failures=board.failures + 1,
        failure=Failure(code=event.code, message=event.message),
    )


def _session_renewed(board: Board, event: e.SessionRenewed, at: datetime) -> Board:
    assert board.session is not None
    return replace(board, session=replace(board.session, expires_at=event.expires_at))


def _session_ended(board: Board, event: e.SessionEnded, at: datetime) -> Board:
    return replace(
        board,
        session=None,
        past_session=board.session,
        loading=None,
        unclean=board.state is S.LOST,
    )


def _reset_started(board: Board, event: e.ResetStarted, at: datetime) -> Board:
    return replace(
        board,
        absence=replace(board.absence, check_at=None) if board.absence else None,
        epoch=event.epoch,
        loading=Loading(bitstream=event.bitstream, deadline_at=event.deadline_at),
        reset=Reset(attempt=event.attempt, job_id=event.job_id, job_created_at=event.job_created_at),
        retry_at=None,
        failure=None,
    )


def _reset_supplied(board: Board, event: e.ResetSupplied, at: datetime) -> Board:
    return replace(board, loading=Loading(bitstream=event.bitstream, deadline_at=event.deadline_at))


def _reset_done(board: Board, event: e.BoardReset, at: datetime) -> Board:
    assert board.loading is not None
    absence = board.absence
    if absence is not None and absence.why is Withdrawal.QUARANTINE:
        absence = replace(absence, check_at=_next_check(at), passed=absence.passed + 1)
    return replace(board, loading=None, reset=None, failure=None, loaded=board.loading.bitstream, absence=absence)


def _next_check(at: datetime) -> datetime:
    return at + timedelta(seconds=HEALTH_CHECK_EVERY_S)


def _withdrawn(board: Board, event: e.BoardWithdrawn, at: datetime) -> Board:
    check_at = _next_check(at) if event.why is Withdrawal.QUARANTINE else None
    return replace(board, absence=Absence(why=event.why, by=event.by, reason=event.reason, check_at=check_at))


def _returned(board: Board, event: e.BoardReturned, at: datetime) -> Board:
    at_rest = board.state is S.ERROR and board.retry_at is None
    return replace(board, absence=None, failures=0, retry_at=at if at_rest else board.retry_at)


def _reset_failed(board: Board, event: e.ResetFailed, at: datetime) -> Board:
    retry_at = None
    if event.attempt < RESET_ATTEMPTS_MAX:
        retry_at = at + timedelta(seconds=RESET_RETRY_WAITS_S[event.attempt - 1])
    reset = board.reset if retry_at else None
    absence = board.absence
    if absence is None:
        retry_at = retry_at or at + timedelta(seconds=RESET_REST_S)
    elif absence.why is Withdrawal.QUARANTINE:
        absence = replace(absence, check_at=None if retry_at else _next_check(at), passed=0)
    return replace(
        board,
        absence=absence,
        loading=None,
        retry_at=retry_at,
        reset=reset,
        failure=Failure(code=event.code, message=event.message),
    )


def _restore_started(board: Board, event: e.RestoreStarted, at: datetime) -> Board:
    return replace(
        board,
        epoch=event.epoch,
        loading=Loading(bitstream=event.bitstream, deadline_at=event.deadline_at, session_id=event.session_id),
        failure=None,
    )


def _restored(board: Board, event: e.BoardRestored, at: datetime) -> Board:
    return replace(board, loading=None)


def _restore_failed(board: Board, event: e.RestoreFailed, at: datetime) -> Board:
    return replace(
        board,
        loading=None,
        reset=None,
        retry_at=at,
        failure=Failure(code=event.code, message=event.message),
    )


EVOLVERS: dict[type, Callable[[Board, Any, datetime], Board]] = {
    e.BoardAttached: _attached,
    e.BoardLost: _lost,
    e.BoardClaimed: _claimed,
    e.BoardBuildStarted: _build_started,
    e.BoardUnclaimed: _unclaimed,
    e.ProgrammingStarted: _programming_started,
    e.BoardProgrammed: _programmed,
    e.ProgrammingFailed: _programming_failed,
    e.SessionRenewed: _session_renewed,
    e.SessionEnded: _session_ended,
    e.ResetStarted: _reset_started,
    e.ResetSupplied: _reset_supplied,
    e.BoardReset: _reset_done,
    e.ResetFailed: _reset_failed,
    e.RestoreStarted: _restore_started,
    e.BoardRestored: _restored,
    e.RestoreFailed: _restore_failed,
    e.BoardWithdrawn: _withdrawn,
    e.BoardReturned: _returned,
}
