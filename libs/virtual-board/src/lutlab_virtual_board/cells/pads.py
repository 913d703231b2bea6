"""Pads: which pins the design drives and reads."""

from __future__ import annotations

from collections.abc import Iterator

from lutlab_virtual_board.cells.clocking import oscillator
from lutlab_virtual_board.cells.context import SELECT, Context
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, Net
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire

_BUFFER = 0b10


def _tiles(context: Context, x: int, y: int, letter: str) -> list[Tile]:
    """The tiles that configure pad `letter` of the pad group at (x, y).

    On the left and right edge a group of four pads spreads over three rows, at the top and bottom the two pads of a
    group have a column each (Project Trellis, tiles PIC*).
    """
    database = context.configuration.database
    right = max(tile.x for tile in database.tiles)
    bottom = max(tile.y for tile in database.tiles)
    if y == 0:
        places = [(x + (letter == "B"), 0), (x + (letter == "B"), 1)]
    elif y == bottom:
        places = [(x + (letter == "B"), y)]
    elif x in (0, right):
        places = [(x, y + 1), (x, y if letter in "AB" else y + 2)]
    else:
        raise UnsupportedCell("pad", f"R{y}C{x}", "it is not at an edge of the chip")
    return [tile for place in places for tile in context.configuration.tiles_at(*place)]


def _driven(context: Context, x: int, y: int, letter: str) -> bool:
    """Whether a pad's output driver is on.

    The pad's type shares bits with its pull resistor, which may be set otherwise; the driver's own bits are those that
    every output type sets, and no input type or pull does.
    """
    for tile in _tiles(context, x, y, letter):
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
    """Every pin that the design drives, with the net of its level; a released pin is pulled up."""
    for pin, (x, y, letter) in context.pins.items():
        if _driven(context, x, y, letter):
            yield pin, _driven_level(context, x, y, letter, ONE)


def _driven_level(context: Context, x: int, y: int, letter: str, released: Net) -> Net:
    data = context.net(Wire(x, y, f"PADDO{letter}_PIO"))
    release = context.net(Wire(x, y, f"PADDT{letter}_PIO"))
    if release == ZERO:
        return data
    return context.function(SELECT, data, released, release)


def expand_input(context: Context, wire: Wire, net: Net) -> None:
    """What the design reads from a pad: the board's level, its own output, or the pull of an open pin."""
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
    """The level an open pin is pulled to."""
    x, y, letter = context.pins[pin]
    mode = context.configuration.group_choice(_tiles(context, x, y, letter), f"PIO{letter}.PULLMODE")
    return 1 if mode == "UP" else 0
