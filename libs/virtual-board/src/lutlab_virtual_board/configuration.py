"""From configuration frames to what they mean: arcs between wires, choices and words of every tile.

This is the inverse of `ecppack`, and finds what `ecpunpack` finds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from lutlab_virtual_board.bitstream import Bitstream
from lutlab_virtual_board.trellis import STRIDE, Database, Setting, Tile, TileType, decode_kind
from lutlab_virtual_board.wires import Wire, absolute


@dataclass(frozen=True, slots=True)
class _Option:
    """A value and the bits it needs: under `mask` the tile must equal `ones`."""

    value: str
    mask: int
    ones: int
    count: int


class _Matcher:
    """Find the value of one setting: of the options whose bits all match, the one with most bits."""

    __slots__ = ("_exact", "_options", "default", "mask", "name", "when_clear")

    def __init__(self, setting: Setting) -> None:
        self.name = setting.name
        self.default = setting.default
        # Where values are indistinguishable the last one is reported, as ecpunpack does.
        options = [_option(o.value, o.bits) for o in reversed(setting.options)]
        self._options = sorted(options, key=lambda o: -o.count)
        self.mask = 0
        for option in self._options:
            self.mask |= option.mask
        self._exact = {o.ones: o for o in reversed(self._options) if o.mask == self.mask}
        self.when_clear = self._search(0)

    def match(self, bits: int) -> _Option | None:
        """The option that a tile's bits select, or None."""
        here = bits & self.mask
        if not here:
            return self.when_clear
        return self._exact.get(here) or self._search(here)

    def _search(self, bits: int) -> _Option | None:
        for option in self._options:
            if option.count and bits & option.mask == option.ones:
                return option
        return None

    def options(self) -> list[_Option]:
        """Every option, those with most bits first."""
        return self._options


def _option(value: str, bits: list[int]) -> _Option:
    mask = ones = 0
    for bit in bits:
        mask |= 1 << (bit >> 1)
        ones |= (bit & 1) << (bit >> 1)
    return _Option(value, mask, ones, len(bits))


@dataclass(frozen=True, slots=True)
class _Word:
    """A word: its default as an integer, and one option a bit, lowest first."""

    name: str
    default: int
    width: int
    lanes: list[_Option]
    mask: int


@dataclass(frozen=True, slots=True)
class _Kind:
    """A tile type, ready to be matched."""

    muxes: list[_Matcher]
    choices: dict[str, _Matcher]
    words: list[_Word]


