"""Which built job gets which free board: dominant-share fairness between owners (docs/adr/0010-dominant-share.md).

A job that was submitted to a board has claimed it, so it goes first and takes nothing from anyone. Among all others,
each free board goes to the job with the highest priority; of equal ones to the job of the owner with the smallest
share; of equal ones to the job submitted first. An owner's share is the largest part of any profile's boards it has.

A job gets a board of its profile that has all its labels: of those the one that failed least, then the one with the
fewest labels, so that special boards are left for those who need them. The result depends on the sets only, never on
the order they are listed in.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from lutlab_events.values import BoardState, Withdrawal
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job, JobState

Kind = tuple[str | None, tuple[str, ...]]
"""A profile and labels: what a job needs, or what a board has."""


@dataclass(frozen=True, slots=True)
class Match:
    """This board is for this job."""

    job: Job
    board: Board


def holder(board: Board) -> str | None:
    """Who has the board, or will have it."""
    return board.session.owner if board.session else board.claim.owner if board.claim else None


def is_free(board: Board) -> bool:
    """Whether the board can be given to a job."""
    return board.state is BoardState.IDLE and board.absence is None


def is_gone(board: Board) -> bool:
    """Whether an admin took the board off the list: it is no part of the lab until it is found again."""
    return board.absence is not None and board.absence.why is Withdrawal.REMOVED


Place = tuple[int, int, Job]
"""A job in its queue: (-priority, number, job); numbers are unique, so jobs are never compared."""


class Waiting:
    """Built jobs that want a board, sorted: kept up to date job by job, so that no decision looks at all of them."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.pinned: dict[UUID, Job] = {}
        self.queues: dict[tuple[Kind, str], list[Place]] = {}
        for job in jobs:
            self.add(job)

    def add(self, job: Job) -> None:
        """Take a job in, if it waits for a board."""
        if job.state is not JobState.BUILT:
            return
        if job.pinned_fpga_id is not None:
            self.pinned[job.job_id] = job
        else:
            queue = self.queues.setdefault(((job.profile, job.labels), job.owner), [])
            insort(queue, (-job.priority, job.number, job))

    def remove(self, job: Job) -> None:
        """Forget a job, if it is there."""
        if job.state is not JobState.BUILT:
            return
        if job.pinned_fpga_id is not None:
            self.pinned.pop(job.job_id, None)
            return
        name = ((job.profile, job.labels), job.owner)
        queue = self.queues.get(name, [])
        at = bisect_left(queue, (-job.priority, job.number))
        if at < len(queue) and queue[at][1] == job.number:
            del queue[at]
            if not queue:
                del self.queues[name]

    def __bool__(self) -> bool:
        return bool(self.queues or self.pinned)


def match(jobs: Iterable[Job] | Waiting, boards: Iterable[Board], boards_max: int | None = None) -> list[Match]:
    """Pairs of built jobs and boards to program, in the order they were decided; no job and no board appears twice.

    Args:
        boards_max: how many boards one owner may have at once; None for any number.
    """
    waiting = jobs if isinstance(jobs, Waiting) else Waiting(jobs)
    if not waiting:
        return []
    boards = list(boards)
    free = [b for b in boards if is_free(b)]
    result = _pinned(waiting.pinned, boards)
    return result + (_unpinned(waiting.queues, free, Shares(boards), boards_max) if free and waiting.queues else [])


def _pinned(pinned: Mapping[UUID, Job], boards: list[Board]) -> list[Match]:
    if not pinned:
        return []
    claimed = (b for b in boards if b.claim and b.state in {BoardState.QUEUED, BoardState.BUILDING})
    found = [Match(pinned[b.claim.job_id], b) for b in claimed if b.claim and b.claim.job_id in pinned]
    return sorted(found, key=lambda m: m.job.number)


class Shares:
    """How much of the lab each owner has."""

    def __init__(self, boards: Iterable[Board]) -> None:
        self._there: Counter[str] = Counter()
        self._held: dict[str, Counter[str]] = defaultdict(Counter)
        for board in boards:
            if is_gone(board):
                continue
            self._there[board.profile] += 1
            owner = holder(board)
            if owner is not None:
                self._held[owner][board.profile] += 1

    def give(self, owner: str, board: Board) -> None:
        """The owner gets this board."""
        self._held[owner][board.profile] += 1

    def boards(self, owner: str) -> int:
        """How many boards the owner has."""
        return self._held[owner].total() if owner in self._held else 0

    def dominant(self, owner: str) -> float:
        """The largest part of any profile's boards that the owner has, from 0 to 1."""
        held = self._held.get(owner)
        return max(n / self._there[profile] for profile, n in held.items()) if held else 0.0


@dataclass(slots=True)
class _Free:
    """Free boards, the best of each kind on top."""

    kinds: dict[Kind, list[Board]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def of(boards: Iterable[Board]) -> _Free:
        free = _Free()
        for board in boards:
            free.kinds[board.profile, tuple(sorted(set(board.labels)))].append(board)
        for found in free.kinds.values():
            found.sort(key=lambda b: (-b.failures, -b.fpga_id))
        return free

    def fitting(self, need: Kind) -> list[Kind]:
        """Kinds of boards that have what is needed."""
        profile, labels = need
        return [kind for kind in self.kinds if kind[0] == profile and set(labels) <= set(kind[1])]

    def take(self, fitting: list[Kind]) -> Board | None:
        """The best free board of these kinds, None if all are taken."""
        left = [kind for kind in fitting if self.kinds[kind]]
        if not left:
            return None
        best = min(left, key=lambda k: (self.kinds[k][-1].failures, len(k[1]), self.kinds[k][-1].fpga_id))
        return self.kinds[best].pop()


def _unpinned(
    queues: Mapping[tuple[Kind, str], list[Place]], free: list[Board], shares: Shares, boards_max: int | None
) -> list[Match]:
    pool = _Free.of(free)
    fitting = {need: pool.fitting(need) for need in {need for need, _ in queues}}
    served: Counter[tuple[Kind, str]] = Counter()

    def place(name: tuple[Kind, str]) -> tuple[int, float, int, tuple[Kind, str]]:
        """Where the first job of a queue that has no board yet stands among all."""
        negated, number, _ = queues[name][served[name]]
        return (negated, shares.dominant(name[1]), number, name)

    # An owner's share only grows, so a place in the heap may be too good; it is looked at again when its turn comes.
    heap = [place(name) for name in queues if fitting[name[0]]]
    heapq.heapify(heap)
    result: list[Match] = []
    while heap and len(result) < len(free):
        entry = heapq.heappop(heap)
        name = entry[-1]
        if boards_max is not None and shares.boards(name[1]) >= boards_max:
            continue
        now = place(name)
        if now != entry:
            heapq.heappush(heap, now)
            continue
        board = pool.take(fitting[name[0]])
        if board is None:
            continue
        result.append(Match(queues[name][served[name]][2], board))
        served[name] += 1
        shares.give(name[1], board)
        if served[name] < len(queues[name]):
            heapq.heappush(heap, place(name))
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
