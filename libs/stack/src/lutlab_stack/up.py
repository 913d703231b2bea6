"""`lutlab up`: one lab from this data directory, until somebody asks it to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator

from lutlab_stack.console import Console
from lutlab_stack.errors import StartFailed
from lutlab_stack.files import locked
from lutlab_stack.lab import Lab
from lutlab_stack.layout import Layout
from lutlab_stack.services import UpOptions

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(
    options: UpOptions,
    console: Console,
    when_ready: Callable[[Lab], Awaitable[None]],
    *,
    ready_timeout_s: float | None = None,
) -> None:
    """Start a lab, call `when_ready`, and stop everything when that returns, fails or a stop signal arrives.

    Args:
        options: what to start.
        console: who is told.
        when_ready: what to do while it runs; to serve for ever, wait for ever.
        ready_timeout_s: how long starting may take; None for as long as it takes, with every failure reported.

    Raises:
        StackError: something cannot be started (in time), or the data directory is in use.
    """
    layout = Layout(options.data_dir.absolute())
    layout.make()
    with locked(layout.lock, f"the data directory {layout.root}"):
        lab = Lab(options, layout, console)
        # A task of its own: what cancels it must not cancel the stopping.
        serving = asyncio.create_task(_serve(lab, when_ready, ready_timeout_s), name="serve")
        with stop_signals(serving.cancel, lab.kill) as asked:
            try:
                await asyncio.wait({serving})
                if asked():
                    console.doing("stopping")
            finally:
                serving.cancel()
                await lab.stop()
    if not (asked() and serving.cancelled()):
        serving.result()
    console.done("stopped")


async def _serve(lab: Lab, when_ready: Callable[[Lab], Awaitable[None]], ready_timeout_s: float | None) -> None:
    try:
        async with asyncio.timeout(ready_timeout_s):
            await lab.start()
    except TimeoutError:
        raise StartFailed(f"the lab was not ready after {ready_timeout_s:g} s; see what is reported above") from None
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
def stop_signals(first: Callable[[], object], next_ones: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Call `first` at the first stop signal, and `next_ones` at each one after it.

    Yields:
        Whether a stop signal came.
    """
    loop = asyncio.get_running_loop()
    count = 0

    def on_signal() -> None:
        nonlocal count
        count += 1
        (first if count == 1 else next_ones)()

    # A program started with nohup is told to ignore the hang-up; so it is left ignored.
    signals = [s for s in STOP_SIGNALS if s is not signal.SIGHUP or signal.getsignal(s) is not signal.SIG_IGN]
    for signum in signals:
        loop.add_signal_handler(signum, on_signal)
    try:
        yield lambda: count > 0
    finally:
        for signum in signals:
            loop.remove_signal_handler(signum)
