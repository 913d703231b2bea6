"""A folder of files that later runs use again: each is there whole or not at all, whoever else puts the same one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def put(path: Path, content: bytes) -> None:
    """Put a file there, in place of an earlier one. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or it may have its name, and nothing in it, after a power cut
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def drop_oldest(folder: Path, pattern: str, most: int) -> None:
    """Leave so many of the files of a pattern, those that were used last."""
    ages = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another run dropped it
            ages.append((path.stat().st_mtime, path))
    for _, path in sorted(ages)[:-most]:
        path.unlink(missing_ok=True)
