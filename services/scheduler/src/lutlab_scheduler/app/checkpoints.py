"""Checkpoints: boards as they were folded once, so that a take-over need not fold their whole history.

Jobs end, and what has ended is not folded. A board's stream goes on for ever, some fifteen events a session. Nothing
here is truth: a checkpoint counts only for the very code that made it, and any other folds from the first event; what
happened since is folded in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from lutlab_events.ids import board_stream
from lutlab_scheduler.app.ports import Checkpoint, Shelf, StoreUnavailable
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.board import Board

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 60.0
EVENTS_BETWEEN = 1000
"""So many events may a take-over have to fold of a board, about 3 ms."""


def restored(checkpoint: Checkpoint) -> Board | None:
    """The board of a checkpoint; None if it is not to be trusted."""
    try:
        board = msgspec.json.decode(checkpoint.state, type=Board)
    except msgspec.MsgspecError as error:
        log.warning("checkpoint_unreadable", stream=checkpoint.stream, reason=str(error))
        return None
    fits = (board_stream(board.fpga_id), board.version) == (checkpoint.stream, checkpoint.version)
    return board if fits else None


async def keep_checkpoints(world: World, shelf: Shelf, found: Sequence[Checkpoint]) -> None:
    """Keep boards of which much has happened since they were kept, from time to time, until cancelled.

    Args:
        world: as of the last commit.
        found: what was kept when this term began.
    """
    kept = {checkpoint.stream: checkpoint.version for checkpoint in found}
    while True:
        await _keep(world, shelf, kept)
        await asyncio.sleep(LOOK_EVERY_S)


async def _keep(world: World, shelf: Shelf, kept: dict[str, int]) -> None:
    boards = {board_stream(board.fpga_id): board for board in world.boards()}
    due = [
        Checkpoint(stream, board.version, msgspec.json.encode(board))
        for stream, board in boards.items()
        if board.version - kept.get(stream, 0) >= EVENTS_BETWEEN
    ]
    if not due:
        return
    try:
        await shelf.keep(due)
    except StoreUnavailable as error:
        log.warning("checkpoints_failed", reason=str(error))
        return
    kept.update((checkpoint.stream, checkpoint.version) for checkpoint in due)
    log.info("checkpoints_kept", boards=len(due))
