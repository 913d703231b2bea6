"""Translated and compiled designs on disk, so that programming the same bits again is instant."""

from __future__ import annotations

import os
from pathlib import Path

from lutlab_virtual_board.files import write_atomically

FILES_MAX = 96
"""Files kept, at most three a design; the least recently used go first."""

SOURCE = "c"
"""What the generated C text is kept as."""


class DesignStore:
    """A folder of files named after the bitstream they were made from.

    Args:
        folder: is created when first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str, kind: str) -> bytes | None:
        """What is kept of a design: the shared object by the compiler called `kind`, or its SOURCE."""
        path = self._path(key, kind)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, key: str, kind: str, data: bytes) -> None:
        """Keep a file of a design, and drop the least recently used ones beyond the limit.

        Raises:
            OSError: the folder cannot be written.
        """
        write_atomically(self._path(key, kind), data)
        kept = sorted(self._folder.glob("*.*"), key=_last_used, reverse=True)
        for path in kept[FILES_MAX:]:
            path.unlink(missing_ok=True)

    def _path(self, key: str, kind: str) -> Path:
        return self._folder / f"{key}.{kind}"


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
