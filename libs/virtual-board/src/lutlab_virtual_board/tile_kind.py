"""What the bits of one kind of tile mean, prepared for matching.

A setting whose bits are all clear says the same in every tile of a kind. So only the settings are looked at that have a
set bit in a tile, and a setting is only prepared when that happens for the first time. What a setting says is kept by
its bits, for the other tiles of the kind.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from lutlab_virtual_board.trellis import STRIDE, Setting, TileType
from lutlab_virtual_board.wires import RelativeWire, relative

_T = TypeVar("_T")

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


_SETTINGS_TOGETHER = 6
"""Settings that are skipped with one test where none of them has a set bit."""

_Known = dict[int, tuple[int, int] | tuple[()]]
"""What a multiplexer says by its bits: numbers of sink and source, see `RelativeWire.key`; empty if nothing."""

_Said = tuple[str, str, int, int] | tuple[()]
"""What a choice's bits say: its name, or none where it says nothing; the value; bits that this leaves unexplained, and
those of multiplexers that it explains."""

_KnownChoice = dict[int, _Said]


_Block = tuple[int, int, bool, list[tuple[int, int, _T]]]
"""Some settings: where their bits begin, the mask from there, whether they speak of clear bits, and of each its number,
its mask and what is known of it."""


class TileKind:
    """A kind of tile.

    Args:
        kind: of the database.
    """

    def __init__(self, kind: TileType) -> None:
        self.settings = [*kind.muxes, *kind.choices, *kind.words]
        self._masks = [bits_of(setting.rows) for setting in self.settings]
        self._mux_count = len(kind.muxes)
        self._first_word = len(kind.muxes) + len(kind.choices)
        self._matchers: dict[int, Matcher] = {}
        self._ready_words: dict[int, Word] = {}
        self._choices = {each.name: self._mux_count + index for index, each in enumerate(kind.choices)}
        self._words = {each.name: self._first_word + index for index, each in enumerate(kind.words)}
        in_frames = sorted(range(self._mux_count), key=lambda number: self.settings[number].rows)
        self.numbers = [*in_frames, *range(self._mux_count, len(self.settings))]
        """Of the settings, in the order in which they are read."""
        self._word_masks = [
            (number, self._masks[number], self.settings[number].always)
            for number in range(self._first_word, len(self.settings))
        ]
        self._word_mask = functools.reduce(operator.or_, self._masks[self._first_word :], 0)
        # By the number of a multiplexer and its bits, which say nothing: where they are in the tile.
        self._silent: dict[tuple[int, int], int] = {}
        self._without_mux = ~functools.reduce(operator.or_, self._masks[: self._mux_count], 0)
        self._without_setting = ~functools.reduce(operator.or_, self._masks, 0)

    # What is known of settings before any tile was seen: most say nothing where their bits are clear.

    @functools.cached_property
    def _arcs(self) -> dict[int, _Known]:
        return {number: {} if self.settings[number].always else {0: ()} for number in range(self._mux_count)}

    @functools.cached_property
    def _mux_blocks(self) -> list[_Block[_Known]]:
        return self._blocks(self._arcs, self.numbers[: self._mux_count])

    @functools.cached_property
    def _choice_blocks(self) -> list[_Block[_KnownChoice]]:
        choices: dict[int, _KnownChoice] = {
            number: {} if self.settings[number].always else {0: ()}
            for number in range(self._mux_count, self._first_word)
        }
        return self._blocks(choices, list(choices))

    def what(self, number: int) -> int:
        """Whether a setting is a multiplexer (0), a choice (1) or a word (2)."""
        return (number >= self._mux_count) + (number >= self._first_word)

    def said(self, number: int, bits: int) -> tuple[str, str, int]:
        """What a choice says in a tile: its name, or none where that is nothing; its value; unexplained bits."""
        name, value, rest, _ = self._learn_choice(number, bits) or ("", "", 0, 0)
        return name, value, rest

    def _blocks(self, known: dict[int, _T], numbers: list[int]) -> list[_Block[_T]]:
        """Settings some at a time, so that short integers are looked at."""
        found = []
        for start in range(0, len(numbers), _SETTINGS_TOGETHER):
            here = numbers[start : start + _SETTINGS_TOGETHER]
            mask = functools.reduce(operator.or_, (self._masks[number] for number in here))
            low = max((mask & -mask).bit_length() - 1, 0)
            always = any(self.settings[number].always for number in here)
            each = [(number, self._masks[number] >> low, known[number]) for number in here]
            found.append((low, mask >> low, always, each))
        return found

    def read(self, bits: int, place: int, links: dict[int, int]) -> tuple[dict[str, str], dict[str, int], int]:
        """What a tile that is not clear says.

        Args:
            bits: all of the tile's, see `bits_of`.
            place: the tile's, see `place_key`.
            links: the source of each sink, by their numbers; the tile's are added.

        Returns:
            Choices and words that differ from an erased chip's, and the set bits that no known setting explains.
        """
        over = self._read_arcs(bits, place, links)
        choices, over = self._read_choices(bits, over)
        words = {}
        for number, mask, always in self._word_masks:
            if always or bits & mask:
                word = self.word_at(number)
                value = word.value(bits)
                if value != word.default:
                    words[word.name] = value
        return choices, words, self._unexplained(bits, over) if over else 0

    def _read_arcs(self, bits: int, place: int, links: dict[int, int]) -> int:
        """Add what the multiplexers say; bits that no setting knows, or that theirs do not explain."""
        over = bits & self._without_setting
        for low, block, always, muxes in self._mux_blocks:
            here = bits >> low & block
            if here or always:
                for number, mask, known in muxes:
                    arc = known.get(here & mask)
                    if arc:
                        links[arc[0] + place] = arc[1] + place
                    elif arc is None:
                        key = number, here & mask
                        rest = self._silent.get(key)
                        over |= self._learn_arc(key, bits, place, links) if rest is None else rest
        return over

    def _learn_arc(self, key: tuple[int, int], bits: int, place: int, links: dict[int, int]) -> int:
        """Find what a multiplexer's bits say, by its number and them; those of them that this does not explain."""
        number, here = key
        matcher = self.matcher_at(number)
        option, rest = matcher.match(bits), bits & matcher.mask
        if option is None:
            self._silent[key] = rest
            return rest
        sink, source = matcher.sink, option.wire
        links[sink.key if sink.once else sink.key + place] = source.key if source.once else source.key + place
        rest &= ~option.ones
        if not (rest or sink.once or source.once):
            self._arcs[number][here] = sink.key, source.key
        return rest

    def _read_choices(self, bits: int, over: int) -> tuple[dict[str, str], int]:
        """What the choices say, and what of `over` they do not explain, with bits of theirs that they do not."""
        choices: dict[str, str] = {}
        for low, block, always, settings in self._choice_blocks:
            here = bits >> low & block
            if here or always:
                for number, mask, known in settings:
                    said = known.get(here & mask)
                    if said is None:
                        said = known[here & mask] = self._learn_choice(number, bits)
                    if said:
                        name, value, rest, shared = said
                        if name:
                            choices[name] = value
                        over = over & ~shared | rest
        return choices, over

    def _learn_choice(self, number: int, bits: int) -> _Said:
        """Find what a choice's bits say."""
        matcher = self.matcher_at(number)
        option = matcher.match(bits)
        # Bits that it shares with a multiplexer are looked at there.
        rest = bits & matcher.mask & self._without_mux & ~(option.ones if option else 0)
        shared = option.ones & ~self._without_mux if option else 0
        if option and option.value != matcher.default:
            return matcher.name, option.value, rest, shared
        return ("", "", rest, shared) if rest or shared else ()

    def _unexplained(self, bits: int, over: int) -> int:
        """Of bits that some setting does not explain, those that no other one does: settings may share bits."""
        over &= ~self._word_mask
        for number in range(self._first_word):
            if self._masks[number] & over:
                matcher = self.matcher_at(number)
                option = matcher.match(bits)
                if option and (bits & matcher.mask or self.settings[number].always):
                    over &= ~option.ones
        return over

    def matcher_at(self, number: int) -> Matcher:
        """A multiplexer or choice by its number."""
        found = self._matchers.get(number)
        if found is None:
            found = self._matchers[number] = Matcher(self.settings[number])
        return found

    def word_at(self, number: int) -> Word:
        """A word by its number."""
        found = self._ready_words.get(number)
        if found is None:
            found = self._ready_words[number] = Word(self.settings[number])
        return found

    def choice(self, name: str) -> Matcher | None:
        """A choice by its name."""
        number = self._choices.get(name)
        return None if number is None else self.matcher_at(number)

    def word(self, name: str) -> Word | None:
        """A word by its name."""
        number = self._words.get(name)
        return None if number is None else self.word_at(number)


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
