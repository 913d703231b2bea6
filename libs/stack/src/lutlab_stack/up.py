"""`lutlab up`: one lab from this data directory, until somebody asks it to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator

from lutlab_stack.console import Console
from lutlab_stack.files import locked
from lutlab_stack.lab import Lab
from lutlab_stack.layout import Layout
from lutlab_stack.services import UpOptions

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(options: UpOptions, console: Console, when_ready: Callable[[Lab], Awaitable[None]]) -> None:
    """Start a lab, call `when_ready`, and stop everything when that returns, fails or a stop signal arrives.

    Args:
        options: what to start.
        console: who is told.
        when_ready: what to do while it runs; to serve for ever, wait for ever.

    Raises:
        StackError: something cannot be started, or the data directory is in use.
    """
    layout = Layout(options.data_dir.absolute())
    layout.make()
    with locked(layout.lock, f"the data directory {layout.root}"):
        lab = Lab(options, layout, console)
        with stop_signals(lab) as asked:
            try:
                await _serve(lab, when_ready)
            except asyncio.CancelledError:
                if not asked():
                    raise
                console.doing("stopping")
            finally:
                await lab.stop()
    console.done("stopped")


async def _serve(lab: Lab, when_ready: Callable[[Lab], Awaitable[None]]) -> None:
    await lab.start()
    using = asyncio.ensure_future(when_ready(lab))
    keeping = asyncio.create_task(lab.run())
    try:
        await asyncio.wait({using, keeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (using, keeping):
            task.cancel()
        results = await asyncio.gather(using, keeping, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


@contextlib.contextmanager
def stop_signals(lab: Lab) -> Iterator[Callable[[], bool]]:
    """The first stop signal cancels the current task, the next one also ends every grace.

    Yields:
        Whether a stop signal came.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    count = 0

    def on_signal() -> None:
        nonlocal count
        count += 1
        if count == 1:
            task.cancel()
        else:
            lab.kill()

    # A program started with nohup is told to ignore the hang-up; so it is left ignored.
    signals = [s for s in STOP_SIGNALS if s is not signal.SIGHUP or signal.getsignal(s) is not signal.SIG_IGN]
    for signum in signals:
        loop.add_signal_handler(signum, on_signal)
    try:
        yield lambda: count > 0
    finally:
        for signum in signals:
            loop.remove_signal_handler(signum)
