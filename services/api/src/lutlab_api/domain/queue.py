"""Where a job stands in the queue for boards, and when its turn may come. Follows docs/adr/0010-dominant-share.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another owner whose jobs of the same priority wait for the same boards.

    Attributes:
        waiting: how many of them.
        oldest: the number of the first.
    """

    waiting: int
    oldest: int


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A board in service that fits the job: free, or in use from `since` until `until` unless that is renewed."""

    free: bool
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What counts for one waiting job.

    Attributes:
        owner, number: of the job.
        higher: waiting jobs of a higher priority.
        own_ahead: the owner's own jobs of the same priority that were submitted before.
        rivals: other owners, by name.
        held: how many fitting boards each owner has now.
        slots: the boards that fit.
    """

    owner: str
    number: int
    higher: int = 0
    own_ahead: int = 0
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    slots: Sequence[Slot] = ()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A job's place in the queue.

    Attributes:
        position: 1 for the next job to get a board, if nothing changes.
        boards: how many boards in service could take it.
        estimated_start_at: when its turn comes if sessions end when they would end unused; None if no board fits.
    """

    position: int
    boards: int
    estimated_start_at: datetime | None


def standing(queue: Queue, now: datetime) -> Standing:
    """Where the job stands. A rival's job goes before ours while the rival would hold fewer boards by then."""
    ours = queue.held.get(queue.owner, 0) + queue.own_ahead
    before = queue.higher + queue.own_ahead
    for name, rival in queue.rivals.items():
        held = queue.held.get(name, 0)
        ahead = ours - held + (1 if rival.oldest < queue.number else 0)
        before += min(max(ahead, 0), rival.waiting)
    return Standing(position=before + 1, boards=len(queue.slots), estimated_start_at=_turn(before, queue.slots, now))


def _turn(before: int, slots: Sequence[Slot], now: datetime) -> datetime | None:
    """When the board comes free that is left after `before` other jobs each took the first one to come free."""
    if not slots:
        return None
    free = sum(slot.free for slot in slots)
    if before < free:
        return now
    ends = sorted(max(slot.until, now) for slot in slots if slot.until is not None)
    if not ends:
        return None
    lengths = [slot.until - slot.since for slot in slots if slot.until is not None and slot.since is not None]
    mean = sum(lengths, timedelta()) / len(lengths) if lengths else timedelta()
    rounds, index = divmod(before - free, len(ends))
    return ends[index] + rounds * mean
