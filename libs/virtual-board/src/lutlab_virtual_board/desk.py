"""What the side door's requests do with a board."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.capture import Capture, capture
from lutlab_virtual_board.chip import Chip
from lutlab_virtual_board.control import ControlRefused
from lutlab_virtual_board.errors import NothingRuns
from lutlab_virtual_board.fabric import Fabric, Signal
from lutlab_virtual_board.faults import Faults

_INPUT = 0
_OUTPUT = 1


class Powered(Protocol):
    """The board."""

    chip: Chip

    def set_faults(self, faults: Faults) -> None:
        """Have these faults from now on."""

    def lose_power(self) -> None:
        """Forget the design."""

    def woken(self) -> None:
        """A pin has changed from outside."""

    def pump(self) -> None:
        """Move the bytes between the serial line and its user."""


class _Upset(msgspec.Struct, forbid_unknown_fields=True):
    frame: int
    bit: int


class Desk:
    """Answers requests.

    Args:
        board: that they are about.
        profile: its model, which names pins.
    """

    def __init__(self, board: Powered, profile: DeviceProfile) -> None:
        self._board = board
        self._labels = {profile.pins.tx: "tx", profile.pins.rx: "rx", profile.pins.clk: "clk"}
        self._labels |= {pin: f"led{index}" for index, pin in enumerate(profile.pins.leds)}

    def answer(self, asked: dict[str, Any]) -> Any:
        """Do what a request asks.

        Raises:
            VirtualBoardError: it cannot be done.
            ValueError: it is malformed.
        """
        rest = {key: value for key, value in asked.items() if key != "ask"}
        match asked.get("ask"):
            case "pins":
                return self._pins()
            case "drive":
                return self._drive(msgspec.convert(rest.get("pins"), dict[str, int]))
            case "capture":
                fabric = self._fabric()
                return capture(fabric, self._named(fabric), msgspec.convert(rest, Capture), self._board.pump)
            case "faults":
                return self._faults(msgspec.convert(rest, Faults))
            case "upset":
                upset = msgspec.convert(rest, _Upset)
                return self._board.chip.upset(upset.frame, upset.bit)
            case "power_loss":
                return self._board.lose_power()
        raise ControlRefused(f"nothing is known about {asked.get('ask')!r}")

    def _fabric(self) -> Fabric:
        if self._board.chip.fabric is None:
            raise NothingRuns("no design runs on the board")
        return self._board.chip.fabric

    def _named(self, fabric: Fabric) -> dict[str, Signal]:
        """Signals by name: pins by the profile's where it has one, registers by their place."""
        return {self._labels.get(name, name): signal for name, signal in fabric.signals().items()}

    def _pins(self) -> list[dict[str, Any]]:
        fabric = self._fabric()
        names = fabric.signals().items()
        ways = {_INPUT: "in", _OUTPUT: "out"}
        return [
            {"name": self._labels.get(pin, pin), "pin": pin, "way": ways[signal[0]], "level": fabric.level(signal)}
            for pin, signal in names
            if signal[0] in ways
        ]

    def _drive(self, pins: dict[str, int]) -> list[dict[str, Any]]:
        fabric = self._fabric()
        named = self._named(fabric)
        for name, level in pins.items():
            kind, number = named.get(name, (_OUTPUT, 0))
            if kind != _INPUT or name == "rx" or level not in (0, 1):
                raise ControlRefused(f"{name!r} is no input of this design that can be set to {level}")
            fabric.drive(number, level)
        self._board.woken()
        return self._pins()

    def _faults(self, faults: Faults) -> dict[str, Any]:
        problem = faults.problem()
        if problem:
            raise ControlRefused(problem)
        self._board.set_faults(faults)
        return msgspec.to_builtins(faults)  # type: ignore[no-any-return]
