"""An event loop whose time is virtual and whose order of events depends on nothing but the program."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
STEPS_MAX = 3_000_000
"""Turns of the loop after which a run counts as spinning."""

current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("sim_process", default=None)
"""The process that the running task belongs to."""


class Stuck(Exception):
    """Nothing will ever happen again, or everything happens for ever."""


class SimTask(asyncio.Task[Any]):
    """A task whose hash does not depend on its address, so that sets of tasks have the same order in every run."""

    _count = itertools.count()

    def __init__(self, coro: Coroutine[Any, Any, Any], **more: Any) -> None:
        self._ident = next(self._count)
        super().__init__(coro, **more)
        process = current.get()
        if process is not None:
            process.own(self)

    def __hash__(self) -> int:
        return self._ident


class SimFuture(asyncio.Future[Any]):
    """As `SimTask`."""

    def __init__(self, **more: Any) -> None:
        self._ident = next(SimTask._count)
        super().__init__(**more)

    def __hash__(self) -> int:
        return self._ident


class Process:
    """What dies together. `alive` is looked at by everything that reaches outside.

    Attributes:
        skew_s: how far this host's wall clock is from the truth.
        frozen_until_s: until when nothing of it runs, as after SIGSTOP: its connections stay, and what arrives waits.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.skew_s = 0.0
        self.frozen_until_s = 0.0
        self._tasks: dict[int, asyncio.Task[Any]] = {}

    def own(self, task: SimTask) -> None:
        """This task dies with the process."""
        self._tasks[task._ident] = task
        task.add_done_callback(lambda t: self._tasks.pop(t._ident, None))

    def kill(self) -> None:
        """As `kill -9`: whatever its tasks still do while they end, nothing outside hears of it."""
        self.alive = False
        self.frozen_until_s = 0.0
        for task in list(self._tasks.values()):
            task.cancel()


class _Selector:
    """Waits by moving the clock."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("no timer is set and no task can run")
        if timeout > 0:
            self._loop.now_s += timeout
        self._loop.steps += 1
        if self._loop.steps > STEPS_MAX:
            raise Stuck(f"{STEPS_MAX} turns of the loop, at {self._loop.now_s:.3f} s")
        return []

    def close(self) -> None:
        pass


class SimLoop(asyncio.BaseEventLoop):
    """No sockets, no threads, no waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.steps = 0
        self._delayed = 0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        SimTask._count = itertools.count()
        self.set_task_factory(lambda loop, coro, **more: SimTask(coro, loop=loop, **more))

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self.now_s

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Later, if the process it belongs to is frozen; in the same order."""
        thaws_s = self._thaws_s(context)
        if thaws_s is None:
            return super().call_soon(callback, *args, context=context)
        self._delayed += 1
        return super().call_at(thaws_s + self._delayed * 1e-9, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As `call_soon`."""
        handle: asyncio.TimerHandle

        def run() -> None:
            if self._thaws_s(None) is None:
                callback(*args)
            elif not handle.cancelled():
                self.call_soon(run_unless_cancelled)

        def run_unless_cancelled() -> None:
            if not handle.cancelled():
                callback(*args)

        handle = super().call_at(when, run, context=context)
        return handle

    def _thaws_s(self, context: contextvars.Context | None) -> float | None:
        """When the process of a context goes on, None if it is not frozen."""
        process = current.get() if context is None else context.get(current)
        return process.frozen_until_s if process is not None and process.frozen_until_s > self.now_s else None

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a stable hash."""
        return SimFuture(loop=self)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class SimClock:
    """A host's wall clock: the loop's time, as wrong as the host's clock is."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime:
        """See the services' `Clock` ports."""
        return EPOCH + timedelta(seconds=round(asyncio.get_running_loop().time() + self._process.skew_s, 6))
