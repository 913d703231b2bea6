"""Which built job gets which free board: first come, first served, by profile.

A job that was submitted to a board has claimed it, so it goes first and takes nothing from anyone. All others are
served in the order in which they were submitted (not in the order their builds ended); a board whose recent loads
failed is the last choice. The result depends on the sets only, never on the order they are listed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from lutlab_events.values import BoardState
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job, JobState


@dataclass(frozen=True, slots=True)
class Match:
    """This board is for this job."""

    job: Job
    board: Board


def match(jobs: Iterable[Job], boards: Iterable[Board]) -> list[Match]:
    """Pairs of built jobs and boards to program, in queue order; no job and no board appears twice."""
    waiting = sorted((j for j in jobs if j.state is JobState.BUILT), key=lambda j: j.number)
    if not waiting:
        return []
    boards = list(boards)
    claimed = {b.claim.job_id: b for b in boards if b.claim and b.state in {BoardState.QUEUED, BoardState.BUILDING}}
    free = sorted((b for b in boards if b.state is BoardState.IDLE), key=lambda b: (b.failures, b.fpga_id))
    return _pinned(waiting, claimed) + _unpinned(waiting, free)


def _pinned(waiting: list[Job], claimed: dict[UUID, Board]) -> list[Match]:
    return [Match(job, claimed[job.job_id]) for job in waiting if job.job_id in claimed]


def _unpinned(waiting: list[Job], free: list[Board]) -> list[Match]:
    result: list[Match] = []
    for job in waiting:
        board = next((b for b in free if b.profile == job.profile), None)
        if job.pinned_fpga_id is None and board is not None:
            free.remove(board)
            result.append(Match(job, board))
    return result


def default_profile(boards: Iterable[Board], fallback: str) -> str:
    """The profile to build for if nobody says: that of most reachable boards, else `fallback`.

    Equal numbers are decided for the profile of the board with the lowest number.
    """
    counts: dict[str, int] = {}
    for board in sorted(boards, key=lambda b: b.fpga_id):
        if board.state is not BoardState.LOST:
            counts[board.profile] = counts.get(board.profile, 0) + 1
    return max(counts, key=lambda p: counts[p]) if counts else fallback
