"""Runs tools with the caller's own rights: for tests, benches and one's own designs. NOT a sandbox.

Time, memory, processes and output are limited as well as polling can; files and the network are open to the tool.
Services run tools through their own adapter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lutlab_verify.catalogue import locate
from lutlab_verify.tools import SOURCES, Stop, ToolCall, ToolLimits, ToolOutcome

POLL_S = 0.05
READ_BYTES = 64 << 10
LINE_CHARS_MAX = 2000
TAIL_LINES = 60
FAMILY_MAX = 1000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class PlainTools:
    """Implements the Tools port without a sandbox."""

    def __init__(self, work: Path, root: Path) -> None:
        """
        Args:
            work: the stage's folder; made if it is missing.
            root: the project's files, which appear as `src` in it.
        """
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        link = work / SOURCES
        if not link.is_symlink():
            link.symlink_to(root.resolve(), target_is_directory=True)

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        """See `lutlab_verify.tools.Tools.run`."""
        located = locate(call.argv[0])
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *located.argv,
            *call.argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment(), **located.environment, **call.environment},
            cwd=self._work,
            start_new_session=True,
        )
        with contextlib.suppress(OSError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (call.limits.file_bytes, call.limits.file_bytes))
        lines = _Lines(call.limits, on_line or (lambda _line: None))
        stopped: Stop | None = None
        reader = asyncio.ensure_future(_read(process, lines))
        exit_task = asyncio.ensure_future(process.wait())
        try:
            while stopped is None:
                done, _ = await asyncio.wait({exit_task}, timeout=POLL_S)
                if done:
                    break
                stopped = _exceeded(process.pid, call.limits, started)
        finally:
            _kill(process.pid)
            await asyncio.shield(exit_task)
            await asyncio.shield(reader)
        code = process.returncode or 0
        return ToolOutcome(
            exit_code=code if code >= 0 else 128 - code,
            stopped=stopped,
            tail=lines.tail(),
            seconds=time.monotonic() - started,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._work),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the system's own
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            "YOWASP_CACHE_DIR": os.environ.get("YOWASP_CACHE_DIR", str(Path.home() / ".cache" / "YoWASP")),
        }


class _Lines:
    """Splits output into lines, hands on as many as the limit allows, and remembers the last ones."""

    def __init__(self, limits: ToolLimits, on_line: Callable[[str], None]) -> None:
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._left = limits.output_bytes
        self._limit = limits.output_bytes
        self._on_line = on_line
        self._partial = b""
        self._cut = False

    def feed(self, data: bytes) -> None:
        *whole, self._partial = (self._partial + data).split(b"\n")
        for raw in whole:
            self._emit(raw)
        if len(self._partial) > 4 * LINE_CHARS_MAX:
            self.end()

    def end(self) -> None:
        if self._partial:
            self._emit(self._partial)
            self._partial = b""

    def tail(self) -> tuple[str, ...]:
        return tuple(self._tail)

    def _emit(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").rstrip("\r")[:LINE_CHARS_MAX]
        self._tail.append(line)
        self._left -= len(raw) + 1
        if self._left >= 0:
            self._on_line(line)
        elif not self._cut:
            self._cut = True
            self._on_line(f"[output cut here: a tool may print {self._limit} bytes]")


async def _read(process: asyncio.subprocess.Process, lines: _Lines) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(READ_BYTES):
        lines.feed(data)
    lines.end()


def _family(pid: int) -> list[int]:
    found, ahead = [pid], [pid]
    while ahead and len(found) < FAMILY_MAX:
        parent = ahead.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                found += children
                ahead += children
    return found


def _exceeded(pid: int, limits: ToolLimits, started: float) -> Stop | None:
    tasks = resident_bytes = 0
    for member in _family(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            tasks += int(fields[17])
            resident_bytes += int(fields[21]) * _PAGE_BYTES
    if time.monotonic() - started > limits.wall_s:
        return Stop.TIME
    if resident_bytes > limits.resident_bytes:
        return Stop.MEMORY
    return Stop.PROCESSES if tasks > limits.processes else None


def _kill(pid: int) -> None:
    """Kill a process, its group and its descendants; those already gone are no error."""
    members = _family(pid)
    for kill, target in [(os.killpg, pid), *((os.kill, member) for member in members[1:])]:
        with contextlib.suppress(OSError):
            kill(target, signal.SIGKILL)
