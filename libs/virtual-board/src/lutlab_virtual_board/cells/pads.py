"""Pads: which pins the design drives and reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lutlab_virtual_board.cells.clocking import oscillator
from lutlab_virtual_board.cells.context import OR, SELECT, Context
from lutlab_virtual_board.cells.pad_logic import output_level, release_level
from lutlab_virtual_board.cells.pad_tiles import pad_tiles
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, Net
from lutlab_virtual_board.wires import Wire

_BUFFER = 0b10

_DIFFERENTIAL = re.compile(r"(OUTPUT|BIDIR)_(LVDS|\w+(D|D_II?|25E|33E))")
"""Types of a pad that drives its neighbour with the opposite level (nextpnr: `is_differential`)."""

_TRUE_OF = {"B": "A", "D": "C"}
"""For the second pad of a pair the first."""


def _driven(context: Context, x: int, y: int, letter: str) -> bool:
    """Whether a pad's output driver is on.

    The pad's type shares bits with its pull resistor, which may be set otherwise; the driver's own bits are those that
    every output type sets, and no input type or pull does.
    """
    for tile in pad_tiles(context, x, y, letter):
        patterns = context.configuration.patterns(tile, f"PIO{letter}.BASE_TYPE")
        driver, others = -1, 0
        for bits in context.configuration.patterns(tile, f"PIO{letter}.PULLMODE").values():
            others |= bits
        for base, bits in patterns.items():
            if base.startswith("OUTPUT_"):
                driver &= bits
            elif base.startswith("INPUT_"):
                others |= bits
        driver &= ~others
        if patterns and driver > 0 and context.configuration.bits(tile) & driver == driver:
            return True
    return False


def outputs(context: Context) -> Iterator[tuple[str, Net]]:
    """Every pin that the design drives, with the net of its level; a released pin is pulled."""
    for pin, (x, y, letter) in context.pins.items():
        if _driven(context, x, y, letter):
            yield pin, _driven_level(context, x, y, letter, ONE if pull(context, pin) else ZERO)


def _driven_level(context: Context, x: int, y: int, letter: str, released: Net) -> Net:
    key = ("driver", x, y, letter)
    if key not in context.built:
        context.built[key] = _driver(context, x, y, letter)
    known = context.built[key]
    assert isinstance(known, tuple)
    data, release = int(known[0]), int(known[1])
    if release == ZERO:
        return data
    return context.function(SELECT, data, released, release)


def _driver(context: Context, x: int, y: int, letter: str) -> tuple[Net, Net]:
    """What a pad's driver drives, and what lets it go; an open drain lets go of ones."""
    if _is_complement(context, x, y, letter):
        data, release = _driver(context, x, y, _TRUE_OF[letter])
        return context.invert(data), release
    data, release = output_level(context, x, y, letter), release_level(context, x, y, letter)
    tiles = pad_tiles(context, x, y, letter)
    if context.configuration.group_choice(tiles, f"PIO{letter}.OPENDRAIN") == "ON":
        release = data if release == ZERO else context.function(OR, data, release)
    return data, release


def _is_complement(context: Context, x: int, y: int, letter: str) -> bool:
    """Whether a pad shows the opposite of the first of its pair, which is of a differential type.

    Told by the bits that every differential output type of that pad sets, and no other type.
    """
    first = _TRUE_OF.get(letter)
    if first is None:
        return False
    for tile in pad_tiles(context, x, y, first):
        pair, others = -1, 0
        for base, bits in context.configuration.patterns(tile, f"PIO{first}.BASE_TYPE").items():
            if _DIFFERENTIAL.fullmatch(base):
                pair &= bits
            else:
                others |= bits
        pair &= ~others
        if pair > 0 and context.configuration.bits(tile) & pair == pair:
            return True
    return False


def expand_input(context: Context, wire: Wire, net: Net) -> None:
    """What the design reads from a pad: the board's level, its own output, or the pull of an open pin.

    Raises: UnsupportedCell.
    """
    letter = wire.name[6]
    pin = context.pin_at(wire)
    if pin is None:
        raise UnsupportedCell("pad", str(wire), f"it is not bonded out in package {context.package}")
    if pin == context.clock_pin:
        context.drive(net, _BUFFER, context.clock_level(oscillator(context)))
        return
    outside = context.pin_input(pin)
    if _driven(context, wire.x, wire.y, letter):
        outside = _driven_level(context, wire.x, wire.y, letter, outside)
    context.drive(net, _BUFFER, outside)


def pull(context: Context, pin: str) -> int:
    """The level an open pin is pulled to; one without a pull resistor floats, and reads as one."""
    x, y, letter = context.pins[pin]
    mode = context.configuration.group_choice(pad_tiles(context, x, y, letter), f"PIO{letter}.PULLMODE")
    return 0 if mode == "DOWN" else 1
