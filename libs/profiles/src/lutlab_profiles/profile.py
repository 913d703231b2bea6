"""Load device profiles from the TOML files in `data/`; one file is one board model."""

from __future__ import annotations

import functools
import math
from importlib import resources

import msgspec

DEFAULT_PROFILE = "lfe5u-25f"


class UnknownProfile(KeyError):
    """No profile has this name; the message lists those that exist."""

    code = "unknown_profile"

    def __init__(self, name: str) -> None:
        super().__init__(f"no device profile {name!r}; known profiles: {', '.join(names())}")

    def __str__(self) -> str:
        return str(self.args[0])


class Pins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Package pins of the signals every board model has.

    Attributes:
        clk: the oscillator.
        rx: serial data into the FPGA.
        tx: serial data out of the FPGA.
        leds: LEDs, least significant first; may be empty.
        buttons, switches: likewise.
        leds_inverted: an LED is lit by a low level.
        buttons_inverted: a pressed button gives a low level.
        io_types: the standard of pins that are not LVCMOS33, by pin.
    """

    clk: str
    rx: str
    tx: str
    leds: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    leds_inverted: bool = False
    buttons_inverted: bool = False
    io_types: dict[str, str] = {}


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board model.

    Attributes:
        name: the profile's name, as jobs and boards refer to it.
        title: what a person reads.
        device: the FPGA, in Lattice's spelling without package and grade, e.g. `LFE5U-25F`.
        idcode: its 32-bit JTAG IDCODE.
        package: its package in nextpnr's spelling, e.g. `CABGA381`.
        speed_grade: 6, 7 or 8 (ECP5 UM5G parts only have 8).
        nextpnr_device: nextpnr-ecp5's option that selects the die, e.g. `--25k`.
        clk_hz: frequency of the oscillator at `pins.clk`.
        uart_divider: clock cycles a serial bit; the line's baud is the design's clock divided by it.
        baud_max: what the line's USB adapter can do; None: nothing limits it.
        loader: openFPGALoader's options that choose the cable of such a board; empty where there is none of its own.
        pins: where the signals are.
    """

    name: str
    title: str
    device: str
    idcode: int
    package: str
    speed_grade: int
    nextpnr_device: str
    clk_hz: int
    uart_divider: int
    pins: Pins
    baud_max: int | None = None
    loader: tuple[str, ...] = ()

    def divider(self, clk_hz: int) -> int:
        """Clock cycles a serial bit of a design with this clock."""
        return max(self.uart_divider, math.ceil(clk_hz / self.baud_max)) if self.baud_max else self.uart_divider


@functools.cache
def load() -> dict[str, DeviceProfile]:
    """Every profile by name, in alphabetical order.

    Raises:
        msgspec.ValidationError: a data file does not match `DeviceProfile`.
    """
    folder = resources.files("lutlab_profiles") / "data"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    profiles = [msgspec.toml.decode(f.read_bytes(), type=DeviceProfile) for f in files]
    return {p.name: p for p in profiles}


def names() -> list[str]:
    """The names of all profiles."""
    return list(load())


def get(name: str) -> DeviceProfile:
    """The profile called `name`.

    Raises:
        UnknownProfile: there is none.
    """
    try:
        return load()[name]
    except KeyError:
        raise UnknownProfile(name) from None
