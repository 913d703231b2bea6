"""The port `lutlab_verify.tools.Tools` in the sandbox: one call of a tool is one bubblewrap.

A tool sees the stage's folder, writable, as `/job`; the project's files, read-only, as `/job/src`; the system's
programs and libraries, and what `lutlab_verify.catalogue` says the tool needs beside them. It sees no network, no
environment, no process of the host and no other file, `/etc/passwd` included.

The builder reads what tools wrote with its own rights. So a tool can make no links and no special files (the kernel
refuses), whatever is found of them after a call is removed, and the stage's folder belongs to the tools' user.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from lutlab_builder.adapters import seccomp, trees
from lutlab_builder.adapters.bwrap import REQUEST, BwrapSandbox, Mounts, base_argv
from lutlab_builder.adapters.child import run_child
from lutlab_builder.adapters.hostfiles import HostFiles
from lutlab_builder.app.ports import Limits, Outcome
from lutlab_events.work import ToolReport
from lutlab_verify import catalogue
from lutlab_verify.stage import ToolFailed
from lutlab_verify.tools import SOURCES, Stop, ToolCall, ToolLimits, ToolOutcome, Tools

WORK = "/job"
"""The stage's folder inside; not `/work`, where a lab may keep its own files."""
STAGE_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
STAGE_FILES = ("/etc/alternatives", "/etc/ld.so.cache")
"""What a tool sees of the system: more than a build does (`hostfiles`), for the system's own compilers run here."""
INSIDE = "/lutlab/packages/lutlab_builder/inside"
OUTPUT_LINES_MAX = 100_000
STAGE_BYTES_MAX = 4 << 30
"""What the files of a stage may have together."""
QUOTA_LOOK_S = 1.0
CPU_FACTOR = 4
"""Processor seconds of one process per second of a call."""
TOGETHER_MAX = 8
"""Calls of one stage at once, which share a user and so its process limit."""
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - a place inside the sandbox
    "TMPDIR": "/tmp",  # noqa: S108 - the same
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "YOWASP_CACHE_DIR": "/lutlab/yowasp",
}


def limits_of(limits: ToolLimits) -> Limits:
    """A tool's limits as this service's."""
    return Limits(
        wall_s=limits.wall_s,
        cpu_s=int(limits.wall_s * CPU_FACTOR) + 1,
        resident_bytes=limits.resident_bytes,
        file_bytes=limits.file_bytes,
        processes=limits.processes,
        output_lines=OUTPUT_LINES_MAX,
        output_bytes=limits.output_bytes,
    )


def outcome_of(outcome: Outcome) -> ToolOutcome:
    """What became of a call."""
    return ToolOutcome(
        exit_code=outcome.exit_code,
        stopped=None if outcome.stopped is None else Stop(outcome.stopped.value),
        tail=outcome.tail,
        seconds=outcome.seconds,
    )


def _unheard(_line: str) -> None:
    """Nothing."""


class SandboxedTools:
    """Makes a `Tools` for each stage; implements the port `lutlab_builder.app.run_stage.ToolRoom`."""

    def __init__(self, sandbox: BwrapSandbox, files: HostFiles, yowasp_cache: Path) -> None:
        self._sandbox = sandbox
        self._files = files
        self._yowasp_cache = yowasp_cache
        self._filter = seccomp.program(links=False)

    @asynccontextmanager
    async def tools(self, work: Path, sources: Path) -> AsyncIterator[Tools]:
        """Tools for one stage: `work` is its folder, `sources` the project's files."""
        (work / SOURCES).mkdir(exist_ok=True)
        async with self._sandbox.user() as uid:
            yield _StageTools(self, work, sources, uid)

    async def call(
        self, call: ToolCall, work: Path, sources: Path, uid: int | None, on_line: Callable[[str], None]
    ) -> Outcome:
        """Run one call. Raises: ToolMissing; BuildFailure `sandbox_unavailable`."""
        located = catalogue.locate(call.argv[0])
        environment = {**ENVIRONMENT, **located.environment, **call.environment}
        limits = limits_of(call.limits)
        await asyncio.to_thread(give, work, uid)
        request = self._request([*located.argv, *call.argv[1:]], environment, limits, uid)
        bwrap = self._argv(work, sources, located.folders)
        try:
            running = asyncio.create_task(self._sandbox.execute(bwrap, request, limits, on_line, self._filter))
            return await _within_quota(running, work, call.tool)
        finally:
            await asyncio.to_thread(trees.tidy, work)

    def _request(
        self, argv: list[str], environment: Mapping[str, str], limits: Limits, uid: int | None
    ) -> dict[str, object]:
        hard = self._sandbox.processes_hard(limits)
        return {
            "program": "tool",
            "params": {"argv": argv, "environment": dict(environment)},
            "paths": ["/lutlab/packages"],
            "uid": uid,
            "limits": {**asdict(limits), "processes_hard": None if hard is None else hard * TOGETHER_MAX},
        }

    def _argv(self, work: Path, sources: Path, folders: Iterable[Path]) -> list[str]:
        mounts = Mounts()
        for folder in STAGE_FOLDERS:
            path = Path(folder)
            if path.is_symlink():
                mounts.add("--symlink", path.readlink(), folder)
            else:
                mounts.add("--ro-bind-try", folder, folder)
        for file in STAGE_FILES:
            mounts.add("--ro-bind-try", file, file)
        for place in _outermost({self._files.prefix, self._files.python, *folders}):
            mounts.add("--ro-bind", place, str(place))
        mounts.add("--ro-bind", self._files.inside, INSIDE)
        mounts.add("--ro-bind-try", self._yowasp_cache, ENVIRONMENT["YOWASP_CACHE_DIR"])
        mounts.add("--bind", work, WORK)
        mounts.add("--ro-bind", sources, f"{WORK}/{SOURCES}")
        argv = [*base_argv(self._sandbox.bwrap, self._sandbox.mode), *mounts.argv]
        argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK]
        return [*argv, "--", str(self._files.python), "-s", "-P", "-S", "-B", f"{INSIDE}/run.py", REQUEST]


