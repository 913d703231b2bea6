"""From configuration frames to what they mean: arcs between wires, choices and words of every tile.

This is the inverse of `ecppack`, and finds what `ecpunpack` finds.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, field

from lutlab_virtual_board import bulk
from lutlab_virtual_board.bitstream import Bitstream
from lutlab_virtual_board.bulk_chip import BulkChip
from lutlab_virtual_board.tile_kind import TileKind
from lutlab_virtual_board.trellis import STRIDE, Database, Tile, decode_kind
from lutlab_virtual_board.wires import Wire, place_key, place_of, relative, wire_key, wire_of

_CARRY_SINKS = [
    (f"SLICE{letter}.MODE", [relative(f"F{2 * number + half}").key for half in (0, 1)])
    for number, letter in enumerate("ABCD")
]
"""For each slice the choice of its mode, and its outputs in the fabric."""

_FRAME_CODE = {16: "H"}[STRIDE]
"""A tile's bits in one frame, for `struct`."""


Links = dict[int, int] | BulkChip
"""Drivers of wires by their numbers; both forms have `get`."""


@dataclass(slots=True)
class TileConfiguration:
    """What one tile's bits say.

    Attributes:
        tile: which tile.
        choices: named choices that differ from an erased chip's.
        words: words that differ from an erased chip's.
        unexplained: positions of set bits that no known setting explains.
    """

    tile: Tile
    choices: dict[str, str] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    unexplained: list[int] = field(default_factory=list)


