"""Private folders for builds under way."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from lutlab_builder.adapters import trees

_LOCK = ".lock"


class TemporaryWorkdirs:
    """`<root>/work-.../build`; beside each is a lock of its process, so that others see which ones a dead one left."""

    def __init__(self, root: Path) -> None:
        """`root` is made if missing; what builders that died left there is removed."""
        self._root = root
        self._locks: dict[Path, int] = {}
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in root.glob("work-*"):
            lock = _locked(folder)
            if lock is not None:
                trees.remove(folder)
                os.close(lock)

    def create(self) -> Path:
        """See `lutlab_builder.app.ports.Workdirs.create`."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)  # a cache may be cleared at any time
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        lock = _locked(fresh)
        assert lock is not None, "nobody looks at a folder of this name"
        outer = fresh.rename(fresh.with_name(fresh.name.replace(".new-", "work-", 1)))
        folder = outer / "build"
        folder.mkdir(mode=0o700)
        self._locks[folder] = lock
        return folder

    def remove(self, folder: Path) -> None:
        """See `lutlab_builder.app.ports.Workdirs.remove`."""
        trees.remove(folder.parent)
        os.close(self._locks.pop(folder))


def _locked(folder: Path) -> int | None:
    """The descriptor that holds a folder's lock; None if another process does, or the folder is gone."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
