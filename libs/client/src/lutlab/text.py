"""Values as text for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lutlab.models import Job


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


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


def describe(job: Job) -> str:
    """What a job is doing, for a progress line."""
    if job.status != "running":
        return job.status
    if job.build_stage == "wait-for-board":
        return "waiting for a free board"
    if job.build_stage == "program":
        return f"programming board {job.fpga_id}"
    return f"building ({job.build_stage})" if job.build_stage else "running"
