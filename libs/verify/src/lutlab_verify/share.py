"""Shares in percent that never claim to be whole where something is missing."""

from __future__ import annotations


def percent(part: int, whole: int) -> float | None:
    """One decimal; 100 only if nothing is missing, 0 only if there is nothing. None of nothing."""
    if not whole:
        return None
    rounded = round(100 * part / whole, 1)
    return rounded if part in (0, whole) else min(max(rounded, 0.1), 99.9)
