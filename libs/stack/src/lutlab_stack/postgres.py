"""The embedded Postgres server: one cluster in one folder, on loopback, with a random password."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lutlab_stack.errors import StartFailed, Unreachable, WrongDataVersion
from lutlab_stack.files import stored_secret, write_atomically
from lutlab_stack.ports import stored_port
from lutlab_stack.postgres_binaries import PostgresBinaries, find_binaries, reachable, service_identity, within_reach
from lutlab_stack.spawn import Identity, ProcessSpec, bound_to_parent

SUPERUSER = "lutlab"
STOP_GRACE_S = 30.0
INITDB_TIMEOUT_S = 300.0
FALLBACK_ROOT = Path("/var/lib/lutlab/elsewhere")
"""Where a root user's data goes if the unprivileged user cannot reach the folder asked for, e.g. one below /root."""
STATUS_LINE = 7
"""Line of `postmaster.pid` (from 0) with the server's state: LOCK_FILE_LINE_PM_STATUS in Postgres' pidfile.h."""

# The database is only reachable over TCP on loopback; a Unix socket would be one more file to leave behind.
SETTINGS: dict[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, kw_only=True)
class PostgresCluster:
    """A prepared cluster; see `prepare_postgres`.

    Attributes:
        binaries: the programs that run it.
        base: the folder of password, port and data.
        port, password: how to reach it as `SUPERUSER`.
        identity: whom the server runs as.
        settings: server settings on top of `SETTINGS`.
    """

    binaries: PostgresBinaries
    base: Path
    port: int
    password: str
    identity: Identity | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.base / "data"

    def url(self, database: str = "postgres") -> str:
        """How to reach a database in it, password included."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def spec(self) -> ProcessSpec:
        """The process to start."""
        argv = [str(self.binaries.folder / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in {**SETTINGS, **self.settings}.items():
            argv += ["-c", f"{name}={value}"]
        return ProcessSpec(
            name="postgres",
            argv=tuple(argv),
            env=_environment(self.data),
            cwd=self.data,
            identity=self.identity,
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, leaves a clean data directory
            grace_s=STOP_GRACE_S,
            death_signal=signal.SIGINT,
        )

    def is_ready(self, pid: int) -> bool:
        """Whether the server started as `pid` accepts connections, as its lock file says."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return False
        return len(lines) > STATUS_LINE and lines[0].strip() == str(pid) and lines[STATUS_LINE].strip() == "ready"


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(home)}


def prepare_postgres(base: Path, *, settings: Mapping[str, str] | None = None) -> PostgresCluster:
    """Make or find a cluster below `base`; the second call on the same folder resumes it.

    As root, server and data belong to an unprivileged user, as Postgres demands. If that user cannot reach `base`, the
    data is kept below `FALLBACK_ROOT` instead and `base/README` says where.

    Args:
        base: folder for password, port and data; made if missing.
        settings: server settings on top of `SETTINGS`.

    Raises:
        BinariesMissing, NoServiceUser, Unreachable, WrongDataVersion, StartFailed, NoFreePort, OSError
    """
    identity = service_identity()
    binaries = within_reach(find_binaries(), identity)
    home = _home_within_reach(base, identity)
    cluster = PostgresCluster(
        binaries=binaries,
        base=home,
        port=stored_port(home / "port"),
        password=stored_secret(home / "password"),
        identity=identity,
        settings=dict(settings or {}),
    )
    if cluster.data.exists():
        _require_major(cluster.data, binaries.major)
    else:
        _initdb(cluster)
    return cluster


def remove_postgres(base: Path) -> None:
    """Delete what `prepare_postgres` made for this folder, wherever it is. The server must not run."""
    if os.geteuid() == 0:
        shutil.rmtree(_fallback_home(base), ignore_errors=True)
    shutil.rmtree(base, ignore_errors=True)


def _home_within_reach(base: Path, identity: Identity | None) -> Path:
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if identity is None:
        return base
    # Passable, not readable: only root owns files here, the unprivileged user has its own folder `data`.
    base.chmod(0o711)
    if reachable(base.resolve(), identity):
        return base
    home = _fallback_home(base)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (FALLBACK_ROOT.parent, FALLBACK_ROOT, home):
        folder.chmod(0o711)
    write_atomically(home / "of", f"{base.resolve()}\n")
    _prune()
    if not reachable(home, identity):
        raise Unreachable(
            f"Postgres runs as user id {identity.uid}, which can reach neither {base} nor {home}: "
            "choose another data directory, run as an ordinary user, or give the URL of a running Postgres"
        )
    note = f"User id {identity.uid} cannot reach this folder, so Postgres keeps its data in\n{home}\n"
    write_atomically(base / "README", note)
    return home


def _prune() -> None:
    """Delete the data of temporary folders that are gone: nobody else would.

    Other folders are left alone: they may be on a disk that is not mounted just now.
    """
    temporary = {Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")}  # noqa: S108 - only compared
    for home in FALLBACK_ROOT.iterdir():
        try:
            base = Path((home / "of").read_text(encoding="utf-8").rstrip("\n"))
        except OSError:
            continue
        in_use = (home / "data" / "postmaster.pid").exists()
        is_gone = not base.is_dir() or _fallback_home(base) != home
        if is_gone and not in_use and temporary & set(base.parents):
            shutil.rmtree(home, ignore_errors=True)


def _fallback_home(base: Path) -> Path:
    """A folder below `FALLBACK_ROOT` that stands for exactly this `base`: named by a mark kept in it."""
    mark = stored_secret(base / "id") if base.is_dir() else str(base)
    return FALLBACK_ROOT / hashlib.sha256(mark.encode()).hexdigest()[:20]


def _require_major(data: Path, major: int) -> None:
    version_file = data / "PG_VERSION"
    try:
        found = version_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise WrongDataVersion(f"{data} is not a Postgres data directory: it has no PG_VERSION") from None
    if found != str(major):
        raise WrongDataVersion(
            f"{data} was made by Postgres {found}, but this is Postgres {major}: "
            f"choose another data directory, or move the data with pg_dump of version {found}"
        )


def _initdb(cluster: PostgresCluster) -> None:
    """Make the data directory; it gets its name only when complete. Raises: StartFailed."""
    unfinished = cluster.base / "data.new"
    password_file = cluster.base / "password.initdb"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    write_atomically(password_file, cluster.password + "\n", mode=0o600)
    identity = cluster.identity
    if identity is not None:
        os.chown(unfinished, identity.uid, identity.gid)
        os.chown(password_file, identity.uid, identity.gid)
    argv = [
        str(cluster.binaries.folder / "initdb"),
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        *(["--no-sync"] if cluster.settings.get("fsync") == "off" else []),
    ]
    try:
        ran = subprocess.run(
            argv,
            env=_environment(unfinished),
            cwd=unfinished,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=INITDB_TIMEOUT_S,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            start_new_session=True,  # a terminal's Ctrl-C is for us
            preexec_fn=bound_to_parent(),
        )
    finally:
        password_file.unlink(missing_ok=True)
    if ran.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise StartFailed(f"initdb ended with code {ran.returncode}:\n{(ran.stdout + ran.stderr).strip()[-2000:]}")
    unfinished.rename(cluster.data)
