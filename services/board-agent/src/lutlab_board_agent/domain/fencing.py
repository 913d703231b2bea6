"""Fencing: which work and which bus traffic may reach a board.

Every load of a board has an epoch that only grows. The agent remembers the highest it has seen on disk, refuses work of
lower ones, and lets bus traffic pass only for the session and epoch of the load that runs.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import msgspec

from lutlab_events.busmsg import Lease
from lutlab_events.values import Frozen
from lutlab_events.work import ProgramWork


class BoardMemory(Frozen, frozen=True, kw_only=True):
    """What an agent remembers of a board across restarts.

    Attributes:
        fpga_id: the ledger's number of the board, None before the first work.
        epoch: the highest epoch seen, 0 for none.
        digest: the bitstream of that epoch.
        build_id: what its design answers in its hello.
        baud: its serial line's speed.
        session_id: whose traffic is allowed, None for the base design.
        session_ttl_s: the session's time to live.
        loaded: the load of this epoch was finished and its design answered.
    """

    fpga_id: int | None = None
    epoch: int = 0
    digest: str = ""
    build_id: int | None = None
    baud: int | None = None
    session_id: UUID | None = None
    session_ttl_s: float = 0.0
    loaded: bool = False


class Verdict(StrEnum):
    """What to do with a piece of program work."""

    STALE = "stale"
    """A newer load was ordered meanwhile: drop it."""
    NEW = "new"
    """The newest order: cut the old session, remember the epoch, load."""
    UNFINISHED = "unfinished"
    """Delivered again, and the load never finished: load."""
    FINISHED = "finished"
    """Delivered again after the load finished: report it again if the design still answers."""


def judge(memory: BoardMemory, work: ProgramWork) -> Verdict:
    """Decide about program work by its epoch."""
    if work.epoch < memory.epoch:
        return Verdict.STALE
    if work.epoch > memory.epoch:
        return Verdict.NEW
    same = memory.loaded and memory.digest == work.bitstream.digest
    return Verdict.FINISHED if same else Verdict.UNFINISHED


def begin(work: ProgramWork) -> BoardMemory:
    """What to remember before loading; from here on the old session has no rights."""
    return BoardMemory(
        fpga_id=work.fpga_id,
        epoch=work.epoch,
        digest=work.bitstream.digest,
        build_id=work.bitstream.build_id,
        baud=work.bitstream.baud,
        session_id=work.session_id,
        session_ttl_s=work.session_ttl_s,
    )


def finish(memory: BoardMemory) -> BoardMemory:
    """What to remember once the design of this epoch answered."""
    return msgspec.structs.replace(memory, loaded=True)


def lost_design(memory: BoardMemory) -> BoardMemory:
    """What to remember when the board turned out not to run this epoch's design any more (power loss)."""
    return msgspec.structs.replace(memory, loaded=False)


def lease_refusal(memory: BoardMemory, lease: Lease) -> str | None:
    """Why a lease gives no right to talk to the board now, None if it does."""
    if lease.epoch != memory.epoch:
        return f"the board is at epoch {memory.epoch}, the lease is of epoch {lease.epoch}"
    if memory.session_id is None:
        return "the board runs its base design and has no session"
    if lease.session_id != memory.session_id:
        return f"session {lease.session_id} does not hold the board"
    if not memory.loaded:
        return "the session's design does not run (yet)"
    return None
