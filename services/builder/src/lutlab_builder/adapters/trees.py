"""Folders that a user's code wrote, handled with the builder's rights: as deep, as full and as closed as it liked.

Python's own walks and removals call themselves once a level, keep a descriptor open for each, and skip in silence what
they may not list or whose path is too long. Here nothing recurses, what is closed is opened, and what still cannot be
looked at counts as too much.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    ScandirIterator = os._ScandirIterator[str]  # has no public name

log = structlog.get_logger(__name__)

DEPTH_MAX = 64
"""Folders in folders; whatever is deeper counts as too much, and goes after the call."""
ENTRY_BYTES = 4096
"""What a file or folder counts at least: an empty one takes room, too, and a disk holds so many and no more."""
TOO_MUCH = sys.maxsize
REMOVED_AT_ONCE = 10_000
_OPEN = 0o700


class Unwalkable(OSError):
    """Something below a folder cannot be looked at, or lies too deep."""


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All that a folder holds, each folder before what is in it; links are not followed.

    Raises:
        Unwalkable: its `filename` is the folder that it is about.
    """
    ahead = [(str(folder), 0)]
    while ahead:
        place, depth = ahead.pop()
        opened = _opened(place)
        if opened is None:
            continue
        with opened:
            for entry in opened:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    if depth >= DEPTH_MAX:
                        raise Unwalkable(0, f"deeper than {DEPTH_MAX} folders", entry.path)
                    ahead.append((entry.path, depth + 1))


def _opened(place: str) -> ScandirIterator | None:
    """A folder to list; None if it is gone. Raises: Unwalkable."""
    with contextlib.suppress(PermissionError):
        return _found(place)
    with contextlib.suppress(FileNotFoundError):
        os.chmod(place, _OPEN)  # noqa: PTH101 - its owner closed it, and that is the builder's own user
    return _found(place)


def _found(place: str) -> ScandirIterator | None:
    try:
        return os.scandir(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise Unwalkable(error.errno, str(error.strerror), place) from error


def _entries(place: str) -> list[os.DirEntry[str]]:
    with os.scandir(place) as found:
        return list(itertools.islice(found, REMOVED_AT_ONCE))


def weight(folder: Path, enough: int) -> int:
    """What everything in a folder takes up together, in bytes, counted until it is more than `enough`; `TOO_MUCH` if
    not all of it can be looked at."""
    total = 0
    try:
        for entry in walk(folder):
            with contextlib.suppress(FileNotFoundError):
                total += max(entry.stat(follow_symlinks=False).st_size, ENTRY_BYTES)
            if total > enough:
                break
    except (Unwalkable, PermissionError):
        return TOO_MUCH
    return total


def tidy(folder: Path, kept: Callable[[os.DirEntry[str]], None] | None = None) -> None:
    """Remove whatever is neither a file nor a folder, and what of the folder's own entries holds something unwalkable.

    Args:
        kept: called for each file and folder that stays.
    """
    odd: list[str] = []
    while True:
        try:
            for entry in walk(folder):
                with contextlib.suppress(FileNotFoundError):
                    kind = entry.stat(follow_symlinks=False).st_mode
                    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                        odd.append(entry.path)
                    elif kept is not None:
                        kept(entry)
            break
        except (Unwalkable, PermissionError) as error:
            top = folder / Path(str(error.filename)).relative_to(folder).parts[0]
            log.warning("unwalkable_folder_removed", folder=str(top), reason=error.strerror)
            remove(top)
            if top.exists():
                raise
    for path in odd:
        Path(path).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder and all it holds, however deep it goes. What cannot be removed stays, and the log says so.

    Folders in folders are moved up until all of them stand side by side, so that no path grows long.
    """
    folder = folder.absolute()
    try:
        folder.chmod(_OPEN)
        pit = _pit(folder)
        numbers = itertools.count()
        _empty(str(folder), pit, numbers)
        while inner := _entries(pit):
            for entry in inner:
                _empty(entry.path, pit, numbers)
                os.rmdir(entry.path)  # noqa: PTH106 - paths as scandir gives them
        os.rmdir(pit)  # noqa: PTH106
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("folder_not_removed", folder=str(folder), reason=repr(error))


def _pit(folder: Path) -> str:
    """A new folder in it; where a full disk has no room for one, files go first."""
    try:
        return tempfile.mkdtemp(prefix=".gone-", dir=folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
    with contextlib.suppress(Unwalkable):
        for entry in walk(folder):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 - a path as scandir gives it
    return tempfile.mkdtemp(prefix=".gone-", dir=folder)


def _empty(place: str, pit: str, numbers: Iterator[int]) -> None:
    """Delete the files of a folder and move its folders into `pit`."""
    while True:
        entries = [entry for entry in _entries(place) if entry.path != pit]
        if not entries:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, _OPEN)  # noqa: PTH101
                os.rename(entry.path, f"{pit}/{next(numbers)}")  # noqa: PTH104
            else:
                os.unlink(entry.path)  # noqa: PTH108
