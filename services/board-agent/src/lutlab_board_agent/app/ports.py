"""What the agent's use cases need from the world; `adapters` and the tests' fakes implement it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lutlab_board_agent.domain.fencing import BoardMemory
from lutlab_board_agent.domain.lab import Cable
from lutlab_board_agent.domain.latency import LatencyTimer
from lutlab_bus import SerialPort
from lutlab_events.busmsg import BusReply, BusVerb
from lutlab_events.commands import Command
from lutlab_events.signal_names import SignalNames

Answer = Callable[[BusReply], Awaitable[None]]
"""Sends the reply to one bus request."""


class Clock(Protocol):
    """Where the time of day comes from."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...


class Ticks(Protocol):
    """A clock that only moves forward, for intervals on this host."""

    def __call__(self) -> float:
        """Seconds since some moment."""
        ...


class Ids(Protocol):
    """Where new ids come from."""

    def new(self) -> UUID:
        """A new id."""
        ...


class Programmer(Protocol):
    """Loads bitstreams into boards."""

    async def load(self, cable: Cable, bitstream: bytes, *, timeout_s: float) -> None:
        """Load a bitstream into the device's SRAM; it runs when this returns.

        Cancelling it leaves no loader behind; what the device then holds is undefined.

        Raises:
            LoaderFailed: with a `LoaderCode`; the old design may be gone.
        """
        ...


class SerialLine(SerialPort, Protocol):
    """An open serial line.

    Attributes:
        latency: of the USB adapter, None for a line without one.
    """

    latency: LatencyTimer | None

    def close(self) -> None:
        """End the line at once: bytes not sent yet never leave, and whoever waits on it gets an OSError."""
        ...


class SerialPorts(Protocol):
    """The serial lines of this host."""

    def present(self, path: str) -> bool:
        """Whether the line is plugged in."""
        ...

    async def open(self, path: str, baud: int, on_gone: Callable[[], None]) -> SerialLine:
        """Open a line, 8N1, for the agent alone.

        Args:
            path: its tty.
            baud: any speed; the line's own driver decides what it can do.
            on_gone: called once when the line ends by itself; not for `close`.

        Raises:
            SerialUnavailable: absent, in use, or not permitted.
        """
        ...


class Door(Protocol):
    """The side door of boards without hardware."""

    async def ask(self, path: str, verb: BusVerb, request: bytes) -> bytes:
        """What the board at this socket answers: JSON for `pins`, `signals` and `drive`, a VCD for `capture`.

        Raises:
            DoorRefused: it does not do this. DoorClosed: it does not answer.
        """
        ...

    async def tell_names(self, path: str, names: SignalNames) -> None:
        """Tell the board at this socket what the signals of its design are called. Raises: as `ask`."""
        ...


class Memories(Protocol):
    """Where board memories survive the process."""

    def load(self, board_key: str) -> BoardMemory:
        """The board's memory, fresh if there is none. Raises: StateUnreadable."""
        ...

    async def save(self, board_key: str, memory: BoardMemory) -> None:
        """Make it durable: it is found after a power cut from the moment this returns."""
        ...


class Bitstreams(Protocol):
    """Where bitstreams come from."""

    async def get(self, digest: str) -> bytes | None:
        """The bitstream of this SHA-256, None if it is not there (yet)."""
        ...


class Keys(Protocol):
    """Whether API keys are still good."""

    async def refusal(self, key: str) -> str | None:
        """Why the key with this name is no longer good; None while it is, or while nobody can tell."""
        ...


class Commands(Protocol):
    """The way to the scheduler."""

    async def send(self, body: Command, *, command_id: UUID | None = None, correlation_id: UUID | None = None) -> UUID:
        """Hand a command over durably, waiting as long as that takes."""
        ...
