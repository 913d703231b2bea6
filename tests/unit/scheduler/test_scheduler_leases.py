"""Leases of agents, which are kept in memory only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import scheduler_given as g
from scheduler_fakes import ManualClock

from lutlab_events import events as e
from lutlab_events.ids import derived
from lutlab_events.work import AgentHeartbeat
from lutlab_scheduler.app.leases import Leases
from lutlab_scheduler.domain import agent
from lutlab_scheduler.domain.agent import Agent, AgentState

LEASE = timedelta(seconds=10)
FIRST = derived("first")
BEAT = AgentHeartbeat(agent_id=g.AGENT, incarnation=FIRST)


def known() -> Agent:
    registered = e.AgentRegistered(agent_id=g.AGENT, incarnation=FIRST, board_keys=())
    result: Agent = g.fold(agent.evolve, "agent-bench", [registered])
    return result


def test_an_agent_is_lost_when_it_was_silent_for_a_lease() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    leases.listen()
    for _ in range(10):
        assert leases.lapsed([known()], clock.advance(1)) == []
    assert not leases.heard(BEAT, known())
    for _ in range(10):
        assert leases.lapsed([known()], clock.advance(1)) == []
    assert len(leases.lapsed([known()], clock.advance(1))) == 1


def test_nobody_is_lost_while_nobody_listens_or_after_the_process_stood_still() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    assert leases.lapsed([known()], clock.advance(100)) == []
    leases.listen()
    assert leases.lapsed([known()], clock.advance(100)) == []  # suspended: it could not have heard anything
    assert leases.lapsed([known()], clock.advance(4)) == []
    leases.deafen()
    assert leases.lapsed([known()], clock.advance(4)) == []
    leases.listen()
    assert [len(leases.lapsed([known()], clock.advance(4))) for _ in range(3)] == [0, 0, 1]


def test_who_is_not_known_is_asked_to_register_but_not_too_often() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    assert leases.heard(BEAT, None)
    assert not leases.heard(BEAT, None)
    clock.advance(2)
    assert leases.heard(BEAT, replace(known(), state=AgentState.LOST))
    clock.advance(2)
    assert leases.heard(BEAT, replace(known(), incarnation=derived("second")))
    clock.advance(2)
    assert not leases.heard(BEAT, known())
