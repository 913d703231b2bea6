"""Compiled designs on disk, so that programming the same bits again is instant."""

from __future__ import annotations

import os
from pathlib import Path

from lutlab_virtual_board.files import write_atomically

DESIGNS_MAX = 64
"""Shared objects kept; the least recently used go first."""


class DesignStore:
    """A folder of shared objects named after what they were made from.

    Args:
        folder: is created when first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str, compiler: str) -> bytes | None:
        """The shared object of a design by one compiler, or None."""
        path = self._path(key, compiler)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, key: str, compiler: str, data: bytes) -> None:
        """Keep a shared object, and drop the least recently used ones beyond the limit.

        Raises:
            OSError: the folder cannot be written.
        """
        write_atomically(self._path(key, compiler), data)
        kept = sorted(self._folder.glob("*.so"), key=_last_used, reverse=True)
        for path in kept[DESIGNS_MAX:]:
            path.unlink(missing_ok=True)

    def _path(self, key: str, compiler: str) -> Path:
        return self._folder / f"{key}.{compiler}.so"


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
