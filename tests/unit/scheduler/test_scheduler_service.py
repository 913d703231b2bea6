"""Boards out of service: quarantine with health checks, maintenance, limits of sessions and owners."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import scheduler_given as g

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.events import Event
from lutlab_events.rejections import Rejection as R
from lutlab_events.values import BoardState, SessionEnd, Withdrawal
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import AttachBoard, ClaimBoard, ProgramBoard, decide
from lutlab_scheduler.domain.consequences import consequences
from lutlab_scheduler.domain.job import Fail
from lutlab_scheduler.domain.outcome import HEALTH_CHECK_EVERY_S, Context, Rejected
from lutlab_scheduler.domain.policies import agenda

S = BoardState
EVERY = timedelta(seconds=HEALTH_CHECK_EVERY_S)
RULES = replace(g.RULES, quarantine_after=3, session_max=timedelta(hours=2))


class Story:
    """A board that lives through commands, one second apart."""

    def __init__(self, events: list[Event] | None = None) -> None:
        self.events: list[Event] = list(events or g.IDLE)

    @property
    def board(self) -> Board:
        return g.board(self.events)

    def at(self) -> Any:
        return g.T0 + timedelta(seconds=len(self.events))

    def do(self, command: Any) -> list[Event]:
        decided = decide(command, self.board, Context(self.at(), RULES), g.BASE)
        assert not isinstance(decided, Rejected), decided
        self.events += decided
        return list(decided)

    def refused(self, command: Any) -> Rejected:
        decided = decide(command, self.board, Context(self.at(), RULES), g.BASE)
        assert isinstance(decided, Rejected), decided
        return decided

    def program(self) -> None:
        self.do(PROGRAM)

    def report(self, *, well: bool) -> list[Event]:
        epoch = self.board.epoch
        if well:
            return self.do(c.ReportProgrammed(fpga_id=3, epoch=epoch))
        return self.do(c.ReportProgramFailed(fpga_id=3, epoch=epoch, code="cable", message="loose"))

    def fail_once(self) -> None:
        """A load that fails, and the reset that follows it, which works."""
        self.program()
        self.report(well=False)
        self.do(c.RetryReset(fpga_id=3, failed_epoch=self.board.epoch))
        self.report(well=True)

    def check_due(self) -> c.CheckBoard:
        absence = self.board.absence
        assert absence is not None and absence.check_at is not None
        return c.CheckBoard(fpga_id=3, epoch=self.board.epoch, now=absence.check_at)


PROGRAM = ProgramBoard(job_id=g.JOB, owner="ada", job_created_at=g.T0, session_id=g.SESSION, bitstream=g.USER)
CLAIM = ClaimBoard(job_id=g.JOB, owner="ada", job_created_at=g.T0)


def quarantined() -> Story:
    story = Story()
    for _ in range(3):
        story.fail_once()
    return story


def test_failures_in_a_row_across_leases_quarantine_a_board() -> None:
    story = Story()
    story.fail_once()
    story.fail_once()
    assert story.board.absence is None
    story.program()
    failed = story.report(well=False)
    assert [type(x) for x in failed] == [e.ProgrammingFailed, e.BoardWithdrawn]
    absence = story.board.absence
    assert absence is not None and absence.why is Withdrawal.QUARANTINE
    assert "3 loads in a row failed, the last with cable: loose" in absence.reason


def test_a_load_that_works_in_between_forgives() -> None:
    story = Story()
    story.fail_once()
    story.fail_once()
    story.program()
    story.report(well=True)
    story.do(c.ReleaseSession(job_id=g.RESET_JOB, owner="ada", fpga_id=3))
    story.report(well=True)
    story.fail_once()
    assert story.board.absence is None


def test_a_quarantined_board_takes_no_jobs() -> None:
    story = quarantined()
    assert story.board.state is S.IDLE
    for command in (PROGRAM, CLAIM):
        refused = story.refused(command)
        assert refused.code is R.FPGA_NOT_IDLE
        assert "quarantine" in refused.message


def test_a_quarantined_board_is_checked_and_returns_after_two_good_loads_in_a_row() -> None:
    """The reset after the last failure is the first; a failed check makes the count begin anew."""
    story = quarantined()
    absence = story.board.absence
    assert absence is not None and absence.passed == 1
    started = story.do(story.check_due())
    assert [type(x) for x in started] == [e.ResetStarted]
    story.report(well=False)
    for _ in range(2):
        story.do(c.RetryReset(fpga_id=3, failed_epoch=story.board.epoch))
        story.report(well=False)
    board = story.board
    assert (board.state, board.retry_at) == (S.ERROR, None)
    assert board.absence is not None and board.absence.passed == 0
    story.do(story.check_due())  # from `error` too: it recovers by itself
    assert [type(x) for x in story.report(well=True)] == [e.BoardReset]
    story.do(story.check_due())
    assert [type(x) for x in story.report(well=True)] == [e.BoardReset, e.BoardReturned]
    assert (story.board.absence, story.board.failures, story.board.state) == (None, 0, S.IDLE)


def test_checks_are_due_by_the_log_alone() -> None:
    story = quarantined()
    absence = story.board.absence
    assert absence is not None
    assert absence.check_at == story.board.updated_at + EVERY
    assert agenda([], [story.board], absence.check_at - EVERY / 2).next_at == absence.check_at
    (due,) = agenda([], [story.board], absence.check_at).due
    assert isinstance(due.command, c.CheckBoard)
    early = c.CheckBoard(fpga_id=3, epoch=story.board.epoch, now=absence.check_at - timedelta(seconds=1))
    assert story.refused(early).code is R.NOT_DUE
    late = c.CheckBoard(fpga_id=3, epoch=story.board.epoch - 1, now=absence.check_at)
    assert story.refused(late).code is R.STALE_EPOCH


def test_draining_lets_the_session_run_and_takes_no_next_job() -> None:
    story = Story(g.RESERVED)
    story.do(c.WithdrawBoard(fpga_id=3, owner="root", reason="new fan"))
    assert story.board.state is S.RESERVED and story.board.session is not None
    story.do(c.ReleaseSession(job_id=g.RESET_JOB, owner="ada", fpga_id=3))
    story.report(well=True)
    assert story.board.state is S.IDLE
    assert "in maintenance (new fan)" in story.refused(PROGRAM).message
    assert agenda([], [story.board], g.T0 + timedelta(days=1)).due == []
    assert story.refused(c.WithdrawBoard(fpga_id=3, owner="root", reason="new fan")).code is R.NOTHING_TO_DO
    story.do(c.ReturnBoard(fpga_id=3, owner="root"))
    story.program()


@pytest.mark.parametrize(("given", "then"), [(g.RESERVED, S.RESETTING), ([*g.RESERVED, g.LOST], S.LOST)])
def test_a_kick_ends_the_session_under_a_new_epoch(given: list[Event], then: BoardState) -> None:
    story = Story(given)
    before = story.board.epoch
    events = story.do(c.WithdrawBoard(fpga_id=3, owner="root", reason="smoke", kick=True))
    assert [x.reason for x in events if isinstance(x, e.SessionEnded)] == [SessionEnd.WITHDRAWN]
    assert (story.board.state, story.board.session) == (then, None)
    assert story.board.epoch == (before + 1 if then is S.RESETTING else before)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        (g.QUEUED, S.IDLE),
        (g.BUILDING, S.IDLE),
        (g.PROGRAMMING, S.ERROR),
        ([*g.QUEUED, g.LOST], S.LOST),
    ],
)
def test_a_kick_takes_the_board_from_a_job_that_is_on_its_way_to_it(given: list[Event], then: BoardState) -> None:
    """Otherwise its session would begin on a board that somebody works at."""
    story = Story(given)
    before = story.board
    events = story.do(c.WithdrawBoard(fpga_id=3, owner="root", reason="smoke", kick=True))
    assert (story.board.state, story.board.claim, story.board.loading) == (then, None, None)
    (told,) = consequences(before, story.board, events)
    assert told.job_id == g.JOB and isinstance(told.command, Fail)
    assert (told.command.code, told.command.message) == ("board_withdrawn", "fpga 3 was taken out of service: smoke")
    assert story.board.absence is not None and story.board.absence.why is Withdrawal.MAINTENANCE
    if then is S.ERROR:
        (due,) = agenda([], [story.board], g.T0 + timedelta(days=1)).due
        assert isinstance(due.command, c.RetryReset), "the base design is loaded"


def test_an_admin_may_return_a_quarantined_board_at_once() -> None:
    story = quarantined()
    story.do(c.ReturnBoard(fpga_id=3, owner="root", reason="cable replaced"))
    assert (story.board.absence, story.board.failures) == (None, 0)
    assert story.refused(c.ReturnBoard(fpga_id=3, owner="root")).code is R.NOTHING_TO_DO


def test_a_session_ends_at_its_greatest_length_however_much_it_is_used() -> None:
    board = g.board(g.RESERVED)
    used = c.ReportSessionUsed(fpga_id=3, session_id=g.SESSION, epoch=1)
    decided = decide(used, board, Context(g.T0 + timedelta(minutes=90), RULES))
    assert decided == [e.SessionRenewed(session_id=g.SESSION, expires_at=g.T0 + RULES.session_max)]
    assert isinstance(decided, list)
    full = g.board([*g.RESERVED, *decided])
    again = decide(used, full, Context(g.T0 + timedelta(minutes=110), RULES))
    assert isinstance(again, Rejected) and again.code is R.NOTHING_TO_DO
    short = replace(RULES, session_max=timedelta(minutes=10))
    begun = decide(c.ReportProgrammed(fpga_id=3, epoch=1), g.board(g.PROGRAMMING), Context(g.NOW, short))
    assert isinstance(begun, list) and isinstance(begun[0], e.BoardProgrammed)
    assert begun[0].session_expires_at == g.NOW + timedelta(minutes=10)


@pytest.mark.parametrize("given", [[*g.IDLE, g.LOST], [*g.RESERVED, g.LOST]])
def test_a_board_that_is_gone_is_forgotten_until_it_is_found_again(given: list[Event]) -> None:
    story = Story(given)
    events = story.do(c.ForgetBoard(fpga_id=3, owner="root", reason="sold"))
    assert [x.reason for x in events if isinstance(x, e.SessionEnded)] == [SessionEnd.WITHDRAWN] * (
        given != [*g.IDLE, g.LOST]
    )
    assert story.board.absence is not None and story.board.absence.why is Withdrawal.REMOVED
    assert story.refused(c.ForgetBoard(fpga_id=3, owner="root")).code is R.NOTHING_TO_DO
    story.do(AttachBoard(agent_id=g.AGENT, report=g.report()))
    assert story.board.absence is None


@pytest.mark.parametrize("given", [g.IDLE, g.RESERVED, [*g.QUEUED, g.LOST]])
def test_a_board_in_use_is_not_forgotten(given: list[Event]) -> None:
    assert Story(given).refused(c.ForgetBoard(fpga_id=3, owner="root")).code is R.BOARD_IN_USE
