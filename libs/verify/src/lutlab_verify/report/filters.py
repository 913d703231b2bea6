"""What templates may do to values beside Jinja's own filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NONE = "–"


def seconds(value: Any) -> str:
    """A duration: `2.1 s`, `3 min 05 s`."""
    if not isinstance(value, int | float):
        return NONE
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def percent(value: Any) -> str:
    """A share with one decimal."""
    return f"{value:.1f} %" if isinstance(value, int | float) else NONE


def bytes_(value: Any) -> str:
    """A size in the unit that suits it."""
    if not isinstance(value, int | float):
        return NONE
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def figure(value: Any) -> str:
    """A number as people write it, anything else as text."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NONE}[value]
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def cell(value: Any) -> str:
    """Text in a Markdown table's cell: one line, with the signs of tables and markup made harmless."""
    text = " ".join(str(NONE if value is None else value).split())
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text


def change_words(change: Any) -> str:
    """A `compare.Change` in words: `passed → failed`, `lines 18 and 20 no longer run`."""
    before, after = change["before"], change["after"]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        numbers = ", ".join(map(str, before or after))
        word, more = ("line", "s") if len(before or after) == 1 else ("lines", "")
        return f"{word} {numbers} no longer run{more}" if before else f"{word} {numbers} run{more} now"
    if before is None or after is None:
        return f"new: {figure(after)}" if before is None else f"gone: {figure(before)}"
    return f"{figure(before)} → {figure(after)}"


FILTERS: dict[str, Callable[..., Any]] = {
    "seconds": seconds,
    "percent": percent,
    "bytes": bytes_,
    "figure": figure,
    "cell": cell,
    "change_words": change_words,
}
