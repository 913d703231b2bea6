"""How `up` speaks to whoever started it."""

from __future__ import annotations

from typing import Protocol


class Console(Protocol):
    """A terminal, or a log file."""

    def doing(self, text: str) -> None:
        """What is being waited for now; the next `doing`, `done` or `progress` takes its place."""
        ...

    def progress(self, text: str, done: int, total: int) -> None:
        """As `doing`, for something that knows how far it is."""
        ...

    def done(self, text: str) -> None:
        """Something worth keeping on the screen went well."""
        ...

    def warn(self, text: str) -> None:
        """Something went wrong and is being dealt with."""
        ...

    def say(self, text: str) -> None:
        """Plain text."""
        ...
