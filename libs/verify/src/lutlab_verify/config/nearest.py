"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

WORD_CHARS_MAX = 64


def distance(a: str, b: str) -> int:
    """How many letters must be put in, left out, replaced or swapped with their neighbour to make `b` of `a`.

    Source: the optimal string alignment distance (Boytsov 2011, "Indexing methods for approximate dictionary
    searching", section 2.2).
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, above, row = row, before, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The most similar of some words; None if none is similar enough to be worth a suggestion."""
    wanted = word.casefold()[:WORD_CHARS_MAX]
    ranked = sorted((distance(wanted, known.casefold()), known) for known in words)
    if not ranked:
        return None
    away, known = ranked[0]
    return known if away <= max(2, len(known) // 3) and away < len(known) else None
