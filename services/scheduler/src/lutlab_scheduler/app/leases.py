"""Agents' leases, renewed by heartbeats. Kept in memory only: after a take-over every agent gets a whole lease."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from lutlab_events.values import BoardState
from lutlab_events.work import AgentHeartbeat
from lutlab_scheduler.app.ports import Clock
from lutlab_scheduler.domain.agent import Agent, AgentState
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.policies import Due, lapsed

ASK_AGAIN = timedelta(seconds=1)
"""How often an unknown agent is asked to register."""
AGENTS_MAX = 4096


def agrees(beat: AgentHeartbeat, agent: Agent | None, boards: Iterable[Board | None]) -> bool:
    """Whether the ledger has exactly those boards of an agent for lost that the agent does not see.

    Args:
        boards: those the agent sees and those it registered, as the ledger knows them.
    """
    if beat.boards is None or agent is None:
        return True
    own = [board for board in boards if board is not None and board.agent_id == agent.agent_id]
    return all((board.state is BoardState.LOST) != (board.board_key in beat.boards) for board in own)


class Leases:
    """When each agent was last heard of. While nobody listens (NATS is away) no lease lapses."""

    def __init__(self, *, lease: timedelta, clock: Clock) -> None:
        self._lease = lease
        self._clock = clock
        self._seen: dict[str, datetime] = {}
        self._asked: dict[str, datetime] = {}
        self._versions: dict[str, int] = {}
        self._since: datetime | None = None

    def listen(self) -> None:
        """Heartbeats can be heard from now on."""
        self._since = self._clock.now()

    def deafen(self) -> None:
        """Heartbeats cannot be heard any more."""
        self._since = None

    def lapsed(self, agents: Iterable[Agent], now: datetime) -> list[Due]:
        """The loss of every agent whose lease lapsed. A registration counts as a heartbeat; the first follows it."""
        if self._since is None:
            return []
        agents = list(agents)
        for agent in agents:
            if self._versions.get(agent.agent_id) != agent.version:
                self._versions[agent.agent_id] = agent.version
                self._seen[agent.agent_id] = now
        return lapsed(agents, self._seen, self._since, now, self._lease)

    def heard(self, beat: AgentHeartbeat, agent: Agent | None, *, agrees: bool = True) -> bool:
        """Renew a lease; True if the agent must register (again) and should be told so now.

        Args:
            agent: what the ledger knows of it.
            agrees: whether the ledger and the agent think the same boards are plugged in.
        """
        now = self._clock.now()
        known = agent is not None and agent.state is AgentState.PRESENT and agent.incarnation == beat.incarnation
        if known:
            self._seen[beat.agent_id] = now
            if agrees:
                return False
        asked = self._asked.get(beat.agent_id)
        if asked is not None and now - asked < ASK_AGAIN:
            return False
        if len(self._asked) >= AGENTS_MAX:
            self._asked.clear()
        self._asked[beat.agent_id] = now
        return True
