"""Running a child process: lines, limits, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lutlab_builder.adapters import child
from lutlab_builder.adapters.child import LINE_CHARS_MAX, TAIL_LINES, Lines, clean, run_child
from lutlab_builder.app.ports import Limits, Outcome, Stop

LIMITS = Limits(wall_s=20, cpu_s=20, resident_bytes=200 << 20, processes=20)


async def run(code: str, limits: Limits = LIMITS) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    outcome = await run_child([sys.executable, "-c", code], env={}, limits=limits, on_line=lines.append)
    return outcome, lines


def gone(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


def test_lines_are_put_together_whatever_the_pieces() -> None:
    seen: list[str] = []
    lines = Lines(LIMITS, seen.append)
    for byte in "one\ntwo ü\r\n\nlast".encode():
        lines.feed(bytes([byte]))
    lines.end()
    assert seen == ["one", "two ü", "", "last"]


def test_control_characters_do_not_reach_the_log() -> None:
    assert clean("a\tb\x1b[31mred\0") == "a b\ufffd[31mred\ufffd"
    assert clean("x" * 5000).endswith("[line cut]")
    assert len(clean("x" * 5000)) < LINE_CHARS_MAX + 20


def test_output_is_cut_and_the_log_says_so_once() -> None:
    seen: list[str] = []
    lines = Lines(replace(LIMITS, output_lines=3), seen.append)
    lines.feed(b"".join(b"%d\n" % i for i in range(100)))
    assert seen[:3] == ["0", "1", "2"]
    assert len(seen) == 4
    assert "3 lines" in seen[3]
    assert lines.tail()[-1] == "99"


@pytest.mark.parametrize("count", [1, TAIL_LINES - 1, TAIL_LINES, TAIL_LINES + 1, TAIL_LINES + 2, 5000])
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_of_what_is_cut_the_last_lines_are_known(count: int, piece_bytes: int) -> None:
    lines = Lines(replace(LIMITS, output_lines=1), lambda _: None)
    lines.feed(b"seen\nbegins the cut\n")
    rest = b"".join(b"%d\n" % i for i in range(count))
    for start in range(0, len(rest), piece_bytes):
        lines.feed(rest[start : start + piece_bytes])
    wanted = ["seen", "begins the cut", *map(str, range(count))]
    assert list(lines.tail()) == wanted[-TAIL_LINES:]


def test_output_without_line_ends_is_cut_too() -> None:
    seen: list[str] = []
    lines = Lines(replace(LIMITS, output_bytes=100_000), seen.append)
    for _ in range(100):
        lines.feed(b"x" * 10_000)
    lines.end()
    assert sum(map(len, seen)) < 100_000
    assert "cut here" in seen[-1]


async def test_status_output_and_errors_come_back() -> None:
    outcome, lines = await run("import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)")
    assert (outcome.exit_code, outcome.stopped, lines) == (3, None, ["out", "err"])


async def test_the_memory_of_a_program_is_seen_while_it_runs() -> None:
    outcome, _ = await run("import time; held = bytearray(64 << 20); time.sleep(1)")
    assert 64 << 20 < outcome.resident_peak_bytes < 256 << 20


async def test_a_signal_is_128_and_its_number() -> None:
    outcome, _ = await run("import os; os.kill(os.getpid(), 11)")
    assert outcome.exit_code == 139


async def test_the_wall_clock_ends_a_loop() -> None:
    outcome, _ = await run("while True: pass", replace(LIMITS, wall_s=0.5))
    assert outcome.stopped is Stop.TIME
    assert outcome.seconds < 5


async def test_too_much_memory_ends_it() -> None:
    code = "import time; block = bytearray(b'x') * (300 << 20); time.sleep(20)"
    outcome, _ = await run(code)
    assert outcome.stopped is Stop.MEMORY


async def test_too_many_processes_end_it() -> None:
    outcome, _ = await run("import os, time\nfor _ in range(60):\n    if not os.fork(): time.sleep(20)\ntime.sleep(20)")
    assert outcome.stopped is Stop.PROCESSES
    assert outcome.seconds < 10


async def test_children_that_hold_the_output_do_not_delay_the_end() -> None:
    code = "import os, time\npid = os.fork()\nif not pid: time.sleep(60)\nprint(pid, flush=True); time.sleep(30)"
    outcome, lines = await run(code, replace(LIMITS, wall_s=1.5))  # a busy machine needs a while to start Python
    assert outcome.stopped is Stop.TIME
    assert outcome.seconds < 5
    async with asyncio.timeout(5):
        while not gone(int(lines[0])):  # noqa: ASYNC110 - killed, but the kernel may still be at it
            await asyncio.sleep(0.01)


async def test_closing_the_output_is_not_the_end() -> None:
    outcome, _ = await run("import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(5)")
    assert outcome.exit_code == 5


async def test_cancelling_kills_it() -> None:
    lines: list[str] = []
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    task = asyncio.ensure_future(
        run_child([sys.executable, "-c", code], env=dict(os.environ), limits=LIMITS, on_line=lines.append)
    )
    while not lines:  # noqa: ASYNC110 - a line has no event
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(int(lines[0]))


async def test_what_hangs_in_the_kernel_holds_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        """As asyncio's process, which nothing ends."""

        pid, returncode = 1 << 30, None

        def __init__(self) -> None:
            self.stdout = asyncio.StreamReader()

        async def wait(self) -> None:
            await asyncio.get_running_loop().create_future()

    async def start(*_: Any, **__: Any) -> Hanging:
        return Hanging()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(child, "REAP_TIMEOUT_S", 0.01)
    async with asyncio.timeout(5):
        outcome, _ = await run("", replace(LIMITS, wall_s=0.01))
    assert outcome.stopped is Stop.TIME


ORPHANS = """
import asyncio, ctypes, os, sys
from pathlib import Path
from lutlab_builder.adapters.child import run_child
from lutlab_builder.app.ports import Limits
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: as process 1 of a container, which orphans come to
limits = Limits(wall_s=0.3, cpu_s=20, resident_bytes=200 << 20)
argv = ["/bin/sh", "-c", "/bin/sh -c 'sleep 60 & wait' & wait"]
outcome = asyncio.run(run_child(argv, env={"PATH": "/usr/bin:/bin"}, limits=limits, on_line=print))
print(outcome.stopped, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
"""


def test_nothing_of_a_killed_family_stays_as_a_zombie_where_the_builder_is_process_1() -> None:
    ran = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, check=True, timeout=20)
    assert ran.stdout == "time []\n"
