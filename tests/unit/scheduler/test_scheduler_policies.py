"""Matching and what the scheduler does by itself."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import scheduler_given as g
from msgspec.structs import replace

from lutlab_events import commands as c
from lutlab_events.ids import derived
from lutlab_events.values import BoardState
from lutlab_scheduler.domain.agent import Agent, AgentState
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.matching import default_profile, match
from lutlab_scheduler.domain.policies import agenda, lapsed

MODEL = "lfe5um5g-85f"


def built(number: int, **more: Any) -> Job:
    return replace(g.job(g.JOB_BUILT), job_id=derived("job", number), number=number, **more)


def idle(fpga_id: int, **more: Any) -> Board:
    return replace(g.board(g.IDLE), fpga_id=fpga_id, **more)


def pairs(jobs: list[Job], boards: list[Board]) -> list[tuple[int, int]]:
    return [(m.job.number, m.board.fpga_id) for m in match(jobs, boards)]


def test_the_oldest_job_gets_the_first_board_in_whatever_order_they_are_listed() -> None:
    jobs, boards = [built(7), built(5), built(9)], [idle(1), idle(0)]
    for some_jobs in permutations(jobs):
        for some_boards in permutations(boards):
            assert pairs(list(some_jobs), list(some_boards)) == [(5, 0), (7, 1)]


def test_a_job_gets_only_a_board_of_its_profile_and_does_not_hold_up_others() -> None:
    assert pairs([built(1, profile=MODEL), built(2)], [idle(0), idle(1)]) == [(2, 0)]
    assert pairs([built(1, profile=MODEL)], [idle(0), idle(1, profile=MODEL)]) == [(1, 1)]


def test_a_board_that_failed_before_is_the_last_choice() -> None:
    assert pairs([built(1)], [idle(0, failures=2), idle(1, failures=0)]) == [(1, 1)]
    assert pairs([built(1), built(2)], [idle(0, failures=2), idle(1)]) == [(1, 1), (2, 0)]


def test_a_claimed_board_is_for_its_job_only() -> None:
    claimed = g.board([g.REGISTERED, g.claimed(derived("job", 8))])
    assert pairs([built(5), built(8, pinned_fpga_id=3)], [claimed]) == [(8, 3)]
    assert pairs([built(5)], [claimed]) == []
    lost = replace(claimed, state=BoardState.LOST)
    assert pairs([built(8, pinned_fpga_id=3)], [lost, idle(0)]) == []


def test_only_built_jobs_and_free_boards_are_matched() -> None:
    for name, events in g.JOBS.items():
        if name != "built":
            assert pairs([g.job(events)], [idle(0)]) == []
    for name, events in g.BOARDS.items():
        if name != "idle":
            assert pairs([built(1)], [g.board(events)]) == []


def test_the_default_profile_is_that_of_most_reachable_boards() -> None:
    assert default_profile([], "x") == "x"
    assert default_profile([idle(0), idle(1, profile=MODEL)], "x") == g.PROFILE
    assert default_profile([idle(0), idle(1, profile=MODEL), idle(2, profile=MODEL)], "x") == MODEL
    assert default_profile([idle(0), idle(1, profile=MODEL, state=BoardState.LOST)], "x") == g.PROFILE


def commands(board: Board | None = None, job: Job | None = None, after: timedelta = timedelta()) -> list[str]:
    plan = agenda([job] if job else [], [board] if board else [], g.T0 + after)
    return [type(item.command).__name__ for item in plan.due]


def test_timers_of_boards() -> None:
    day = timedelta(days=1)
    expected = {
        "reserved": ["ExpireSession"],
        "restoring": ["ExpireSession", "ExpireDeadline"],
        "lost-reserved": ["ExpireSession"],
        "lost-restoring": ["ExpireSession"],
        "programming": ["ExpireDeadline"],
        "resetting": ["ExpireDeadline"],
        "program-error": ["RetryReset"],
        "reset-error": ["RetryReset"],
        "restore-error": ["RetryReset"],
        "resting-error": ["RetryReset"],
    }
    for name, events in g.BOARDS.items():
        assert commands(g.board(events), after=day) == expected.get(name, []), name

        assert commands(g.board(events), after=-day) == [], name


def test_timers_of_jobs() -> None:
    for name, events in g.JOBS.items():
        assert commands(job=g.job(events), after=timedelta(days=1)) == (["ExpireBuild"] if name == "building" else [])
    assert commands(job=g.job(g.JOB_BUILDING)) == []


def test_the_agenda_says_when_to_look_again() -> None:
    boards = [g.board(g.RESERVED), g.board(g.PROGRAMMING)]
    assert agenda([], boards, g.T0).next_at == g.T0 + g.LOAD
    assert agenda([], boards, g.T0 + g.LOAD).next_at == g.T0 + g.TTL
    assert agenda([], [g.board(g.IDLE)], g.T0).next_at is None


def test_the_same_situation_gives_the_same_command_id_and_a_new_one_another() -> None:
    def ident(jobs: list[Job], boards: list[Board]) -> Any:
        return agenda(jobs, boards, g.T0).due[0].command_id

    assert ident([built(1)], [idle(0)]) == ident([built(1)], [idle(0)])
    assert ident([built(1)], [idle(0)]) != ident([built(1)], [idle(0, version=9)])
    assert ident([built(1)], [idle(0)]) != ident([built(1)], [idle(2)])


def test_agents_that_are_silent_for_a_lease_are_lost() -> None:
    lease = timedelta(seconds=10)

    def agent(name: str, state: AgentState = AgentState.PRESENT) -> Agent:
        return Agent(
            agent_id=name,
            site="main",
            incarnation=derived(name),
            state=state,
            board_keys=(),
            version=1,
            updated_at=g.T0,
        )

    agents = [agent("heard"), agent("silent"), agent("never"), agent("gone", AgentState.LOST)]
    now = g.T0 + timedelta(seconds=20)
    seen = {"heard": now - timedelta(seconds=5), "silent": now - timedelta(seconds=15), "gone": g.T0}
    lost = [d.command.agent_id for d in lapsed(agents, seen, g.T0, now, lease) if isinstance(d.command, c.LoseAgent)]
    assert lost == ["silent", "never"]
    # Listening began only now (a take-over, or NATS is back): everybody has a whole lease again.
    assert lapsed(agents, seen, now - timedelta(seconds=1), now, lease) == []
