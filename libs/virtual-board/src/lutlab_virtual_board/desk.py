"""What the side door's requests do with a board."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.capture import Bits, Capture, Recording
from lutlab_virtual_board.chip import Chip
from lutlab_virtual_board.control import ControlRefused
from lutlab_virtual_board.errors import NothingRuns
from lutlab_virtual_board.fabric import Fabric, Signal
from lutlab_virtual_board.faults import Faults

Names = dict[str, list[str | None]]
"""Places of registers by the name of the signal whose bits they hold."""

_INPUT = 0
_OUTPUT = 1


class Powered(Protocol):
    """The board."""

    chip: Chip

    def set_faults(self, faults: Faults) -> None:
        """Have these faults from now on."""

    def lose_power(self, after_bytes: int | None = None) -> None:
        """Forget the design, now or after so many more bytes of a bitstream."""

    def woken(self) -> None:
        """A pin has changed from outside."""

    def pump(self) -> None:
        """Move the bytes between the serial line and its user."""


class _Upset(msgspec.Struct, forbid_unknown_fields=True):
    frame: int
    bit: int


class _PowerLoss(msgspec.Struct, forbid_unknown_fields=True):
    after_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Desk:
    """Answers requests.

    Args:
        board: that they are about.
        profile: its model, which names pins.
    """

    def __init__(self, board: Powered, profile: DeviceProfile) -> None:
        self._board = board
        self._labels = {profile.pins.tx: "tx", profile.pins.rx: "rx", profile.pins.clk: "clk"}
        for kind, pins in (
            ("led", profile.pins.leds),
            ("button", profile.pins.buttons),
            ("switch", profile.pins.switches),
        ):
            self._labels |= {pin: f"{kind}{index}" for index, pin in enumerate(pins)}
        self._names: Names = {}
        self._named_design = ""

    @property
    def fabric(self) -> Fabric | None:
        """See `capture.Stage`."""
        return self._board.chip.fabric

    @property
    def runs(self) -> int:
        """See `capture.Stage`."""
        return self._board.chip.runs

    def pump(self) -> None:
        """See `capture.Stage`."""
        self._board.pump()

    def answer(self, asked: dict[str, Any]) -> Any:
        """Do what a request asks; what takes long is answered with a `control.Lasting`.

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
                return Recording(self, self._signals(self._fabric()), msgspec.convert(rest, Capture))
            case "names":
                return self._learn(msgspec.convert(rest.get("names"), Names))
            case "signals":
                return {name: len(bits) for name, bits in self._signals(self._fabric()).items()}
            case "faults":
                return self._faults(msgspec.convert(rest, Faults))
            case "upset":
                upset = msgspec.convert(rest, _Upset)
                return self._board.chip.upset(upset.frame, upset.bit)
            case "power_loss":
                loss = msgspec.convert(rest, _PowerLoss)
                return self._board.lose_power(loss.after_bytes)
        raise ControlRefused(f"nothing is known about {asked.get('ask')!r}")

    def _fabric(self) -> Fabric:
        if self._board.chip.fabric is None:
            raise NothingRuns("no design runs on the board")
        return self._board.chip.fabric

    def _named(self, fabric: Fabric) -> dict[str, Signal]:
        """Signals by name: pins by the profile's where it has one, registers by their place."""
        return {self._labels.get(name, name): signal for name, signal in fabric.signals().items()}

    def _learn(self, names: Names) -> int:
        """Take the names of the running design's signals, which its bitstream does not tell; how many there are."""
        self._fabric()
        self._names, self._named_design = names, self._board.chip.design
        return len(names)

    def _signals(self, fabric: Fabric) -> dict[str, Bits]:
        """All that can be recorded, by name: pins, the design's own signals with each of their bits, registers."""
        named = self._named(fabric)
        found: dict[str, Bits] = {name: (signal,) for name, signal in named.items()}
        if self._named_design == self._board.chip.design:
            for name, places in self._names.items():
                bits = tuple(named.get(place) if place else None for place in places)
                if not any(bits):
                    continue
                own = f"design.{name}" if name in found else name
                single = {f"{own}[{index}]": (bit,) for index, bit in enumerate(bits) if bit}
                found |= {own: bits, **(single if len(bits) > 1 else {})}
        return found

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
        told: dict[str, Any] = msgspec.to_builtins(faults)
        return told
