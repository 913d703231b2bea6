"""Which tiles configure a pad."""

from __future__ import annotations

from lutlab_virtual_board.cells.context import Context
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.trellis import Tile


def at_side(context: Context, x: int) -> bool:
    """Whether a column is the left or right edge of the chip."""
    return x in (0, context.configuration.last_column)


def pad_tiles(context: Context, x: int, y: int, letter: str) -> list[Tile]:
    """The tiles that configure pad `letter` of the pad group at (x, y).

    On the left and right edge a group of four pads spreads over three rows, at the top and bottom the two pads of a
    group have a column each (Project Trellis, tiles PIC*).
    """
    key = ("pad tiles", x, y, letter)
    if key not in context.built:
        context.built[key] = _find(context, x, y, letter)
    known = context.built[key]
    assert isinstance(known, list)
    return known


def _find(context: Context, x: int, y: int, letter: str) -> list[Tile]:
    if y == 0:
        places = [(x + (letter == "B"), 0), (x + (letter == "B"), 1)]
    elif y == context.configuration.last_row:
        places = [(x + (letter == "B"), y)]
    elif at_side(context, x):
        places = [(x, y + 1), (x, y if letter in "AB" else y + 2)]
    else:
        raise UnsupportedCell("pad", f"R{y}C{x}", "it is not at an edge of the chip")
    return [tile for place in places for tile in context.configuration.tiles_at(*place)]