class Configuration:
    """The meaning of a bitstream.

    Args:
        database: of the device the bitstream is for.
        bitstream: that was parsed.

    Attributes:
        links: driver of every wire whose multiplexer is set, by the wires' numbers. An arc into F0 to F7 of a
            carry cell is left out: it is really a bit of that cell, the two share one bit.
        tiles: what each tile that is not erased says, by (x, y).
        brams: initial contents of block RAMs by their address.
        last_column, last_row: where the chip ends.
    """

    def __init__(self, database: Database, bitstream: Bitstream) -> None:
        self.database = database
        self.links: Links = {}
        self._carry_bits: dict[int, int] = {}
        self.tiles: dict[tuple[int, int], list[TileConfiguration]] = defaultdict(list)
        self.brams = bitstream.brams
        self._kinds: dict[str, TileKind] = {}
        self._merged: dict[int, tuple[dict[str, str], dict[str, int]]] = {}
        self._bits: dict[str, int] = {}
        self.last_column = max(tile.x for tile in database.tiles)
        self.last_row = max(tile.y for tile in database.tiles)
        self._at: dict[tuple[int, int], list[Tile]] = defaultdict(list)
        self._columns = _Columns(bitstream.frames)
        for tile in database.tiles:
            self._at[tile.x, tile.y].append(tile)
        lib = bulk.library()
        self.bulk = BulkChip(lib, database, bitstream.frames, self._kind_named, self.bits) if lib else None
        if self.bulk:
            self.links, self._carry_bits = self.bulk, self.bulk.carry
            for tile, choices, words, unexplained in self.bulk.tiles():
                self.tiles[tile.x, tile.y].append(TileConfiguration(tile, choices, words, _positions(unexplained)))
            self.bulk.forget_tiles()
        else:
            self._decode_all()

    @property
    def arcs(self) -> dict[Wire, Wire]:
        """Driver of every wire whose multiplexer is set, bits of carry cells included."""
        links = self.links if isinstance(self.links, dict) else self.links.all_links()
        return {wire_of(sink): wire_of(source) for sink, source in (links | self._carry_bits).items()}

    def driver(self, wire: Wire) -> Wire | None:
        """Driver of a wire if its multiplexer is set."""
        source = self.links.get(wire_key(wire))
        return None if source is None else wire_of(source)

    def tiles_at(self, x: int, y: int) -> list[Tile]:
        """The tiles at a place; several share one."""
        return self._at.get((x, y), [])

    def choices(self, x: int, y: int) -> dict[str, str]:
        """Choices of every tile at a place that differ from an erased chip's."""
        return self.settings(place_key(x, y))[0]

    def words(self, x: int, y: int) -> dict[str, int]:
        """Words of every tile at a place that differ from an erased chip's."""
        return self.settings(place_key(x, y))[1]

    def settings(self, place: int) -> tuple[dict[str, str], dict[str, int]]:
        """Choices and words of every tile at a place, by its number, that differ from an erased chip's."""
        known = self._merged.get(place)
        if known is None:
            known = self._merged[place] = self._merge(place)
        return known

    def _merge(self, place: int) -> tuple[dict[str, str], dict[str, int]]:
        choices: dict[str, str] = {}
        words: dict[str, int] = {}
        tiles = self.tiles.get(place_of(place), ())
        if len(tiles) == 1:
            return tiles[0].choices, tiles[0].words
        for tile in tiles:
            choices.update(tile.choices)
            words.update(tile.words)
        return choices, words

    def group_choice(self, tiles: list[Tile], name: str) -> str | None:
        """A choice whose bits are spread over several tiles.

        Args:
            tiles: the tiles of the cell.
            name: of the choice.

        Returns:
            The value whose bits match in every tile that knows it, the one with most bits; None if there is none.
        """
        counts: dict[str, int] = {}
        refused: set[str] = set()
        for tile in tiles:
            matcher = self._kind(tile).choice(name)
            if matcher is None:
                continue
            bits = self.bits(tile)
            known = {o.value: o for o in matcher.options}
            for option in known.values():
                if bits & option.mask != option.ones:
                    refused.add(option.value)
                counts[option.value] = counts.get(option.value, 0) + option.count
        left = [value for value in counts if value not in refused]
        return max(reversed(left), key=lambda value: counts[value]) if left else None

    def group_word(self, tiles: list[Tile], name: str) -> int | None:
        """A word of a cell that spans several tiles, or None where no tile knows it."""
        found = None
        for tile in tiles:
            word = self._kind(tile).word(name)
            if word is not None:
                found = (found or 0) | word.value(self.bits(tile))
        return found

    def known_lanes(self, tiles: list[Tile], name: str) -> int:
        """Which bits of a word that spans several tiles have a place in them."""
        lanes = 0
        for tile in tiles:
            word = self._kind(tile).word(name)
            lanes |= word.known_lanes() if word else 0
        return lanes

    def bits(self, tile: Tile) -> int:
        """A tile's configuration bits: frame f, bit b at position f * STRIDE + b."""
        bits = self._bits.get(tile.name)
        if bits is None:
            bits = self._bits[tile.name] = self._columns.tile_bits(tile)
        return bits

    def patterns(self, tile: Tile, name: str) -> dict[str, int]:
        """For each value of a choice the bits that it sets in a tile; empty where the tile has no such choice."""
        matcher = self._kind(tile).choice(name)
        return {option.value: option.ones for option in matcher.options} if matcher else {}

    def _kind(self, tile: Tile) -> TileKind:
        return self._kind_named(tile.kind)

    def _kind_named(self, name: str) -> TileKind:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = TileKind(decode_kind(self.database.kinds[name]))
        return kind

    def _decode_all(self) -> None:
        """Read every tile; `BulkChip` does the same where there is a compiler."""
        links = self.links = {}
        for tile in self.database.tiles:
            bits = self.bits(tile)
            if bits:
                self._decode(tile, bits, links)

    def _decode(self, tile: Tile, bits: int, links: dict[int, int]) -> None:
        place = place_key(tile.x, tile.y)
        choices, words, unexplained = self._kind(tile).read(bits, place, links)
        for mode, sinks in _CARRY_SINKS:
            if choices.get(mode) == "CCU2":
                for sink in sinks:
                    if sink + place in links:
                        self._carry_bits[sink + place] = links.pop(sink + place)
        self.tiles[tile.x, tile.y].append(TileConfiguration(tile, choices, words, _positions(unexplained)))


def _positions(bits: int) -> list[int]:
    positions = []
    while bits:
        low = bits & -bits
        positions.append(low.bit_length() - 1)
        bits ^= low
    return positions


class _Columns:
    """Cut tiles out of the frames; tiles one above another share frames, so what is erased is found once a column."""

    def __init__(self, frames: list[int]) -> None:
        self._frames = frames
        self._columns: dict[tuple[int, int], tuple[int, list[int], struct.Struct]] = {}

    def tile_bits(self, tile: Tile) -> int:
        """The tile's bits, see `Configuration.bits`."""
        if not tile.bits:
            return 0
        key = (tile.frame, tile.frames)
        column = self._columns.get(key)
        if column is None:
            here = self._frames[tile.frame : tile.frame + tile.frames]
            used = 0
            for frame in here:
                used |= frame
            column = self._columns[key] = used, here, struct.Struct(f"<{len(here)}{_FRAME_CODE}")
        used, frames, layout = column
        first, mask = tile.bit, (1 << tile.bits) - 1
        if not used >> first & mask:
            return 0
        return int.from_bytes(layout.pack(*[frame >> first & mask for frame in frames]), "little")
