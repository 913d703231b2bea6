"""Registering: telling the scheduler which boards this agent has and what they run."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from lutlab_board_agent.app.ports import Commands
from lutlab_board_agent.app.seat import Seat
from lutlab_events.commands import RegisterAgent

log = structlog.get_logger(__name__)


class Registration:
    """Registers the agent under one incarnation for as long as the process lives."""

    def __init__(self, seats: Sequence[Seat], commands: Commands, *, agent_id: str, incarnation: UUID) -> None:
        self._seats = seats
        self._commands = commands
        self._agent_id = agent_id
        self._incarnation = incarnation

    def attached(self) -> tuple[str, ...]:
        """The keys of the boards that are plugged in now."""
        return tuple(seat.board.key for seat in self._seats if seat.attached)

    async def register(self) -> None:
        """Say what is attached now; waits until NATS has it. The scheduler takes boards left out for lost."""
        attached = tuple(seat.report() for seat in self._seats if seat.attached)
        await self._commands.send(
            RegisterAgent(agent_id=self._agent_id, incarnation=self._incarnation, boards=attached)
        )
        missing = [seat.board.key for seat in self._seats if not seat.attached]
        log.info(
            "agent_registered",
            agent_id=self._agent_id,
            incarnation=str(self._incarnation),
            boards=[report.board_key for report in attached],
            missing=missing,
        )
