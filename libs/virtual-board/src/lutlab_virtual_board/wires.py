"""Names of wires: relative to a tile in the database, absolute on the chip.

In the database `N2E1_V02N0001` seen from tile (x, y) is the wire `V02N0001` of tile (x + 1, y - 2). Names that start
with `G_`, `L_` or `R_` belong to the clock network: most `G_` wires exist once and are kept at (0, 0); spine, row and
tap wires exist once a tile. Source: Project Trellis documentation, "General routing" and "Global routing".
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_RELATIVE = re.compile(r"([NS]\d+)?([EW]\d+)?_(.*)")
_PER_TILE_GLOBAL = re.compile(r"VPTX|HPBX|HPRX")
_DIE_PREFIXES = ("25K_", "45K_", "85K_")


class Wire(NamedTuple):
    """A wire of the chip.

    Attributes:
        x: column.
        y: row.
        name: its name in that tile.
    """

    x: int
    y: int
    name: str

    def __str__(self) -> str:
        return f"R{self.y}C{self.x} {self.name}"


def strip_die(name: str, die: str) -> str | None:
    """`name` without its die prefix, or None where the name is for another die.

    Args:
        name: a wire's name in the database, e.g. `25K_G_JPCLKT61`.
        die: the die of this chip: `25K_`, `45K_` or `85K_`.
    """
    if name.startswith(_DIE_PREFIXES):
        return name[4:] if name.startswith(die) else None
    return name


def is_clock_network(name: str) -> bool:
    """Whether a wire belongs to the global clock network."""
    return name.startswith(("G_", "L_", "R_"))


def split_relative(name: str) -> tuple[int, int, str]:
    """A database name as (columns to the right, rows down, name there)."""
    if is_clock_network(name):
        return 0, 0, name
    match = _RELATIVE.fullmatch(name)
    if match is None or not (match[1] or match[2]):
        return 0, 0, name
    rows = _step(match[1], "S")
    columns = _step(match[2], "E")
    return columns, rows, match[3]


def _step(part: str | None, positive: str) -> int:
    if not part:
        return 0
    return int(part[1:]) if part[0] == positive else -int(part[1:])


class RelativeWire(NamedTuple):
    """A database name, taken apart.

    Attributes:
        columns: to the right.
        rows: down.
        name: there.
        once: the wire exists once on the whole chip.
        key: number of the wire; less that of the place it is seen from, unless it exists once.
    """

    columns: int
    rows: int
    name: str
    once: bool
    key: int

    def at(self, x: int, y: int) -> Wire:
        """The chip's wire that the tile at (x, y) calls so."""
        columns, rows, name, once, _ = self
        return _new(Wire, (0, 0, name) if once else (x + columns, y + rows, name))


# -- wires as numbers -------------------------------------------------------------------------------------------------
#
# Where there are many wires, each is one integer: NAME_SHIFT bits of place, and above them the number of its name.
# Moving a wire by some rows and columns is an addition.

NAME_SHIFT = 16
PLACE_MASK = (1 << NAME_SHIFT) - 1
_MARGIN = 64
"""Rows and columns beyond the chip's edges that names may still point to."""

_numbers: dict[str, int] = {}
_names: list[str] = []


def name_number(name: str) -> int:
    """The number of a wire's name: as many as the database has names, for the life of the process."""
    number = _numbers.get(name)
    if number is None:
        number = _numbers[name] = len(_names)
        _names.append(name)
    return number


def name_of(number: int) -> str:
    """The wire's name with this number."""
    return _names[number]


def place_key(x: int, y: int) -> int:
    """The number of a place; `key >> NAME_SHIFT` of a wire is its name's, `key & PLACE_MASK` its place's."""
    return (y + _MARGIN << 8) + x + _MARGIN


def place_of(key: int) -> tuple[int, int]:
    """Column and row of a place or of a wire, by its number."""
    return (key & 0xFF) - _MARGIN, (key >> 8 & 0xFF) - _MARGIN


def wire_key(wire: Wire) -> int:
    """The number of a wire."""
    x, y, name = wire
    return (name_number(name) << NAME_SHIFT) + (y + _MARGIN << 8) + x + _MARGIN


def wire_of(key: int) -> Wire:
    """The wire with this number."""
    return _new(Wire, (*place_of(key), _names[key >> NAME_SHIFT]))


_new = tuple.__new__


@functools.lru_cache(maxsize=1 << 16)
def relative(name: str) -> RelativeWire:
    """A database name, taken apart once."""
    columns, rows, there = split_relative(name)
    once = name.startswith("G_") and not _PER_TILE_GLOBAL.search(name)
    number = name_number(there) << NAME_SHIFT
    key = number + place_key(0, 0) if once else number + (rows << 8) + columns
    return RelativeWire(columns, rows, there, once, key)


def absolute(x: int, y: int, name: str) -> Wire:
    """The chip's wire that the tile at (x, y) calls `name`."""
    return relative(name).at(x, y)
