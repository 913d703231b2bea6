"""Children of the supervisor, as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lutlab_stack import supervisor as supervisor_module
from lutlab_stack.spawn import ProcessSpec
from lutlab_stack.supervisor import BACKOFF_MAX_S, Child, Supervisor, backoff_s


@dataclass
class Told:
    """A watcher that remembers."""

    starts: list[tuple[str, int, bool]] = field(default_factory=list)
    deaths: list[tuple[str, str, str, float]] = field(default_factory=list)

    def started(self, name: str, pid: int, *, again: bool) -> None:
        self.starts.append((name, pid, again))

    def died(self, name: str, reason: str, last_lines: str, wait_s: float) -> None:
        self.deaths.append((name, reason, last_lines, wait_s))


async def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - it polls other processes
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie nobody collects counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def child(tmp_path: Path, name: str, code: str, *, level: int = 0, grace_s: float = 5) -> Child:
    spec = ProcessSpec(
        name=name, argv=(sys.executable, "-c", code), env=dict(os.environ), cwd=tmp_path, grace_s=grace_s
    )
    return Child(name=name, prepare=lambda: spec, log=tmp_path / f"{name}.log", level=level)


@contextlib.asynccontextmanager
async def supervising() -> AsyncIterator[tuple[Supervisor, Told]]:
    told = Told()
    supervisor = Supervisor(watcher=told)
    try:
        yield supervisor, told
    finally:
        await supervisor.stop()


SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def test_backoff_grows_to_its_limit() -> None:
    waits = [backoff_s(n) for n in range(1, 10)]
    assert waits[:3] == [0.2, 0.4, 0.8]
    assert waits == sorted(waits)
    assert backoff_s(1000) == BACKOFF_MAX_S == waits[-1]


async def test_a_killed_child_comes_back_with_another_pid(tmp_path: Path) -> None:
    async with supervising() as (supervisor, told):
        supervisor.add(child(tmp_path, "a", SLEEP))
        await until(lambda: "up" in (tmp_path / "a.log").read_text() if told.starts else False)
        first = supervisor.pids()["a"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(told.starts) == 2)
        assert told.deaths == [("a", "was ended by signal 9", "up", 0.2)]
        assert told.starts[1] == ("a", supervisor.pids()["a"], True)
        assert supervisor.pids()["a"] != first


async def test_failures_in_a_row_wait_longer_and_a_healthy_run_forgets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_FIRST_S", 0.01)
    # A shell: it ends long before it would count as healthy, however busy the machine, which starting Python may not.
    code = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; [ $n = 3 ] && sleep 1.2; exit $n"
    monkeypatch.setattr(supervisor_module, "HEALTHY_AFTER_S", 1.0)
    spec = ProcessSpec(name="a", argv=("/bin/sh", "-c", code), env=dict(os.environ), cwd=tmp_path)
    async with supervising() as (supervisor, told):
        supervisor.add(Child(name="a", prepare=lambda: spec, log=tmp_path / "a.log"))
        await until(lambda: len(told.deaths) >= 5)
    assert [d[1] for d in told.deaths[:5]] == [f"ended with code {n}" for n in range(5)]
    assert [d[3] for d in told.deaths[:5]] == [0.01, 0.02, 0.04, 0.01, 0.02]


async def test_a_program_that_does_not_exist_is_reported_and_tried_again(tmp_path: Path) -> None:
    spec = ProcessSpec(name="a", argv=("/nowhere/program",), env={}, cwd=tmp_path)
    async with supervising() as (supervisor, told):
        supervisor.add(Child(name="a", prepare=lambda: spec, log=tmp_path / "a.log"))
        await until(lambda: len(told.deaths) == 2)
    assert "/nowhere/program" in told.deaths[0][1]
    assert told.starts == []


async def test_a_mistake_in_prepare_is_not_taken_for_a_dead_child(tmp_path: Path) -> None:
    def prepare() -> ProcessSpec:
        raise RuntimeError("our mistake")

    async with supervising() as (supervisor, _):
        supervisor.add(Child(name="a", prepare=prepare, log=tmp_path / "a.log"))
        with pytest.raises(RuntimeError, match="our mistake"):
            await asyncio.wait_for(supervisor.run(), 5)


async def test_an_asked_for_restart_asks_what_to_start_and_counts_no_failure(tmp_path: Path) -> None:
    asked: list[str] = []

    def prepare() -> ProcessSpec:
        asked.append("x")
        code = f"import time; print('start {len(asked)}', flush=True); time.sleep(600)"
        return ProcessSpec(name="a", argv=(sys.executable, "-c", code), env=dict(os.environ), cwd=tmp_path)

    async with supervising() as (supervisor, told):
        supervisor.add(Child(name="a", prepare=prepare, log=tmp_path / "a.log"))
        await until(lambda: told.starts)
        supervisor.children["a"].restart()
        await until(lambda: "start 2" in (tmp_path / "a.log").read_text())
        assert told.deaths == []


async def test_higher_levels_stop_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
import signal, sys, time
def stop(*_):
    open('order', 'a').write(sys.argv[1] if len(sys.argv) > 1 else NAME)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('up', flush=True)
time.sleep(600)
"""
    async with supervising() as (supervisor, _):
        for level, name in enumerate("abc"):
            supervisor.add(child(tmp_path, name, f"NAME = {name!r}\n{code}", level=level))
        await until(
            lambda: all((tmp_path / f"{n}.log").exists() and (tmp_path / f"{n}.log").read_text() for n in "abc")
        )
    assert order.read_text() == "cba"


async def test_a_child_that_will_not_go_is_killed_with_its_own_children(tmp_path: Path) -> None:
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = 'import signal, time; signal.signal(15, 1); time.sleep(600)'
print(subprocess.Popen([sys.executable, '-c', deaf]).pid, flush=True)
time.sleep(600)
"""
    async with supervising() as (supervisor, told):
        supervisor.add(child(tmp_path, "a", code, grace_s=0.3))
        await until(lambda: told.starts and (tmp_path / "a.log").read_text())
        pid, grandchild = supervisor.pids()["a"], int((tmp_path / "a.log").read_text())
    assert gone(pid)
    await until(lambda: gone(grandchild))


async def test_what_a_dead_child_leaves_behind_ends_too(tmp_path: Path) -> None:
    code = """
import subprocess, sys
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)
"""
    async with supervising() as (supervisor, told):
        supervisor.add(child(tmp_path, "a", code))
        await until(lambda: told.deaths)
        await until(lambda: gone(int((tmp_path / "a.log").read_text().split()[0])))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
async def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from lutlab_stack.spawn import ProcessSpec
from lutlab_stack.supervisor import Child, Supervisor
class Told:
    def started(self, name, pid, *, again): print(pid, flush=True)
    def died(self, *what): pass
async def main():
    spec = ProcessSpec(name="a", argv=(sys.executable, "-c", {SLEEP!r}), env=dict(os.environ), cwd=Path("."))
    supervisor = Supervisor(watcher=Told())
    supervisor.add(Child(name="a", prepare=lambda: spec, log=Path("a.log")))
    await supervisor.run()
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: gone(pid))
