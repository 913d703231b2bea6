"""Values as text for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from lutlab.models import Job

GAP = "  "
FOLDED_CHARS_MIN = 16
"""A column that is folded gets at least this, even if lines are longer than the terminal is wide then."""


def table(head: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None, *, cut: bool = False) -> str:
    """Aligned columns.

    Args:
        head: their titles.
        rows: what stands in them.
        width: the terminal's; the last column is folded between words to fit. None for lines as long as they are.
        cut: the last column is cut instead.
    """
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if width is not None:
        left = width - sum(widths[:-1]) - len(GAP) * (len(head) - 1)
        widths[-1] = min(widths[-1], max(left, FOLDED_CHARS_MIN))
        if cut:
            cells = [[*row[:-1], shortened(row[-1], widths[-1])] for row in cells]
    return "\n".join(line.rstrip() for row in cells for line in _lines(row, widths))


def shortened(text: str, chars_max: int) -> str:
    """The text, or how it begins."""
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row: one line, and more where its last cell is too long for it."""
    first = "".join(f"{cell.ljust(width)}{GAP}" for cell, width in zip(row[:-1], widths[:-1], strict=True))
    if len(row[-1]) <= widths[-1]:
        yield first + row[-1]
        return
    # An id is never broken: it is to be copied.
    for part in textwrap.wrap(row[-1], widths[-1], break_long_words=False, break_on_hyphens=False):
        yield first + part
        first = " " * len(first)


def size_text(size_bytes: int) -> str:
    """Bytes in the unit a person would use: `512 bytes`, `1.5 MiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    value, units = float(size_bytes), ("KiB", "MiB", "GiB", "TiB")
    for unit in units:
        value /= 1024
        if value < 1024 or unit == units[-1]:
            break
    return f"{value:.1f} {unit}"


def or_dash(value: object) -> object:
    """The value, or `-` where there is none."""
    return "-" if value is None else value


def clock_time(moment: datetime) -> str:
    """Date and time in the local zone, to the second."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def short_time(moment: datetime, now: datetime) -> str:
    """A moment for a column: the time if it is today, else the date; in the local zone."""
    here = moment.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == now.astimezone().date() else f"{here:%Y-%m-%d}"


def describe(job: Job) -> str:
    """What a job is doing, for a progress line."""
    if job.status != "running":
        return job.status
    if job.build_stage == "wait-for-board":
        return "waiting for a free board"
    if job.build_stage == "program":
        return f"programming board {job.fpga_id}"
    return f"building ({job.build_stage})" if job.build_stage else "running"
