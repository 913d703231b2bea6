"""Agents' leases; each test here was once a seed of the simulation that failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from scheduler_given import AGENT, NOW, board

from lutlab_events import events as e
from lutlab_events.work import AgentHeartbeat
from lutlab_scheduler.app.leases import Leases, agrees
from lutlab_scheduler.domain.agent import Agent, AgentState

LEASE = timedelta(seconds=10)
INCARNATION = UUID(int=7)
REGISTERED = e.BoardRegistered(fpga_id=3, board_key="b3", agent_id=AGENT, profile="lfe5u-25f")
LOST = e.BoardLost(agent_id=AGENT, reason="unplugged")


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


def agent(state: AgentState = AgentState.PRESENT, version: int = 1) -> Agent:
    return Agent(
        agent_id=AGENT,
        site="main",
        incarnation=INCARNATION,
        state=state,
        board_keys=("b3",),
        version=version,
        updated_at=NOW,
    )


def beat(*keys: str) -> AgentHeartbeat:
    return AgentHeartbeat(agent_id=AGENT, incarnation=INCARNATION, boards=keys)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    made = Leases(lease=LEASE, clock=clock)
    made.listen()
    return made


def lapsed_after(seconds: int, of: Agent, leases: Leases, clock: Clock) -> int:
    """How often the agent was found lost while time passed by the second; a leap is no evidence of silence."""
    found = 0
    for _ in range(seconds):
        clock.at += timedelta(seconds=1)
        found += len(leases.lapsed([of], clock.at))
    return found


def test_an_agent_that_returns_after_its_lease_lapsed_has_a_whole_lease(leases: Leases, clock: Clock) -> None:
    assert leases.lapsed([agent()], clock.at) == []
    assert lapsed_after(11, agent(), leases, clock) == 1
    assert leases.lapsed([agent(AgentState.LOST, version=2)], clock.at) == []
    for _ in range(300):
        clock.at += timedelta(seconds=1)
        leases.lapsed([agent(AgentState.LOST, version=2)], clock.at)
    back = agent(version=3)
    assert lapsed_after(11, back, leases, clock) == 0, "lost again before its first heartbeat could arrive"
    assert lapsed_after(1, back, leases, clock) == 1


def test_an_agent_that_registers_long_after_listening_began_has_a_whole_lease(leases: Leases, clock: Clock) -> None:
    clock.at += timedelta(hours=1)
    assert leases.lapsed([agent()], clock.at) == []


def test_an_agent_is_asked_to_register_where_the_ledger_thinks_otherwise(leases: Leases) -> None:
    assert not leases.heard(beat("b3"), agent())
    assert leases.heard(beat("b3"), agent(), agrees=False)
    assert not leases.heard(beat("b3"), agent(), agrees=False), "once a second is enough"


def test_a_beat_that_disagrees_still_renews_the_lease(leases: Leases, clock: Clock) -> None:
    leases.lapsed([agent()], clock.at)
    clock.at += timedelta(seconds=8)
    leases.heard(beat("b3"), agent(), agrees=False)
    clock.at += timedelta(seconds=8)
    assert leases.lapsed([agent()], clock.at) == []


def test_a_board_the_agent_sees_and_the_ledger_has_lost_is_a_disagreement() -> None:
    here, lost = board([REGISTERED]), board([REGISTERED, LOST])
    assert agrees(beat("b3"), agent(), [here])
    assert not agrees(beat("b3"), agent(), [lost])
    assert agrees(beat(), agent(), [lost])
    assert not agrees(beat(), agent(), [here])


def test_boards_of_others_old_agents_and_unknown_ones_are_no_disagreement() -> None:
    lost = board([REGISTERED, LOST])
    assert agrees(beat("b3"), replace(agent(), agent_id="other"), [lost])
    assert agrees(AgentHeartbeat(agent_id=AGENT, incarnation=INCARNATION), agent(), [lost])
    assert agrees(beat("b3"), None, [lost])
    assert agrees(beat("new"), agent(), [None])
