"""The way to a board's raw TCP bridge: asked of its agent for the session's owner, never stored."""

from __future__ import annotations

import msgspec

from lutlab_api.app.leasing import bus_problem, lease_of
from lutlab_api.app.ports import Bus, Clock
from lutlab_api.app.reads import Reads
from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_api.domain.views import Caller
from lutlab_events.busmsg import BridgeWay, BusHeaders, BusVerb

BRIDGE_TIMEOUT_S = 2.0


class Bridges:
    """Tells where bridges listen, and what opens them."""

    def __init__(self, *, reads: Reads, bus: Bus, clock: Clock) -> None:
        self._reads = reads
        self._bus = bus
        self._clock = clock

    async def way(self, caller: Caller, fpga_id: int) -> BridgeWay:
        """Address and token; the token is good while the caller's session and key are.

        Raises:
            Missing: no such board, or it has no bridge. Conflict, NotAllowed: it is not the caller's.
            BoardFailure: its agent does not answer.
        """
        board = await self._reads.board(fpga_id)
        lease = lease_of(board, caller, self._clock.now())
        headers = BusHeaders(verb=BusVerb.BRIDGE, lease=lease, key=caller.key_name)
        reply = await self._bus.request(board.agent_id, headers, b"", BRIDGE_TIMEOUT_S)
        problem = bus_problem(fpga_id, reply)
        if problem is not None:
            raise problem
        try:
            return msgspec.json.decode(reply.frame, type=BridgeWay)
        except msgspec.MsgspecError as error:
            raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id}: its agent answered nonsense") from error
