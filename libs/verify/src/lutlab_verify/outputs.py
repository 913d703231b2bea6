"""Files in a stage's folder, where programs of people who are not trusted could write before us.

A tool may leave a link under any name. So nothing is read through a link, and what we write replaces what is there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath


class OutputMissing(Exception):
    """A file is not there, is no ordinary file, or is larger than allowed; the message says which."""


def read_output(work: Path, name: str, bytes_max: int) -> bytes:
    """The content of a file that a tool wrote.

    Args:
        name: relative to `work`, `/` between folders.

    Raises:
        OutputMissing: also if a folder on the way is a link.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, folder)
            *parents, last = PurePosixPath(name).parts
            for parent in parents:
                folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                stack.callback(os.close, folder)
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            raise OutputMissing(f"{name}: {error.strerror}") from error
        stack.callback(os.close, file)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OutputMissing(f"{name} is no ordinary file")
        if status.st_size > bytes_max:
            raise OutputMissing(f"{name} is larger than {bytes_max} bytes")
        with os.fdopen(file, "rb", closefd=False) as stream:
            return stream.read(bytes_max)


def is_output(work: Path, name: str) -> bool:
    """Whether a tool left an ordinary file that is not empty under this name, no link on the way."""
    path = work
    try:
        for part in PurePosixPath(name).parts[:-1]:
            path /= part
            if not stat.S_ISDIR(path.lstat().st_mode):
                return False
        status = (work / name).lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def write_output(work: Path, name: str, content: bytes | str, mode: int = 0o644) -> Path:
    """Write a file directly in `work`, whatever is there under this name, readable for every tool.

    Raises: ValueError.
    """
    if PurePosixPath(name).name != name:
        raise ValueError(f"{name!r} does not stand directly in the stage's folder")
    path = work / name
    temporary = work / f".{name}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, mode), "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        os.fchmod(stream.fileno(), mode)
    temporary.replace(path)
    return path
