"""What a board without hardware shows beside its bus: levels of pins, and recordings of signals."""

from __future__ import annotations

import json
from typing import Any

from lutlab_api.app.leasing import bus_problem, lease_of, without_session
from lutlab_api.app.ports import Bus, Clock
from lutlab_api.app.reads import Reads
from lutlab_api.domain.errors import BoardFailure, Code, NotAllowed
from lutlab_api.domain.views import BoardView, Caller
from lutlab_events.busmsg import BusHeaders, BusVerb, Lease
from lutlab_events.values import BoardState

PINS_TIMEOUT_S = 5.0
CAPTURE_TIMEOUT_S = 50.0
"""A recording may wait half a minute for its trigger."""


class Pins:
    """Looks at pins, sets them, and records."""

    def __init__(self, *, reads: Reads, bus: Bus, clock: Clock) -> None:
        self._reads = reads
        self._bus = bus
        self._clock = clock

    async def look(self, fpga_id: int) -> list[dict[str, Any]]:
        """Every pin of the running design, with its level.

        Raises:
            Missing: no such board. Conflict: it is real, or runs nothing. BoardFailure: its agent does not answer.
        """
        board = await self._reads.board(fpga_id)
        return _pins(fpga_id, await self._ask(board, BusVerb.PINS, without_session(board), {}, PINS_TIMEOUT_S))

    async def signals(self, caller: Caller | None, fpga_id: int) -> dict[str, int]:
        """What can be recorded, as widths in bits by name: on an idle board for everybody; of somebody's design, which
        the names are a part of, for whoever may read that. Raises: as `look`; NotAllowed.
        """
        board = await self._reads.board(fpga_id)
        if board.state is not BoardState.IDLE:
            owner = board.owner or ""  # one that is being reset has none, and still runs the design before
            if caller is None or not await self._reads.may_read(caller, owner):
                message = f"board {fpga_id} is {board.public_state}; what its signals are called is for whoever has it"
                raise NotAllowed(Code.NOT_YOUR_SESSION, message)
        frame = await self._ask(board, BusVerb.SIGNALS, without_session(board), {}, PINS_TIMEOUT_S)
        return dict(_decoded(fpga_id, frame))

    async def drive(self, caller: Caller, fpga_id: int, levels: dict[str, int]) -> list[dict[str, Any]]:
        """Set inputs of the design on a board that the caller has reserved; every pin afterwards. Raises: as `look`."""
        board = await self._reads.board(fpga_id)
        lease = lease_of(board, caller, self._clock.now())
        return _pins(fpga_id, await self._ask(board, BusVerb.DRIVE, lease, {"pins": levels}, PINS_TIMEOUT_S))

    async def capture(self, caller: Caller, fpga_id: int, wanted: dict[str, Any]) -> bytes:
        """A VCD of what signals do on a board that the caller has reserved. Raises: as `look`."""
        board = await self._reads.board(fpga_id)
        lease = lease_of(board, caller, self._clock.now())
        return await self._ask(board, BusVerb.CAPTURE, lease, wanted, CAPTURE_TIMEOUT_S)

    async def _ask(
        self, board: BoardView, verb: BusVerb, lease: Lease, wanted: dict[str, Any], timeout_s: float
    ) -> bytes:
        frame = json.dumps(wanted).encode()
        reply = await self._bus.request(board.agent_id, BusHeaders(verb=verb, lease=lease), frame, timeout_s)
        problem = bus_problem(board.fpga_id, reply)
        if problem is not None:
            raise problem
        return reply.frame


def _pins(fpga_id: int, frame: bytes) -> list[dict[str, Any]]:
    return list(_decoded(fpga_id, frame))


def _decoded(fpga_id: int, frame: bytes) -> Any:
    try:
        return json.loads(frame)
    except ValueError as error:
        raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id}: its agent answered nonsense") from error
