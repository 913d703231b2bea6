"""Small files that must be whole, private or locked."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lutlab_stack.errors import DataDirBusy

SECRET_BYTES = 24
LOG_TAIL_BYTES = 8192
LINE_HALF_CHARS = 300


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: a reader sees the old text or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def stored_secret(path: Path, *, prefix: str = "") -> str:
    """The secret kept in `path`, made at the first call; only its owner can read the file."""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        found = ""
    if found:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
        return found
    secret = prefix + secrets.token_urlsafe(SECRET_BYTES)
    write_atomically(path, secret + "\n", mode=0o600)
    return secret


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold `path` as a lock that the kernel drops when this process ends, however it ends.

    Raises:
        DataDirBusy: somebody else holds it; the message says which process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(32).strip() or "unknown"
            raise DataDirBusy(
                f"{what} is in use by process {holder}; stop it first, or choose another folder"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def size_bytes(path: Path) -> int:
    """The size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, lines: int = 12, *, after_bytes: int = 0) -> str:
    """The last lines of a text file, none of them before byte `after_bytes`; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(after_bytes, file.tell() - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(map(_shortened, text.splitlines()[-lines:]))


def _shortened(line: str) -> str:
    """A line that a person can look at: of a long one, such as a traceback in JSON, how it begins and how it ends."""
    return line if len(line) <= 2 * LINE_HALF_CHARS else f"{line[:LINE_HALF_CHARS]} ... {line[-LINE_HALF_CHARS:]}"