def _compile(kind: TileType) -> _Kind:
    words = []
    for word in kind.words:
        lanes = [_option(o.value, o.bits) for o in word.options]
        mask = 0
        for lane in lanes:
            mask |= lane.mask
        words.append(_Word(word.name, int(word.default, 2), len(lanes), lanes, mask))
    return _Kind([_Matcher(m) for m in kind.muxes], {c.name: _Matcher(c) for c in kind.choices}, words)


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
        arcs: driver of every wire whose multiplexer is set.
        tiles: what each tile that is not erased says, by (x, y).
        brams: initial contents of block RAMs by their address.
    """

    def __init__(self, database: Database, bitstream: Bitstream) -> None:
        self.database = database
        self.arcs: dict[Wire, Wire] = {}
        self.tiles: dict[tuple[int, int], list[TileConfiguration]] = defaultdict(list)
        self.brams = bitstream.brams
        self._kinds: dict[str, _Kind] = {}
        self._merged: dict[tuple[int, int], tuple[dict[str, str], dict[str, int]]] = {}
        self._bits: dict[str, int] = {}
        self._at: dict[tuple[int, int], list[Tile]] = defaultdict(list)
        columns = _Columns(bitstream.frames)
        for tile in database.tiles:
            self._at[tile.x, tile.y].append(tile)
            bits = columns.tile_bits(tile)
            if bits:
                self._bits[tile.name] = bits
                self._decode(tile, bits)

    def tiles_at(self, x: int, y: int) -> list[Tile]:
        """The tiles at a place; several share one."""
        return self._at.get((x, y), [])

    def choices(self, x: int, y: int) -> dict[str, str]:
        """Choices of every tile at a place that differ from an erased chip's."""
        return self._merge(x, y)[0]

    def words(self, x: int, y: int) -> dict[str, int]:
        """Words of every tile at a place that differ from an erased chip's."""
        return self._merge(x, y)[1]

    def _merge(self, x: int, y: int) -> tuple[dict[str, str], dict[str, int]]:
        if (x, y) not in self._merged:
            choices: dict[str, str] = {}
            words: dict[str, int] = {}
            for tile in self.tiles.get((x, y), ()):
                choices.update(tile.choices)
                words.update(tile.words)
            self._merged[x, y] = choices, words
        return self._merged[x, y]

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
            matcher = self._kind(tile).choices.get(name)
            if matcher is None:
                continue
            bits = self.bits(tile)
            known = {o.value: o for o in matcher.options()}
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
            for word in self._kind(tile).words:
                if word.name == name:
                    found = (found or 0) | _word_value(word, self.bits(tile))
        return found

    def known_lanes(self, tiles: list[Tile], name: str) -> int:
        """Which bits of a word that spans several tiles have a place in them."""
        lanes = 0
        for tile in tiles:
            for word in self._kind(tile).words:
                if word.name == name:
                    lanes |= sum(1 << index for index, lane in enumerate(word.lanes) if lane.count)
        return lanes

    def bits(self, tile: Tile) -> int:
        """A tile's configuration bits: frame f, bit b at position f * STRIDE + b."""
        return self._bits.get(tile.name, 0)

    def patterns(self, tile: Tile, name: str) -> dict[str, int]:
        """For each value of a choice the bits that it sets in a tile; empty where the tile has no such choice."""
        matcher = self._kind(tile).choices.get(name)
        return {option.value: option.ones for option in matcher.options()} if matcher else {}

    def _kind(self, tile: Tile) -> _Kind:
        kind = self._kinds.get(tile.kind)
        if kind is None:
            kind = self._kinds[tile.kind] = _compile(decode_kind(self.database.kinds[tile.kind]))
        return kind

    def _decode(self, tile: Tile, bits: int) -> None:
        kind = self._kind(tile)
        result = TileConfiguration(tile)
        explained = 0
        for mux in kind.muxes:
            if bits & mux.mask or mux.when_clear:
                option = mux.match(bits)
                if option:
                    explained |= option.ones
                    self.arcs[absolute(tile.x, tile.y, mux.name)] = absolute(tile.x, tile.y, option.value)
        for choice in kind.choices.values():
            option = choice.match(bits)
            if option:
                explained |= option.ones
                if option.value != choice.default:
                    result.choices[choice.name] = option.value
        for word in kind.words:
            explained |= word.mask
            value = _word_value(word, bits)
            if value != word.default:
                result.words[word.name] = value
        result.unexplained = _positions(bits & ~explained)
        self.tiles[tile.x, tile.y].append(result)


def _word_value(word: _Word, bits: int) -> int:
    value = 0
    for index, lane in enumerate(word.lanes):
        if lane.count and bits & lane.mask == lane.ones:
            value |= 1 << index
    return value


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
        self._any: dict[tuple[int, int], int] = {}

    def tile_bits(self, tile: Tile) -> int:
        """The tile's bits, frame f and bit b at position f * STRIDE + b."""
        if not tile.bits:
            return 0
        key = (tile.frame, tile.frames)
        used = self._any.get(key)
        if used is None:
            used = 0
            for frame in self._frames[tile.frame : tile.frame + tile.frames]:
                used |= frame
            self._any[key] = used
        mask = (1 << tile.bits) - 1
        if not used >> tile.bit & mask:
            return 0
        rows = b"".join(
            (frame >> tile.bit & mask).to_bytes(STRIDE // 8, "little")
            for frame in self._frames[tile.frame : tile.frame + tile.frames]
        )
        return int.from_bytes(rows, "little")
