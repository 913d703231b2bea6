"""A folder that several processes write into: what one that died left half-made in it is found, and nothing else.

No clock says what is abandoned: the kernel takes a dead process' locks away.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lutlab_builder.adapters import trees

PREFIX = ".half-"
LOCK = ".lock"


class SharedFolder:
    """Makes things beside where they will stand, for whoever renames them; made if it is missing, at any time."""

    def __init__(self, root: Path) -> None:
        """What writers that died left there is removed, unless somebody writes just now."""
        self.root = root
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            for left in root.glob(f"{PREFIX}*") if alone else ():
                trees.remove(left)

    @contextmanager
    def half_made(self) -> Iterator[Path]:
        """A fresh folder on the same disk; what is still in it at the end of the block goes with it."""
        with self._locked(fcntl.LOCK_SH):
            fresh = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.root))
            try:
                yield fresh
            finally:
                trees.remove(fresh)

    @contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        """Whether the lock was got; until the end of the block."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)
