"""Whose turn it is with the builders.

Their queue in NATS is first come, first served, so only so much is put there as they are about to take (`AHEAD_MAX`);
the rest waits here. Whose work goes next is decided as for boards (docs/adr/0010-dominant-share.md): the highest
priority, then the owner who has least under way, then the oldest. Nothing here must be remembered: a scheduler that
leads later gathers the line from the jobs themselves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lutlab_scheduler.app.ports import Clock

AHEAD_MAX = 4
"""How much may be in a site's queue that no builder has begun: enough that none waits for the scheduler."""
OVERTAKEN = timedelta(minutes=1)
"""What was sent so long ago, and is overtaken by what was sent later, is lost, or nobody's who begins things."""
STALLED = timedelta(minutes=5)
"""If nothing was begun for so long, one more is sent: what is in the queue may be what no builder can begin."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A build or a stage that a builder is to take.

    Attributes:
        name: of the work; another attempt, or stage, of the same job has another.
        stream: of its job.
        number: the job's place in the log.
    """

    name: str
    stream: str
    site: str
    owner: str
    priority: int
    number: int


Place = tuple[int, int, str]
"""(-priority, number, stream): the order of one owner's work."""


def _place(work: Wanted) -> Place:
    return (-work.priority, work.number, work.stream)


class Line:
    """Work that is to be sent to builders, and what was sent and not begun."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, Wanted] = {}
        self._queues: dict[tuple[str, str], list[Place]] = {}
        self._sent: dict[str, tuple[Wanted, datetime]] = {}
        self._moved = clock.now()

    @property
    def waiting(self) -> int:
        """How much waits for its turn."""
        return len(self._waiting)

    def clear(self) -> None:
        """Forget everything, also what was sent."""
        self._waiting.clear()
        self._queues.clear()
        self._sent.clear()
        self._moved = self._clock.now()

    def see(self, stream: str, wanted: Wanted | None) -> None:
        """What is wanted of builders for a job now: what was sent for it before is begun, or over."""
        waits = self._waiting.get(stream)
        if waits is not None and waits != wanted:
            self._leave(waits)
        sent = self._sent.get(stream)
        if sent is not None and sent[0] != wanted:
            self._begun(*sent)
        if wanted is not None and stream not in self._waiting and stream not in self._sent:
            self._waiting[stream] = wanted
            insort(self._queues.setdefault((wanted.site, wanted.owner), []), _place(wanted))

    def next(self, under_way: Callable[[], Counter[str]]) -> Wanted | None:
        """What is to be sent now; None if enough was, or nothing waits.

        Args:
            under_way: how much of each owner's builders have begun and not ended.
        """
        if not self._waiting:
            return None
        ahead = Counter(work.site for work, _ in self._sent.values())
        heads = [(queue[0], owner) for (site, owner), queue in self._queues.items() if ahead[site] < AHEAD_MAX]
        if not heads:
            return None
        busy = under_way() + Counter(work.owner for work, _ in self._sent.values())
        (_, _, stream), _ = min(heads, key=lambda head: (head[0][0], busy[head[1]], head[0][1]))
        return self._waiting[stream]

    def take(self, work: Wanted, *, in_queue: bool) -> None:
        """It waits no more: it is in the builders' queue now, or waits elsewhere for room there."""
        if self._waiting.get(work.stream) != work:
            return
        self._leave(work)
        if in_queue:
            now = self._clock.now()
            self._moved = self._moved if self._sent else now
            self._sent[work.stream] = (work, now)

    def is_stalled(self) -> bool:
        """Whether nothing was begun for long, so that one more may be sent; asked from time to time."""
        now = self._clock.now()
        if not self._waiting or not self._sent or now - self._moved < STALLED:
            return False
        self._moved = now
        del self._sent[next(iter(self._sent))]
        return True

    def _leave(self, work: Wanted) -> None:
        del self._waiting[work.stream]
        name = (work.site, work.owner)
        queue = self._queues[name]
        del queue[bisect_left(queue, _place(work))]
        if not queue:
            del self._queues[name]

    def _begun(self, work: Wanted, sent_at: datetime) -> None:
        """It is in the queue no more, and neither is what stood there long before it."""
        self._moved = self._clock.now()
        del self._sent[work.stream]
        lost = min(sent_at, self._moved - OVERTAKEN)
        for other, at in list(self._sent.values()):
            if other.site == work.site and at < lost:
                del self._sent[other.stream]
