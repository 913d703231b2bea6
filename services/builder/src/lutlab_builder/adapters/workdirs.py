"""Private folders for builds under way."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from lutlab_builder.adapters import trees

_ABANDONED_AFTER_S = 24 * 3600


class TemporaryWorkdirs:
    """Folders below one root."""

    def __init__(self, root: Path) -> None:
        """`root` is made if missing; what builders that died left there a day ago is removed."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()

    def _sweep(self) -> None:
        fresh = self.create()
        now_s = fresh.stat().st_mtime
        for folder in self._root.glob("build-*"):
            with contextlib.suppress(OSError):
                if now_s - folder.stat().st_mtime > _ABANDONED_AFTER_S:
                    trees.remove(folder)
        self.remove(fresh)

    def create(self) -> Path:
        """See `lutlab_builder.app.ports.Workdirs.create`."""
        return Path(tempfile.mkdtemp(prefix="build-", dir=self._root))

    def remove(self, folder: Path) -> None:
        """See `lutlab_builder.app.ports.Workdirs.remove`."""
        trees.remove(folder)
