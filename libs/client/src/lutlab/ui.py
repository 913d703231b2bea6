"""Speaking to a person: a live status line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from lutlab_stack.console import Console

REFRESH_PER_S = 8


class Screen(Console, Protocol):
    """A console that is opened and closed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainScreen:
    """One line for each message, with the seconds since the beginning."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _line(self, text: str) -> None:
        self._stream.write(f"[{time.monotonic() - self._began:6.1f}] {text}\n")
        self._stream.flush()

    def doing(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        if text != self._last:
            self._line(f"{text} ...")
        self._last = text

    def progress(self, text: str, done: int, total: int) -> None:
        """See `lutlab_stack.console.Console`."""
        self.doing(f"{text} ({done} of {total})")

    def done(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._line(text)

    def warn(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._line(f"warning: {text}")

    def say(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._stream.write(text + "\n")
        self._stream.flush()


class RichScreen:
    """A line that moves while something is waited for; what is done stays above it."""

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=REFRESH_PER_S)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update("", refresh=True)
        self._live.stop()

    def doing(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._live.update(Spinner("dots", text), refresh=True)

    def progress(self, text: str, done: int, total: int) -> None:
        """See `lutlab_stack.console.Console`."""
        row = Table.grid(padding=(0, 1))
        row.add_row(Spinner("dots", text), ProgressBar(total=total, completed=done, width=24), f"{done}/{total}")
        self._live.update(row, refresh=True)

    def done(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._live.update("", refresh=True)
        self._console.print("✓", text, style="green", markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._console.print("!", text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """See `lutlab_stack.console.Console`."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def live_console(stream: TextIO) -> RichConsole | None:
    """A console whose lines can move; None on a pipe (FORCE_COLOR makes it no terminal) and on a dumb terminal."""
    console = RichConsole(file=stream)
    return console if stream.isatty() and not console.is_dumb_terminal else None


def screen(stream: TextIO | None = None) -> Screen:
    """A screen on this stream (standard output): live if it is a terminal."""
    stream = stream or sys.stdout
    console = live_console(stream)
    return PlainScreen(stream) if console is None else RichScreen(console)
