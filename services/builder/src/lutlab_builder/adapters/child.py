"""Run a child process: stream its lines, watch its whole family of processes, and leave nothing of it behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from lutlab_builder.app.ports import Limits, Outcome, Stop

log = structlog.get_logger(__name__)

POLL_S = 0.05
EXIT_POLL_S = 0.002
"""Between the end of the output and the exit status."""
READ_BYTES = 64 << 10
LINE_CHARS_MAX = 2000
TAIL_LINES = 60
REAP_TIMEOUT_S = 10.0
ORPHAN_LOOKS = 100
"""At processes that were killed, until they are gone."""
FAMILY_MAX = 5000
"""Processes looked at in one poll; a family larger than this has long exceeded its limit."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def clean(text: str) -> str:
    """A line fit for a log: no control characters, at most `LINE_CHARS_MAX` characters."""
    text = text.rstrip("\r\n")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)
    return text if len(text) <= LINE_CHARS_MAX else f"{text[:LINE_CHARS_MAX]} [line cut]"


class Lines:
    """Splits output into lines and hands on at most as many as the limits allow; always remembers the last ones."""

    def __init__(self, limits: Limits, on_line: Callable[[str], None]) -> None:
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._lines_left = limits.output_lines
        self._bytes_left = limits.output_bytes
        self._limits = limits
        self._on_line = on_line
        self._partial = b""
        self._cut = False

    def feed(self, data: bytes) -> None:
        """Take output as it comes."""
        data = self._partial + data
        if self._cut:
            # A flood of lines that nobody sees must not keep this process busy: only the last ones are looked at.
            *whole, self._partial = data.rsplit(b"\n", TAIL_LINES + 1)
            self._tail.extend(whole[-TAIL_LINES:])
        else:
            *whole, self._partial = data.split(b"\n")
            for raw in whole:
                self._emit(raw)
        if len(self._partial) > 4 * LINE_CHARS_MAX:
            self._emit(self._partial)
            self._partial = b""

    def end(self) -> None:
        """The output ended; hand on a last line without an end."""
        if self._partial:
            self._emit(self._partial)
            self._partial = b""

    def tail(self) -> tuple[str, ...]:
        """The last lines, whether or not they were handed on."""
        return tuple(clean(raw.decode("utf-8", "replace")) for raw in self._tail)

    def _emit(self, raw: bytes) -> None:
        self._tail.append(raw)
        if self._cut:
            return
        self._lines_left -= 1
        self._bytes_left -= len(raw) + 1
        if self._lines_left >= 0 and self._bytes_left >= 0:
            self._on_line(clean(raw.decode("utf-8", "replace")))
            return
        self._cut = True
        limits = self._limits
        self._on_line(f"[output cut here: a stage may say {limits.output_lines} lines, {limits.output_bytes} bytes]")


def family(pid: int) -> list[int]:
    """The process ids of `pid` and all that descend from it, at most `FAMILY_MAX`."""
    found, ahead = [pid], [pid]
    while ahead and len(found) < FAMILY_MAX:
        parent = ahead.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                found += children
                ahead += children
    return found


def usage(pids: Sequence[int]) -> tuple[int, int]:
    """(tasks, resident bytes) of these processes; those that are gone count nothing."""
    tasks = resident_bytes = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            tasks += int(fields[17])
            resident_bytes += int(fields[21]) * _PAGE_BYTES
    return tasks, resident_bytes


async def run_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    limits: Limits,
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    own_tasks: int = 0,
) -> Outcome:
    """Run `argv` until it ends or a limit is exceeded; standard error is part of the output.

    Args:
        own_tasks: tasks of the family that are the sandbox's own and do not count.

    Cancelling kills the family as a limit does. On return no process of the family is left, but for what hangs in the
    kernel.
    """
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    lines = Lines(limits, on_line)
    guard = Guard(process.pid, limits, own_tasks, started)
    reader = asyncio.ensure_future(_read(process, lines))
    try:
        while process.returncode is None and guard.poll() is None:
            await asyncio.wait({reader}, timeout=POLL_S)
            if reader.done():
                await asyncio.sleep(EXIT_POLL_S)
    finally:
        killed = kill_family(process.pid) if process.returncode is None else []
        await asyncio.shield(_reap(process, reader, killed))
        lines.end()
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    return Outcome(
        exit_code=code if code >= 0 else 128 - code,
        stopped=guard.stopped,
        tail=lines.tail(),
        seconds=time.monotonic() - started,
        resident_peak_bytes=guard.resident_peak_bytes,
    )


class Guard:
    """Looks at a family of processes now and then, and says which limit it exceeds."""

    def __init__(self, pid: int, limits: Limits, own_tasks: int, started: float) -> None:
        self.stopped: Stop | None = None
        self.resident_peak_bytes = 0
        self._pid = pid
        self._limits = limits
        self._own_tasks = own_tasks
        self._deadline = started + limits.wall_s

    def poll(self) -> Stop | None:
        """The limit that is exceeded now, if one is."""
        tasks, resident_bytes = usage(family(self._pid))
        self.resident_peak_bytes = max(self.resident_peak_bytes, resident_bytes)
        if tasks - self._own_tasks > self._limits.processes:
            self.stopped = Stop.PROCESSES
        elif resident_bytes > self._limits.resident_bytes:
            self.stopped = Stop.MEMORY
        elif time.monotonic() > self._deadline:
            self.stopped = Stop.TIME
        return self.stopped


async def _read(process: asyncio.subprocess.Process, lines: Lines) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(READ_BYTES):
        lines.feed(data)


def kill_family(pid: int) -> list[int]:
    """Kill a process, its group and its descendants, wherever they moved to; the descendants."""
    members = family(pid)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    for member in members:
        with contextlib.suppress(OSError):
            os.kill(member, signal.SIGKILL)
    return members[1:]


async def _reap(process: asyncio.subprocess.Process, reader: asyncio.Future[None], killed: Sequence[int]) -> None:
    """Wait for the end of the output, which is the end of the last process that could write it."""
    await asyncio.wait({reader}, timeout=REAP_TIMEOUT_S)
    if not reader.done():
        reader.cancel()
    ended, _ = await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=REAP_TIMEOUT_S)
    if not ended:  # it hangs in the kernel, at a file system that is away, say: no reason to lose the slot for ever
        log.error("process_not_ended", pid=process.pid)
    with contextlib.suppress(asyncio.CancelledError):
        await reader
    # Orphans come to process 1. Where this is it, in a pod, they would stay as zombies until there is room for no more.
    for _ in range(ORPHAN_LOOKS):
        killed = [pid for pid in killed if _is_own_and_alive(pid)]
        if not killed:
            break
        await asyncio.sleep(EXIT_POLL_S)


def _is_own_and_alive(pid: int) -> bool:
    """Whether a process is this one's child and has not ended; one that has is taken note of."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False
