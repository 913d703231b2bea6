"""What may be written to a board: lists, arrays, NumPy arrays of integers."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import SupportsIndex

from lutlab.errors import LutlabError

WORD_MAX = (1 << 32) - 1


def checked(words: Iterable[SupportsIndex]) -> list[int]:
    """The words as plain integers.

    Raises:
        LutlabError: one does not fit a word.
        TypeError: one is no integer.
    """
    found = list(map(index, words))
    if found and not (min(found) >= 0 and max(found) <= WORD_MAX):
        place = next(place for place, word in enumerate(found) if not 0 <= word <= WORD_MAX)
        raise LutlabError(
            f"word {place} is {found[place]}, and these are not 32-bit words: they go from 0 to {WORD_MAX:#x}; "
            "of a negative number send `x & 0xffffffff`, of a NumPy array `.view('uint32')`"
        )
    return found
