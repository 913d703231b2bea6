"""From the bytes of a bitstream to the C of its design: all the pure steps in a row."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lutlab_profiles import DeviceProfile
from lutlab_virtual_board import expressions, trellis, values
from lutlab_virtual_board import simplify as simplification
from lutlab_virtual_board.bitstream import Bitstream, parse
from lutlab_virtual_board.codegen import Line, Program, generate
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.errors import UnsupportedConfiguration
from lutlab_virtual_board.extract import extract, pulls
from lutlab_virtual_board.netlist import Netlist
from lutlab_virtual_board.schedule import reference_hz
from lutlab_virtual_board.simplify import simplify


@dataclass(frozen=True, slots=True)
class Translation:
    """A bitstream and everything made from it.

    Attributes:
        bitstream: as parsed.
        netlist: all of the design.
        program: C of what the observed pins depend on.
    """

    bitstream: Bitstream
    netlist: Netlist
    program: Program


class Translator:
    """Turns bitstreams for one board model into programs.

    Args:
        profile: the board model.
        cache: folder for the compact chip database, or None.
    """

    def __init__(self, profile: DeviceProfile, cache: Path | None) -> None:
        self.profile = profile
        self._cache = cache
        self._database: trellis.Database | None = None
        self._litter: list[object] = []

    def database(self) -> trellis.Database:
        """The chip database, loaded when first needed."""
        if self._database is None:
            self._database = trellis.load(self.profile.device, self._cache)
        return self._database

    def forget(self) -> None:
        """Let go of the chip database, which is read again within milliseconds, and of what was kept for speed.

        What translations leave behind goes only now: it takes a while, and the compiler can be at work meanwhile.
        """
        self._database = None
        self._litter.clear()
        expressions.forget()
        values.forget()
        simplification.forget()

    def translate(
        self, stream: bytes, observed: Iterable[str] | None = None, flipped: Iterable[tuple[int, int]] = ()
    ) -> Translation:
        """Execute a bitstream's configuration commands and translate the design.

        No garbage is collected meanwhile.

        Args:
            stream: as shifted into the chip.
            observed: pins whose level matters; the board's serial output and LEDs if not given.
            flipped: configuration bits to invert, as frame and bit.

        Raises:
            VirtualBoardError: the stream or the design cannot be executed.
        """
        with without_collections():
            return self._translate(stream, observed, flipped)

    def _translate(
        self, stream: bytes, observed: Iterable[str] | None, flipped: Iterable[tuple[int, int]]
    ) -> Translation:
        profile, database = self.profile, self.database()
        bitstream = parse(stream, database.device)
        for frame, bit in flipped:
            if not (0 <= frame < database.device.frames and 0 <= bit < database.device.frame_bits):
                raise UnsupportedConfiguration(f"{database.device.name} has no bit {bit} in a frame {frame}")
            bitstream.frames[frame] ^= 1 << bit
        configuration = Configuration(database, bitstream)
        netlist = extract(configuration, profile.package, profile.pins.clk, profile.clk_hz)
        small = simplify(netlist, [profile.pins.tx, *profile.pins.leds] if observed is None else observed)
        clock_hz = reference_hz(small) or float(profile.clk_hz)
        open_pins = pulls(configuration, profile.package, small) | {profile.pins.rx: 1}
        line = Line(profile.pins.rx, profile.pins.tx, clock_hz, bitstream.usercode, open_pins)
        program = generate(small, line)
        self._litter = [configuration, netlist, small]
        return Translation(bitstream, netlist, program)

    def key(self, stream: bytes) -> str:
        """A name for what `translate` makes of a stream: of the stream, the board model and this software."""
        parts = [repr(self.profile).encode(), _software_digest(), trellis.wheel_version().encode(), stream]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8))
            digest.update(part)
        return digest.hexdigest()[:40]


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage for a while: there are many objects and hardly any cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _software_digest() -> bytes:
    """A digest of this package's sources, which decide what a bitstream becomes."""
    digest = hashlib.sha256()
    package = resources.files("lutlab_virtual_board")
    for folder in (package, package / "cells"):
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".c")):
                digest.update(file.read_bytes())
    return digest.digest()
