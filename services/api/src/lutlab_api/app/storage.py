"""How much an owner has stored, and whether more has room: `lutlab_ledger.storage` has the rule.

The scheduler decides about room, one command after another. What is certain to be refused is refused here before any
of it is stored, so that an owner at the limit cannot fill the database with uploads that nobody will speak of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from lutlab_api.app.ports import Ledger, Monotonic
from lutlab_api.app.unspoken import Unspoken
from lutlab_api.domain.errors import TooMany
from lutlab_events.rejections import Rejection
from lutlab_ledger.storage import told

REMEMBERED_S = 5.0
"""How long it is believed what an owner had stored, while there is room."""
OWNERS_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Used:
    """What counts for an owner.

    Attributes:
        held: which of the digests that were asked about are among its blobs.
    """

    used_bytes: int
    blobs: int
    held: frozenset[str] = frozenset()


class StorageStore(Protocol):
    """Counts what is stored."""

    async def used(self, owner: str, digests: Collection[str]) -> Used:
        """What counts for an owner. Raises: Unavailable."""
        ...


class Storage:
    """What is stored, of at most `bytes_max` an owner."""

    def __init__(self, store: StorageStore, ledger: Ledger, monotonic: Monotonic, *, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._store = store
        self._ledger = ledger
        self._monotonic = monotonic
        self._unspoken = Unspoken(monotonic)
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def of(self, owner: str) -> Used:
        """What an owner has stored. Raises: Unavailable."""
        return await self._store.used(owner, ())

    async def check(self, owner: str, blobs: Mapping[str, int], command_id: UUID, *, at_least: int = 0) -> None:
        """Pass what has room, and what was decided already: it is answered as it was then. Until `accepted` is told, it
        counts as something that nobody speaks of.

        Args:
            blobs: digest -> size of what is to be stored.
            at_least: what it counts as, if all of it is there already; 1 for jobs, which leave something behind.

        Raises:
            TooMany: `storage_full`.
            Unavailable: the ledger does not answer.
        """
        size = sum(blobs.values())
        seen_at, used_then = self._seen.get(owner, (float("-inf"), 0))
        now = self._monotonic()
        waiting = self._unspoken.size_bytes(owner, but=blobs)
        if now - seen_at < REMEMBERED_S and used_then + waiting + max(size, at_least) <= self.bytes_max:
            self._unspoken.add(owner, blobs)
            return
        used = await self._store.used(owner, blobs)
        self._remember(owner, now, used.used_bytes)
        new = {digest: each for digest, each in blobs.items() if digest not in used.held}
        more = max(at_least, sum(new.values()))
        has_room = not more or used.used_bytes + waiting + more <= self.bytes_max
        if has_room or await self._ledger.answer(command_id) is not None:
            self._unspoken.add(owner, new)
            return
        raise TooMany(
            Rejection.STORAGE_FULL,
            told(owner, used_bytes=used.used_bytes, more_bytes=more, allowed_bytes=self.bytes_max),
            details={"used_bytes": used.used_bytes, "needed_bytes": more, "limit_bytes": self.bytes_max},
        )

    def accepted(self, owner: str, digests: Collection[str]) -> None:
        """A command that speaks of these was accepted: they count for the owner from now on."""
        self._unspoken.settle(owner, digests)

    def _remember(self, owner: str, now: float, used_bytes: int) -> None:
        self._seen[owner] = (now, used_bytes)
        self._seen.move_to_end(owner)
        if len(self._seen) > OWNERS_REMEMBERED_MAX:
            self._seen.popitem(last=False)
