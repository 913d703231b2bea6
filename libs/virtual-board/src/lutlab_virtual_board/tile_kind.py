"""What the bits of one kind of tile mean, prepared for matching.

A setting whose bits are all clear says the same in every tile of a kind. So only the settings are looked at that have a
set bit in a tile, and a setting is only prepared when that happens for the first time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from lutlab_virtual_board.trellis import STRIDE, Setting, TileType
from lutlab_virtual_board.wires import RelativeWire, relative

Row = tuple[int, int]
"""A frame of a tile, and its bits in it."""


@dataclass(frozen=True, slots=True)
class Option:
    """A value and the bits it needs: under `mask` the tile must equal `ones`; `count` is how many they are.

    A multiplexer's value is a `wire`.
    """

    value: str
    mask: int
    ones: int
    count: int
    wire: RelativeWire


class Matcher:
    """Find the value of a multiplexer or a choice: of the options whose bits all match, the one with most bits.

    Args:
        setting: of the database.
    """

    __slots__ = ("_found", "default", "mask", "name", "options", "sink")

    def __init__(self, setting: Setting) -> None:
        self.name = setting.name
        self.sink = relative(setting.name)
        self.default = setting.default
        # Where values are indistinguishable the last one is reported, as ecpunpack does.
        options = [_option(o.value, o.bits) for o in reversed(setting.options())]
        self.options = sorted(options, key=lambda o: -o.count)
        self.mask = bits_of(setting.rows)
        self._found: dict[int, Option | None] = {}

    def match(self, bits: int) -> Option | None:
        """The option that a tile's bits select, or None."""
        here = bits & self.mask
        if here in self._found:
            return self._found[here]
        found = self._found[here] = self._search(here)
        return found

    def _search(self, bits: int) -> Option | None:
        for option in self.options:
            if option.count and bits & option.mask == option.ones:
                return option
        return None


class Word:
    """A number in a tile's bits, whose options are its bits, lowest first.

    Args:
        setting: of the database.
    """

    __slots__ = ("_lanes", "_seen", "default", "mask", "name")

    def __init__(self, setting: Setting) -> None:
        self.name = setting.name
        self.default = int(setting.default, 2)
        self._lanes = [_option(o.value, o.bits) for o in setting.options()]
        self.mask = bits_of(setting.rows)
        self._seen: dict[int, int] = {}

    def value(self, bits: int) -> int:
        """What a tile's bits say."""
        here = bits & self.mask
        value = self._seen.get(here)
        if value is None:
            value = 0
            for index, lane in enumerate(self._lanes):
                if lane.count and here & lane.mask == lane.ones:
                    value |= 1 << index
            self._seen[here] = value
        return value

    def known_lanes(self) -> int:
        """Which bits of the number have a place in a tile."""
        return sum(1 << index for index, lane in enumerate(self._lanes) if lane.count)


class TileKind:
    """A kind of tile.

    Args:
        kind: of the database.

    Attributes:
        mux_count: settings with lower numbers are multiplexers.
        word_mask: bits of words.
    """

    def __init__(self, kind: TileType) -> None:
        self._settings = [*kind.muxes, *kind.choices, *kind.words]
        self.mux_count = len(kind.muxes)
        self._first_word = len(kind.muxes) + len(kind.choices)
        self._ready: dict[int, Matcher | Word] = {}
        self._frames: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._touched: dict[Row, tuple[int, ...]] = {}
        self._always = {number for number, setting in enumerate(self._settings) if setting.always}
        self._choices = {each.name: self.mux_count + index for index, each in enumerate(kind.choices)}
        self._words = {each.name: self._first_word + index for index, each in enumerate(kind.words)}
        self.word_mask = 0
        for number, setting in enumerate(self._settings):
            for frame, bits in setting.rows:
                self._frames[frame].append((bits, number))
            if number >= self._first_word:
                self.word_mask |= bits_of(setting.rows)

    def setting(self, number: int) -> Matcher | Word:
        """A setting by its number."""
        found = self._ready.get(number)
        if found is None:
            kind = Word if number >= self._first_word else Matcher
            found = self._ready[number] = kind(self._settings[number])
        return found

    def choice(self, name: str) -> Matcher | None:
        """A choice by its name."""
        number = self._choices.get(name)
        found = None if number is None else self.setting(number)
        return found if isinstance(found, Matcher) else None

    def word(self, name: str) -> Word | None:
        """A word by its name."""
        number = self._words.get(name)
        found = None if number is None else self.setting(number)
        return found if isinstance(found, Word) else None

    def touched(self, rows: Iterable[Row]) -> list[int]:
        """Numbers of the settings that a tile has something to say about, lowest first.

        Args:
            rows: the tile's frames that are not clear, and their bits.
        """
        found = set(self._always)
        known = self._touched
        for row in rows:
            numbers = known.get(row)
            if numbers is None:
                frame, bits = row
                numbers = known[row] = tuple(n for mask, n in self._frames.get(frame, ()) if mask & bits)
            found.update(numbers)
        return sorted(found)


def bits_of(rows: Iterable[Row]) -> int:
    """A tile's bits, frame f and bit b at position f * STRIDE + b."""
    bits = 0
    for frame, row in rows:
        bits |= row << STRIDE * frame
    return bits


def _option(value: str, bits: list[int]) -> Option:
    mask = ones = 0
    for bit in bits:
        mask |= 1 << (bit >> 1)
        ones |= (bit & 1) << (bit >> 1)
    return Option(value, mask, ones, len(bits), relative(value))
