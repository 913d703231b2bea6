"""An agent: a process on a lab host that serves boards, present as long as it renews its lease by heartbeats.

Theory. Heartbeats never enter the log; what does is that an agent registered, as which incarnation and with which
boards, and that its lease lapsed. A lapse names the incarnation, so that it cannot hit the process that came after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Rejected


class AgentState(StrEnum):
    """Whether an agent's lease holds."""

    PRESENT = "present"
    LOST = "lost"


TRANSITIONS: Table[AgentState] = {
    (START, e.AgentRegistered): (AgentState.PRESENT,),
    (AgentState.PRESENT, e.AgentRegistered): (AgentState.PRESENT,),
    (AgentState.LOST, e.AgentRegistered): (AgentState.PRESENT,),
    (AgentState.PRESENT, e.AgentLost): (AgentState.LOST,),
}

Decided = list[e.AgentEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What the log says about one agent. `incarnation` names the process that registered last."""

    agent_id: str
    site: str
    incarnation: UUID
    state: AgentState
    board_keys: tuple[str, ...]
    version: int
    updated_at: datetime


def evolve(agent: Agent | None, envelope: Happened) -> Agent:
    """The agent after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    state = follow(TRANSITIONS, envelope.stream, START if agent is None else agent.state, event)
    if isinstance(event, e.AgentRegistered):
        board_keys = event.board_keys
    else:
        assert agent is not None and isinstance(event, e.AgentLost)
        board_keys = agent.board_keys
    return Agent(
        agent_id=event.agent_id,
        site=envelope.site,
        incarnation=event.incarnation,
        state=state,
        board_keys=board_keys,
        version=envelope.version,
        updated_at=envelope.at,
    )


def register(command: c.RegisterAgent, agent: Agent | None) -> Decided:
    """Record the registration unless it says nothing new."""
    board_keys = tuple(sorted(report.board_key for report in command.boards))
    known = (
        agent is not None
        and agent.state is AgentState.PRESENT
        and (agent.incarnation, agent.board_keys) == (command.incarnation, board_keys)
    )
    if known:
        return []
    return [e.AgentRegistered(agent_id=command.agent_id, incarnation=command.incarnation, board_keys=board_keys)]


def lose(command: c.LoseAgent, agent: Agent | None) -> Decided:
    """Record that the lease of this incarnation lapsed."""
    if agent is None or agent.incarnation != command.incarnation:
        return Rejected(
            Rejection.STALE_INCARNATION, f"agent {command.agent_id} is not present as {command.incarnation} any more"
        )
    if agent.state is AgentState.LOST:
        return Rejected(Rejection.NOTHING_TO_DO, f"agent {command.agent_id} is lost already")
    return [e.AgentLost(agent_id=command.agent_id, incarnation=command.incarnation)]
