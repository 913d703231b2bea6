"""Boards: every command in every state, and every line of the transition table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import scheduler_given as g
from msgspec import structs

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.rejections import Rejection as R
from lutlab_events.values import BoardState as S
from lutlab_events.values import SessionEnd, Withdrawal
from lutlab_scheduler.domain import board as boards
from lutlab_scheduler.domain.board_decisions import (
    DECIDERS,
    AttachBoard,
    ClaimBoard,
    LoseBoard,
    NoteBuildStarted,
    ProgramBoard,
    SupplyBase,
    UnclaimBoard,
    decide,
)
from lutlab_scheduler.domain.machine import START, IllegalTransition
from lutlab_scheduler.domain.outcome import Rejected

LATE = g.T0 + timedelta(hours=2)
CLAIM = ClaimBoard(job_id=g.JOB, owner="ada", job_created_at=g.T0)
PROGRAM = ProgramBoard(job_id=g.JOB, owner="ada", job_created_at=g.T0, session_id=g.SESSION, bitstream=g.USER)


def release(owner: str = "ada", is_admin: bool = False) -> c.ReleaseSession:
    return c.ReleaseSession(job_id=g.RESET_JOB, owner=owner, fpga_id=3, is_admin=is_admin)


def reset(owner: str = "ada", is_admin: bool = False, job_id: UUID = g.RESET_JOB) -> c.ResetBoard:
    return c.ResetBoard(job_id=job_id, owner=owner, fpga_id=3, is_admin=is_admin)


def late_release(session_id: UUID) -> c.ReleaseSession:
    return structs.replace(release("root", is_admin=True), session_id=session_id)


def late_reset(session_id: UUID) -> c.ResetBoard:
    return structs.replace(reset("root", is_admin=True), session_id=session_id)


def run(session_id: UUID = g.SESSION, owner: str = "ada", is_admin: bool = False) -> c.RecordRun:
    return c.RecordRun(
        job_id=g.OTHER_JOB,
        owner=owner,
        fpga_id=3,
        session_id=session_id,
        op=2,
        address_bytes=0,
        count=1,
        fixed_address=False,
        data=(7,),
        is_admin=is_admin,
    )


def programmed(epoch: int) -> c.ReportProgrammed:
    return c.ReportProgrammed(fpga_id=3, epoch=epoch)


def failed(epoch: int) -> c.ReportProgramFailed:
    return c.ReportProgramFailed(fpga_id=3, epoch=epoch, code="cable", message="no cable")


def expire(now: Any = LATE, session_id: UUID = g.SESSION) -> c.ExpireSession:
    return c.ExpireSession(fpga_id=3, session_id=session_id, now=now)


def overdue(epoch: int, now: Any = LATE) -> c.ExpireDeadline:
    return c.ExpireDeadline(fpga_id=3, epoch=epoch, now=now)


def retry(epoch: int) -> c.RetryReset:
    return c.RetryReset(fpga_id=3, failed_epoch=epoch)


def attach(build_id: int | None = None, epoch: int = 0, agent: str = g.AGENT, **more: Any) -> AttachBoard:
    return AttachBoard(agent_id=agent, report=g.report(build_id, epoch, **more))


LOSE = LoseBoard(agent_id=g.AGENT, reason="unplugged")
USER_ID = g.USER.build_id

# given, when, then: names of events in order, or the code of the refusal
CASES: list[tuple[str, Any, list[str] | R]] = [
    # claims (older generation)
    ("idle", CLAIM, ["BoardClaimed"]),
    ("queued", CLAIM, R.FPGA_NOT_IDLE),
    ("reserved", CLAIM, R.FPGA_NOT_IDLE),
    ("lost-idle", CLAIM, R.FPGA_NOT_IDLE),
    ("queued", NoteBuildStarted(job_id=g.JOB), ["BoardBuildStarted"]),
    ("building", NoteBuildStarted(job_id=g.JOB), []),
    ("queued", NoteBuildStarted(job_id=g.OTHER_JOB), []),
    ("lost-queued", NoteBuildStarted(job_id=g.JOB), ["BoardBuildStarted"]),
    ("queued", UnclaimBoard(job_id=g.JOB, reason="x"), ["BoardUnclaimed"]),
    ("building", UnclaimBoard(job_id=g.JOB, reason="x"), ["BoardUnclaimed"]),
    ("lost-building", UnclaimBoard(job_id=g.JOB, reason="x"), ["BoardUnclaimed"]),
    ("programming", UnclaimBoard(job_id=g.JOB, reason="x"), []),
    ("building", UnclaimBoard(job_id=g.OTHER_JOB, reason="x"), []),
    # programming
    ("idle", PROGRAM, ["ProgrammingStarted"]),
    ("queued", PROGRAM, ["ProgrammingStarted"]),
    ("building", PROGRAM, ["ProgrammingStarted"]),
    ("building", replace(PROGRAM, job_id=g.OTHER_JOB), R.FPGA_NOT_IDLE),
    ("reserved", PROGRAM, R.FPGA_NOT_IDLE),
    ("lost-idle", PROGRAM, R.FPGA_NOT_IDLE),
    ("idle", replace(PROGRAM, bitstream=g.bits("other", "lfe5um5g-85f")), R.UNKNOWN_PROFILE),
    # reports of loads
    ("programming", programmed(1), ["BoardProgrammed"]),
    ("programming", programmed(0), R.STALE_EPOCH),
    ("programming", programmed(2), R.STALE_EPOCH),
    ("reserved", programmed(1), R.STALE_EPOCH),
    ("resetting", programmed(2), ["BoardReset"]),
    ("resetting", programmed(1), R.STALE_EPOCH),
    ("waiting-for-base", programmed(2), R.STALE_EPOCH),
    ("restoring", programmed(2), ["BoardRestored"]),
    ("lost-programming", programmed(1), R.STALE_EPOCH),
    ("idle", programmed(0), R.STALE_EPOCH),
    ("programming", failed(1), ["ProgrammingFailed"]),
    ("programming", failed(0), R.STALE_EPOCH),
    ("resetting", failed(2), ["ResetFailed"]),
    ("restoring", failed(2), ["RestoreFailed", "SessionEnded"]),
    ("reserved", failed(1), R.STALE_EPOCH),
    ("lost-restoring", failed(2), R.STALE_EPOCH),
    # deadlines of loads
    ("programming", overdue(1), ["ProgrammingFailed"]),
    ("programming", overdue(1, g.T0), R.NOT_DUE),
    ("programming", overdue(0), R.STALE_EPOCH),
    ("resetting", overdue(2), ["ResetFailed"]),
    ("waiting-for-base", overdue(2), R.STALE_EPOCH),
    ("restoring", overdue(2), ["RestoreFailed", "SessionEnded"]),
    ("reserved", overdue(1), R.STALE_EPOCH),
    # use of sessions
    ("reserved", c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=1), ["SessionRenewed"]),
    ("reserved", c.ReportSessionUsed(fpga_id=3, session_id=g.OTHER_JOB, epoch=1), R.NO_ACTIVE_SESSION),
    ("reserved", c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=0), R.STALE_EPOCH),
    ("lost-reserved", c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=1), R.NOTHING_TO_DO),
    ("idle", c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=0), R.NO_ACTIVE_SESSION),
    ("reserved", run(), ["SessionRenewed"]),
    ("reserved", run(owner="eve"), R.NOT_YOUR_SESSION),
    ("reserved", run(owner="root", is_admin=True), ["SessionRenewed"]),
    ("reserved", run(session_id=g.OTHER_JOB), R.FPGA_NOT_RESERVED),
    ("resetting", run(), []),  # it really ran, under the session before
    ("resetting", run(owner="eve"), R.NOT_YOUR_SESSION),
    ("resetting", run(session_id=g.OTHER_JOB), R.FPGA_NOT_RESERVED),
    ("restoring", run(), []),
    ("lost-reserved", run(), []),
    ("idle", run(), R.FPGA_NOT_RESERVED),
    # release
    ("reserved", release(), ["SessionEnded", "ResetStarted"]),
    ("reserved", release("eve"), R.NOT_YOUR_SESSION),
    ("reserved", release("root", is_admin=True), ["SessionEnded", "ResetStarted"]),
    ("restoring", release(), ["SessionEnded", "ResetStarted"]),
    ("lost-reserved", release(), ["SessionEnded"]),
    ("resetting", release(), R.NO_ACTIVE_SESSION),
    ("programming", release(), R.NO_ACTIVE_SESSION),
    ("idle", release(), R.NO_ACTIVE_SESSION),
    # a release or reset that comes late, after another session began; and one from a sender that names none
    ("reserved", late_release(g.SESSION), ["SessionEnded", "ResetStarted"]),
    ("reserved", late_release(g.OTHER_JOB), R.NO_ACTIVE_SESSION),
    ("reserved", late_release(UUID(int=0)), R.NO_ACTIVE_SESSION),
    ("lost-reserved", late_release(g.OTHER_JOB), R.NO_ACTIVE_SESSION),
    ("reserved", late_reset(g.SESSION), ["SessionEnded", "ResetStarted"]),
    ("reserved", late_reset(g.OTHER_JOB), R.FPGA_NOT_RESETTABLE),
    ("reserved", late_reset(UUID(int=0)), R.FPGA_NOT_RESETTABLE),
    ("program-error", late_reset(UUID(int=0)), ["ResetStarted"]),
    # reset
    ("reserved", reset(), ["SessionEnded", "ResetStarted"]),
    ("reserved", reset("eve"), R.NOT_YOUR_SESSION),
    ("reserved", reset("root", is_admin=True), ["SessionEnded", "ResetStarted"]),
    ("program-error", reset("eve"), ["ResetStarted"]),
    ("resting-error", reset("eve"), ["ResetStarted"]),
    ("idle", reset(), R.FPGA_NOT_RESETTABLE),
    ("queued", reset(), R.FPGA_NOT_RESETTABLE),
    ("programming", reset(), R.FPGA_NOT_RESETTABLE),
    ("resetting", reset(), R.FPGA_NOT_RESETTABLE),
    ("lost-reserved", reset(), R.FPGA_NOT_RESETTABLE),
    # expiry
    ("reserved", expire(), ["SessionEnded", "ResetStarted"]),
    ("reserved", expire(g.T0), R.NOT_DUE),
    ("reserved", expire(session_id=g.OTHER_JOB), R.NO_ACTIVE_SESSION),
    ("restoring", expire(), ["SessionEnded", "ResetStarted"]),
    ("lost-reserved", expire(), ["SessionEnded"]),
    ("resetting", expire(), R.NO_ACTIVE_SESSION),
    # healing
    ("program-error", retry(1), ["ResetStarted"]),
    ("restore-error", retry(2), ["ResetStarted"]),
    ("reset-error", retry(2), ["ResetStarted"]),
    ("reset-error", retry(1), R.STALE_EPOCH),
    ("resting-error", retry(4), ["ResetStarted"]),
    ("idle", retry(0), R.NOTHING_TO_DO),
    ("lost-programming", retry(1), R.NOTHING_TO_DO),
    ("waiting-for-base", SupplyBase(bitstream=g.BASE), ["ResetSupplied"]),
    ("waiting-for-base", SupplyBase(bitstream=g.bits("b", "lfe5um5g-85f")), []),
    ("resetting", SupplyBase(bitstream=g.BASE), []),
    # losing
    ("idle", LOSE, ["BoardLost"]),
    ("queued", LOSE, ["BoardLost"]),
    ("building", LOSE, ["BoardLost"]),
    ("programming", LOSE, ["ProgrammingFailed", "BoardLost"]),
    ("reserved", LOSE, ["BoardLost"]),
    ("restoring", LOSE, ["BoardLost"]),
    ("resetting", LOSE, ["ResetFailed", "BoardLost"]),
    ("waiting-for-base", LOSE, ["ResetFailed", "BoardLost"]),
    ("reset-error", LOSE, ["BoardLost"]),
    ("lost-idle", LOSE, R.NOTHING_TO_DO),
    ("reserved", replace(LOSE, agent_id="other"), R.STALE_INCARNATION),
    # finding again
    ("lost-idle", attach(), ["BoardAttached"]),
    ("lost-queued", attach(), ["BoardAttached"]),
    ("lost-building", attach(), ["BoardAttached"]),
    ("lost-programming", attach(), ["BoardAttached", "ResetStarted"]),
    ("lost-resetting", attach(), ["BoardAttached", "ResetStarted"]),
    ("lost-resting", attach(), ["BoardAttached", "ResetStarted"]),
    ("lost-reserved", attach(USER_ID, 1), ["BoardAttached"]),
    ("lost-reserved", attach(USER_ID, 0), ["BoardAttached", "RestoreStarted"]),
    ("lost-reserved", attach(99, 1), ["BoardAttached", "RestoreStarted"]),
    ("lost-reserved", attach(None, 1), ["BoardAttached", "RestoreStarted"]),
    ("lost-restoring", attach(USER_ID, 2), ["BoardAttached"]),
    ("lost-restoring", attach(USER_ID, 1), ["BoardAttached", "RestoreStarted"]),
    # an agent that restarts, moves, or changes its lab file
    ("idle", attach(), []),
    ("reserved", attach(USER_ID, 1), []),
    ("reserved", attach(None, 1), ["RestoreStarted"]),
    ("programming", attach(None, 1), []),
    ("restoring", attach(None, 2), []),
    ("idle", attach(agent="other"), ["BoardAttached"]),
    ("idle", attach(epoch=7), ["BoardAttached"]),
    ("idle", attach(labels=("fast",)), ["BoardAttached"]),
    ("resetting", attach(agent="other"), ["BoardAttached"]),
    ("waiting-for-base", attach(profile="lfe5um5g-85f"), ["BoardAttached", "ResetSupplied"]),
]


@pytest.mark.parametrize(("given", "when", "then"), CASES, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_given_when_then(given: str, when: Any, then: list[str] | R) -> None:
    decided = decide(when, g.board(g.BOARDS[given]), g.CONTEXT, g.BASE)
    if isinstance(decided, Rejected):
        assert decided.code is then
        assert decided.message and decided.message[0] != "{"
    else:
        assert [type(event).__name__ for event in decided] == then


WITHDRAW = c.WithdrawBoard(fpga_id=3, owner="root", reason="new fan")
KICK = c.WithdrawBoard(fpga_id=3, owner="root", reason="smoke", kick=True)
RETURN = c.ReturnBoard(fpga_id=3, owner="root", reason="fan is new")


def check_health(epoch: int, after: timedelta = timedelta(minutes=5)) -> c.CheckBoard:
    return c.CheckBoard(fpga_id=3, epoch=epoch, now=g.T0 + after)


def every_command(board: boards.Board) -> list[Any]:
    """Every command a board can get, with right and wrong epochs and sessions."""
    epochs = (board.epoch - 1, board.epoch, board.epoch + 1)
    return [
        *(when for _, when, _ in CASES),
        *(programmed(epoch) for epoch in epochs),
        *(failed(epoch) for epoch in epochs),
        *(overdue(epoch) for epoch in epochs),
        *(retry(epoch) for epoch in epochs),
        *(check_health(epoch) for epoch in epochs),
        WITHDRAW,
        KICK,
        RETURN,
        c.ForgetBoard(fpga_id=3, owner="root"),
        *(attach(build_id, epoch) for epoch in epochs for build_id in (None, USER_ID, 99)),
    ]


def test_every_command_in_every_state_fits_the_table_and_all_of_the_table_happens() -> None:
    happened: set[tuple[str, type]] = {(START, e.BoardRegistered)}
    given_commands: set[type] = set()
    away = [[*events, absence] for events in g.BOARDS.values() for absence in (g.MAINTENANCE, g.QUARANTINE)]
    for events in [*g.BOARDS.values(), *away]:
        before = g.board(events)
        for command in every_command(before):
            given_commands.add(type(command))
            decided = decide(command, before, g.CONTEXT, g.BASE)
            if isinstance(decided, Rejected):
                continue
            state = before
            for count, event in enumerate(decided, 1):
                happened.add((state.state, type(event)))
                state = g.board([*events, *decided[:count]])
            check(before, state, decided)
    assert given_commands == set(DECIDERS)
    assert happened == set(boards.TRANSITIONS)


def check(before: boards.Board, after: boards.Board, events: list[e.BoardEvent]) -> None:
    """What holds of every board after every decision."""
    loads = [x for x in events if isinstance(x, e.ProgrammingStarted | e.ResetStarted | e.RestoreStarted)]
    assert all(load.epoch > before.epoch for load in loads)
    assert after.epoch >= before.epoch
    has = (after.claim is not None, after.session is not None, after.loading is not None)
    expected = {
        S.IDLE: {(False, False, False)},
        S.QUEUED: {(True, False, False)},
        S.BUILDING: {(True, False, False)},
        S.PROGRAMMING: {(True, False, True)},
        S.RESERVED: {(False, True, False)},
        S.RESTORING: {(False, True, True)},
        S.RESETTING: {(False, False, True)},
        S.ERROR: {(False, False, False)},
        S.LOST: {(False, False, False), (True, False, False), (False, True, False)},
    }
    assert has in expected[after.state], (before.state, events, after)


def test_a_session_begins_when_the_load_is_reported() -> None:
    decided = decide(programmed(1), g.board(g.PROGRAMMING), g.CONTEXT)
    assert decided == [
        e.BoardProgrammed(
            job_id=g.JOB,
            owner="ada",
            session_id=g.SESSION,
            epoch=1,
            session_created_at=g.NOW,
            session_expires_at=g.NOW + g.TTL,
        )
    ]


def test_a_session_is_not_renewed_for_less_than_a_sixtieth_of_its_life() -> None:
    renewed = [*g.RESERVED, e.SessionRenewed(session_id=g.SESSION, expires_at=g.NOW + g.TTL - timedelta(seconds=59))]
    used = c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=1)
    decided = decide(used, g.board(renewed), g.CONTEXT)
    assert isinstance(decided, Rejected) and decided.code is R.NOTHING_TO_DO
    assert decide(run(), g.board(renewed), g.CONTEXT) == []


def test_the_next_load_passes_every_epoch_the_agent_has_seen() -> None:
    attached = decide(attach(epoch=41), g.board(g.IDLE), g.CONTEXT)
    assert not isinstance(attached, Rejected)
    decided = decide(PROGRAM, g.board([*g.IDLE, *attached]), g.CONTEXT)
    assert not isinstance(decided, Rejected)
    assert isinstance(decided[0], e.ProgrammingStarted) and decided[0].epoch == 42


def test_resets_are_retried_twice_then_rest_and_begin_again() -> None:
    first = g.board(g.RESET_ERROR)
    assert first.retry_at is not None and first.retry_at - first.updated_at == timedelta(seconds=1)
    decided = decide(retry(2), first, g.CONTEXT, g.BASE)
    assert not isinstance(decided, Rejected) and isinstance(decided[0], e.ResetStarted)
    assert (decided[0].attempt, decided[0].epoch, decided[0].job_id) == (2, 3, g.RESET_JOB)
    second = g.board([*g.RESET_ERROR, *decided, g.reset_failed(3, attempt=2)])
    assert second.retry_at is not None and second.retry_at - second.updated_at == timedelta(seconds=5)
    resting = g.board(g.RESTING_ERROR)
    assert resting.retry_at is not None and resting.retry_at - resting.updated_at == timedelta(seconds=120)
    decided = decide(retry(4), resting, g.CONTEXT, g.BASE)
    assert not isinstance(decided, Rejected) and isinstance(decided[0], e.ResetStarted)
    assert (decided[0].attempt, decided[0].epoch) == (1, 5)


def test_a_board_out_of_service_rests_until_it_is_back() -> None:
    withdrawn = e.BoardWithdrawn(why=Withdrawal.MAINTENANCE, by="root", reason="smoke")
    resting = g.board([*g.RESTING_ERROR[:-1], withdrawn, g.RESTING_ERROR[-1]])
    assert resting.retry_at is None
    back = g.board([*g.RESTING_ERROR[:-1], withdrawn, g.RESTING_ERROR[-1], e.BoardReturned(by="root", reason="")])
    assert back.retry_at == back.updated_at


def test_reasons_of_session_ends() -> None:
    reasons = {
        SessionEnd.RELEASED: (g.RESERVED, release()),
        SessionEnd.RESET: (g.RESERVED, reset()),
        SessionEnd.EXPIRED: (g.RESERVED, expire()),
        SessionEnd.BOARD_FAILED: (g.RESTORING, failed(2)),
    }
    for reason, (given, when) in reasons.items():
        decided = decide(when, g.board(given), g.CONTEXT, g.BASE)
        assert not isinstance(decided, Rejected)
        assert [x.reason for x in decided if isinstance(x, e.SessionEnded)] == [reason]


def test_messages_name_the_value_and_the_way_out() -> None:
    refused = decide(CLAIM, g.board(g.RESERVED), g.CONTEXT)
    assert isinstance(refused, Rejected)
    assert refused.message == "fpga 3 is reserved, not idle; GET /fpga lists boards with their state"


def test_an_event_that_does_not_fit_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="board-3: BoardProgrammed in state idle"):
        g.board([*g.IDLE, g.PROGRAMMED])
    with pytest.raises(IllegalTransition, match="state start"):
        g.board([g.PROGRAMMED])
