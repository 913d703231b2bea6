"""Keeping a set of processes running: restart with back-off, stop in order, report every death.

A child is described by a function that is asked again before each start, so that it may come back on another port.
Nothing here knows what the children do.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lutlab_stack import spawn
from lutlab_stack.errors import StackError
from lutlab_stack.files import size_bytes, tail
from lutlab_stack.logs import cap_log

DEATH_LINES_SHOWN = 5
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
HEALTHY_AFTER_S = 30.0
"""A child that ran this long starts again at once, with the first back-off."""
LOG_CHECK_S = 5.0


class Watcher(Protocol):
    """Who is told about children."""

    def started(self, name: str, pid: int, *, again: bool) -> None:
        """A child was started; `again` after it had ended."""
        ...

    def died(self, name: str, reason: str, last_lines: str, wait_s: float) -> None:
        """A child ended although nobody asked, and is started again in `wait_s` seconds.

        `last_lines` are those it wrote since it was started.
        """
        ...


def backoff_s(failures: int) -> float:
    """How long to wait before a start after this many failures in a row (1 or more)."""
    return float(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 16)))


def exit_text(code: int) -> str:
    """An exit code in words."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


@dataclass
class Child:
    """One process that is kept running.

    Attributes:
        name: how people know it.
        prepare: asked before each start what to start; may raise StackError or OSError, which counts as a failure.
        log: where its output goes.
        level: children of a higher level are stopped first.
        pid: its process id, None while it does not run.
    """

    name: str
    prepare: Callable[[], spawn.ProcessSpec]
    log: Path
    level: int = 0
    pid: int | None = None
    failures: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _spec: spawn.ProcessSpec | None = None
    _asked_to_restart: bool = False

    def start(self) -> int:
        """Start the process. Raises: StackError, OSError."""
        self._spec = self.prepare()
        with self.log.open("ab") as output:
            self._process = spawn.spawn(self._spec, output)
        self.pid = self._process.pid
        return self.pid

    async def wait(self) -> int:
        """Wait for the end of the process; what is left of its group ends with it. Returns the exit code."""
        assert self._process is not None
        code = await spawn.wait(self._process)
        self.pid = None
        return code

    async def stop(self) -> None:
        """End the process, if it runs."""
        if self._process is not None and self._spec is not None:
            await spawn.stop_softly(self._process, self._spec)
        self.pid = None

    def restart(self) -> None:
        """End the process; it is started again at once, with newly prepared arguments."""
        if self._process is not None and self._process.poll() is None and self._spec is not None:
            self._asked_to_restart = True
            self._process.send_signal(self._spec.stop_signal)

    def kill(self) -> None:
        """End the process without grace."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def took_restart(self) -> bool:
        """Whether the last end was asked for; forgets it."""
        asked, self._asked_to_restart = self._asked_to_restart, False
        return asked


@dataclass
class Supervisor:
    """Starts children and keeps them running until `stop`."""

    watcher: Watcher
    children: dict[str, Child] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _log_task: asyncio.Task[None] | None = None

    def pids(self) -> dict[str, int]:
        """The process ids of all children that run now."""
        return {name: child.pid for name, child in self.children.items() if child.pid is not None}

    def add(self, child: Child) -> None:
        """Start a child and keep it running."""
        self.children[child.name] = child
        self._tasks[child.name] = asyncio.create_task(self._keep(child), name=f"keep-{child.name}")
        if self._log_task is None:
            self._log_task = asyncio.create_task(self._keep_logs_small(), name="keep-logs-small")

    async def _keep(self, child: Child) -> None:
        again = False
        while True:
            began, log_began = time.monotonic(), size_bytes(child.log)
            try:
                pid = child.start()
            except (StackError, OSError, subprocess.SubprocessError) as error:
                reason = f"could not be started: {error}"
            else:
                self.watcher.started(child.name, pid, again=again)
                reason = exit_text(await child.wait())
            again = True
            if child.took_restart():
                continue
            child.failures = 1 if time.monotonic() - began > HEALTHY_AFTER_S else child.failures + 1
            wait_s = backoff_s(child.failures)
            last_lines = tail(child.log, DEATH_LINES_SHOWN, after_bytes=log_began)
            self.watcher.died(child.name, reason, last_lines, wait_s)
            await asyncio.sleep(wait_s)

    async def _keep_logs_small(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for child in self.children.values():
                cap_log(child.log)

    def check(self) -> None:
        """Raise what a keeper task failed with: a mistake of ours must not look like a quiet child."""
        for task in self._tasks.values():
            if task.done() and not task.cancelled():
                task.result()

    async def run(self) -> None:
        """Wait for ever; raises what a keeper task failed with."""
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        self.check()

    async def stop(self) -> None:
        """Stop everything, the highest level first, children of one level at once."""
        keepers = [*self._tasks.values(), *([self._log_task] if self._log_task is not None else [])]
        self._tasks, self._log_task = {}, None
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for level in sorted({child.level for child in self.children.values()}, reverse=True):
            await asyncio.gather(*(child.stop() for child in self.children.values() if child.level == level))
        self.children.clear()

    def kill(self) -> None:
        """End every child without grace; `stop` still has to be awaited."""
        for child in self.children.values():
            child.kill()
