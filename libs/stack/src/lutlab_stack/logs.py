"""Log files of children: the previous run is kept once, and no file grows without bound."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 8 << 20


def older(log: Path) -> Path:
    """Where the part before the last rotation is."""
    return log.with_name(log.name + ".1")


def begin_log(log: Path) -> None:
    """Set aside the log of an earlier run. Call it while nobody writes."""
    if log.exists() and log.stat().st_size > 0:
        log.replace(older(log))


def cap_log(log: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Set aside a log that has grown too large, although a child has it open; True if it was.

    Its writers append (O_APPEND), so after the cut they go on at the beginning. Lines written between copy and cut are
    lost; that is the price of not standing between a child and its log, where our death would be its broken pipe.
    """
    try:
        if log.stat().st_size <= bytes_max:
            return False
        shutil.copyfile(log, older(log))
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True
