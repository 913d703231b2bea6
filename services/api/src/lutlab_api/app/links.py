"""How the line to a board does: asked of its agent, never stored."""

from __future__ import annotations

import json
from typing import Any

from lutlab_api.app.leasing import bus_problem, without_session
from lutlab_api.app.ports import Bus
from lutlab_api.app.reads import Reads
from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_events.busmsg import BusHeaders, BusVerb

STATS_TIMEOUT_S = 2.0


class Links:
    """Answers about lines."""

    def __init__(self, *, reads: Reads, bus: Bus) -> None:
        self._reads = reads
        self._bus = bus

    async def stats(self, fpga_id: int) -> dict[str, Any]:
        """What the agent says about a board's line.

        Raises:
            Missing: no such board. BoardFailure: its agent does not answer, or nothing sensible.
        """
        board = await self._reads.board(fpga_id)
        headers = BusHeaders(verb=BusVerb.STATS, lease=without_session(board))
        reply = await self._bus.request(board.agent_id, headers, b"", STATS_TIMEOUT_S)
        problem = bus_problem(fpga_id, reply)
        if isinstance(problem, BoardFailure):
            raise problem
        if problem is not None:  # the question needs no session: an agent that asks for one is not of this version
            raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id}: its agent does not tell ({problem.message})")
        try:
            stats = json.loads(reply.frame)
        except ValueError:
            stats = None
        if not isinstance(stats, dict):
            raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id}: its agent answered nonsense")
        return stats
