"""Registering: telling the scheduler which boards this agent has and what they run."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from lutlab_board_agent.app.ports import Commands
from lutlab_board_agent.app.seat import Seat
from lutlab_events.commands import RegisterAgent, ReportBoardLost

log = structlog.get_logger(__name__)


class Registration:
    """Registers the agent under one incarnation for as long as the process lives."""

    def __init__(self, seats: Sequence[Seat], commands: Commands, *, agent_id: str, incarnation: UUID) -> None:
        self._seats = seats
        self._commands = commands
        self._agent_id = agent_id
        self._incarnation = incarnation

    async def register(self) -> None:
        """Say what is attached now, and which known boards are not; waits until NATS has it."""
        attached = tuple(seat.report() for seat in self._seats if seat.attached)
        await self._commands.send(
            RegisterAgent(agent_id=self._agent_id, incarnation=self._incarnation, boards=attached)
        )
        missing = [seat for seat in self._seats if not seat.attached]
        for seat in missing:
            # The ledger may still think that it is there, if it went while the agent was down.
            if seat.memory.fpga_id is not None:
                message = f"{seat.board.serial.path} was not there when agent {self._agent_id} registered"
                await self._commands.send(
                    ReportBoardLost(fpga_id=seat.memory.fpga_id, agent_id=self._agent_id, message=message)
                )
        log.info(
            "agent_registered",
            agent_id=self._agent_id,
            incarnation=str(self._incarnation),
            boards=[report.board_key for report in attached],
            missing=[seat.board.key for seat in missing],
        )
