"""Whether a caller may talk to a board just now."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from lutlab_api.domain.errors import ApiError, BoardFailure, Code, Conflict, Missing, NotAllowed
from lutlab_api.domain.views import BoardView, Caller
from lutlab_events.busmsg import BusReply, BusStatus, Lease
from lutlab_events.values import BoardState

NOBODY = UUID(int=0)


def without_session(board: BoardView) -> Lease:
    """In a lease's place, for questions that need no session."""
    return Lease(fpga_id=board.fpga_id, session_id=NOBODY, epoch=board.epoch)


def lease_of(board: BoardView, caller: Caller, now: datetime) -> Lease:
    """The lease of the caller's session on this board.

    Raises:
        Conflict: `fpga_not_reserved`: no session, or one that has run out, or the design is not running at the moment.
        NotAllowed: `not_your_session`.
    """
    session = board.session
    if session is None:
        raise _not_reserved(board, f"it is {board.public_state}; submit a design first")
    if session.owner != caller.owner and not caller.is_admin:
        raise NotAllowed(Code.NOT_YOUR_SESSION, f"board {board.fpga_id} is reserved by somebody else")
    if session.expires_at <= now:
        raise _not_reserved(board, f"your session ran out at {session.expires_at.isoformat()}; submit again")
    if board.state is BoardState.RESTORING:
        raise _not_reserved(board, "it lost power; your design is being loaded again, try again in a few seconds")
    if board.state is not BoardState.RESERVED:
        raise _not_reserved(
            board,
            f"it cannot be reached at the moment; your session is kept until {session.expires_at.isoformat()}",
        )
    return Lease(fpga_id=board.fpga_id, session_id=session.session_id, epoch=board.epoch)


def _not_reserved(board: BoardView, why: str) -> Conflict:
    return Conflict(Code.FPGA_NOT_RESERVED, f"board {board.fpga_id} is not reserved: {why}")


def bus_problem(fpga_id: int, reply: BusReply) -> ApiError | None:
    """What an agent's status means for the caller, None if it is `ok`."""
    why = f": {reply.message}" if reply.message else ""
    match reply.status:
        case BusStatus.OK:
            return None
        case BusStatus.BUSY:
            return Conflict(
                Code.FPGA_BUSY, f"board {fpga_id} is busy{why or ' with another connection; close it first'}"
            )
        case BusStatus.STALE_LEASE:
            return Conflict(Code.FPGA_NOT_RESERVED, f"board {fpga_id} is not reserved any more, the session ended{why}")
        case BusStatus.REFUSED:
            return Conflict(Code.BOARD_REFUSED, f"board {fpga_id} does not do that{why}")
        case BusStatus.UNKNOWN_BOARD:
            return BoardFailure(Code.BOARD_UNREACHABLE, f"the agent does not have board {fpga_id} at the moment{why}")
        case BusStatus.NOT_OFFERED:
            return Missing(Code.NO_BRIDGE, f"board {fpga_id} does not offer this{why}; use its WebSocket stream")
        case BusStatus.LINK_FAILED | BusStatus.BAD_REQUEST:
            unknown = "; the transaction may or may not have run"
            return BoardFailure(Code.BOARD_LINK_FAILED, f"the link to board {fpga_id} failed{why or unknown}")
