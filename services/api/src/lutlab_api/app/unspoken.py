"""Blobs that were stored for commands which were refused, or not answered: they take room, but nobody speaks of them.

The scheduler takes them out after an hour or two. Until then they count here, for who brought them, or somebody whose
uploads are refused for another reason than room could fill the database with them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from lutlab_api.app.ports import Monotonic

KEPT_S = 2 * 3600.0
"""Longer than the scheduler keeps what nobody speaks of."""
BLOBS_MAX = 50_000
"""Of one owner; with more, however small, there is no room."""
OWNERS_MAX = 10_000


class Unspoken:
    """What each owner brought to this process lately that no command was accepted for."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._brought: OrderedDict[str, OrderedDict[str, tuple[float, int]]] = OrderedDict()

    def size_bytes(self, owner: str, but: Collection[str] = ()) -> float:
        """How many bytes that is, without these digests; infinite if they are too many blobs."""
        found = self._lately(owner)
        if len(found) > BLOBS_MAX:
            return float("inf")
        return sum(size for digest, (_, size) in found.items() if digest not in but)

    def add(self, owner: str, blobs: Mapping[str, int]) -> None:
        """These are about to be stored."""
        found, now = self._lately(owner), self._monotonic()
        for digest, size in blobs.items():
            found[digest] = (now, size)
            found.move_to_end(digest)
        if found:
            self._brought[owner] = found
            self._brought.move_to_end(owner)
        while len(self._brought) > OWNERS_MAX:
            self._brought.popitem(last=False)

    def settle(self, owner: str, digests: Collection[str]) -> None:
        """A command that speaks of these was accepted."""
        found = self._brought.get(owner)
        if found is None:
            return
        for digest in digests:
            found.pop(digest, None)
        if not found:
            del self._brought[owner]

    def _lately(self, owner: str) -> OrderedDict[str, tuple[float, int]]:
        found = self._brought.get(owner)
        if found is None:
            return OrderedDict()
        before = self._monotonic() - KEPT_S
        while found and next(iter(found.values()))[0] < before:
            found.popitem(last=False)
        return found
