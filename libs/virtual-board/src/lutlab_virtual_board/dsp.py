"""Where the cells of DSP blocks are: each ALU54B has five tiles, which two MULT18X18D share with it."""

from __future__ import annotations

from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire

_FROM_FIRST = {"MIB_DSP0": 0, "MIB_DSP1": 1, "MIB_DSP2": 2, "MIB_DSP3": 3}
_FROM_SECOND = {"MIB_DSP4": 0, "MIB_DSP5": 1, "MIB_DSP6": 2, "MIB_DSP7": 3}
_TILES = 5


def alu_at(configuration: Configuration, wire: Wire) -> tuple[str, list[Tile]] | None:
    """The ALU whose tiles a wire of a DSP cell lies in: its name in the chip database, and its tiles."""
    for tile in configuration.tiles_at(wire.x, wire.y):
        for name, columns in (("ALU54_3", _FROM_FIRST), ("ALU54_7", _FROM_SECOND)):
            if tile.kind in columns:
                start = wire.x - columns[tile.kind]
                return name, [t for x in range(start, start + _TILES) for t in configuration.tiles_at(x, wire.y)]
    return None


def alu_is_used(configuration: Configuration, wire: Wire) -> bool:
    """Whether the ALU that a wire of a DSP cell belongs to is switched on; it takes the cells' output pins then."""
    found = alu_at(configuration, wire)
    return found is not None and configuration.group_choice(found[1], f"{found[0]}.MODE") == "ALU54B"