def _outermost(places: set[Path]) -> list[Path]:
    """These places, without those the sandbox shows anyway or that lie in others."""
    shown = [Path(folder) for folder in STAGE_FOLDERS]
    kept: list[Path] = []
    for place in sorted(places):
        if place != Path("/") and not any(place.is_relative_to(other) for other in (*shown, *kept)):
            kept.append(place)
    return kept


class _StageTools:
    """Implements the port `Tools` for one stage."""

    def __init__(self, room: SandboxedTools, work: Path, sources: Path, uid: int | None) -> None:
        self._room = room
        self._work = work
        self._sources = sources
        self._uid = uid
        self._together = asyncio.Semaphore(TOGETHER_MAX)

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        """See `lutlab_verify.tools.Tools.run`."""
        async with self._together:
            heard = on_line or _unheard
            return outcome_of(await self._room.call(call, self._work, self._sources, self._uid, heard))


async def _within_quota(running: asyncio.Task[Outcome], work: Path, tool: str) -> Outcome:
    """The outcome of a call, which is killed if the stage's folder grows too large. Raises: ToolFailed."""
    try:
        while True:
            done, _ = await asyncio.wait({running}, timeout=QUOTA_LOOK_S)
            if done:
                return running.result()
            size = await asyncio.to_thread(trees.weight, work, STAGE_BYTES_MAX)
            if size > STAGE_BYTES_MAX:
                raise ToolFailed(
                    f"{tool} was ended: the stage's files take up more than {STAGE_BYTES_MAX} bytes, at least "
                    f"{trees.ENTRY_BYTES} each, or lie more than {trees.DEPTH_MAX} folders deep",
                    tool=tool,
                )
    finally:
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def give(work: Path, uid: int | None) -> None:
    """Make a folder and all it holds belong to the tools' user; links are not followed.

    Other calls of the stage may remove files meanwhile.
    """
    if uid is None:
        return

    def give_one(entry: os.DirEntry[str]) -> None:
        if entry.stat(follow_symlinks=False).st_uid != uid:
            os.chown(entry.path, uid, uid, follow_symlinks=False)

    os.chown(work, uid, uid)
    trees.tidy(work, give_one)


class UnsandboxedTools:
    """The same without a sandbox, where the operator asked for that by name."""

    @asynccontextmanager
    async def tools(self, work: Path, sources: Path) -> AsyncIterator[Tools]:
        """Tools for one stage."""
        (work / SOURCES).symlink_to(sources, target_is_directory=True)
        yield _OpenTools(work)


class _OpenTools:
    """Implements the port `Tools` with the builder's own rights."""

    def __init__(self, work: Path) -> None:
        self._work = work

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        """See `lutlab_verify.tools.Tools.run`."""
        located = catalogue.locate(call.argv[0])
        environment = {**ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath), **located.environment}
        environment["YOWASP_CACHE_DIR"] = str(Path.home() / ".cache" / "YoWASP")
        outcome = await run_child(
            [*located.argv, *call.argv[1:]],
            env={**environment, **call.environment},
            limits=limits_of(call.limits),
            on_line=on_line or _unheard,
            cwd=self._work,
        )
        return outcome_of(outcome)


def tool_reports() -> list[ToolReport]:
    """The tools of this host; takes seconds the first time, since programs are started for their versions."""
    return [
        ToolReport(
            name=tool.name, available=tool.available, version=tool.version, hint=None if tool.available else tool.hint
        )
        for tool in catalogue.catalogue()
    ]
