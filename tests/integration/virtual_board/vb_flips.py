"""Configuration bits that must change for a setting to have a value: settings that the tools never make."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator

from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.trellis import STRIDE, Tile, decode_kind


def flips_to(configuration: Configuration, tiles: list[Tile], name: str, value: str | int) -> Iterator[tuple[int, int]]:
    """The configuration bits, as frame and bit, that must change for a cell's choice, or word, to have a value."""
    for tile in tiles:
        bits = configuration.bits(tile)
        if isinstance(value, int):
            wrong = _wrong_in_word(configuration, tile, name, value)
        else:
            patterns = configuration.patterns(tile, name)
            mask = functools.reduce(operator.or_, patterns.values(), 0)
            wrong = bits & mask ^ patterns[value] if value in patterns else 0
        for position in range(wrong.bit_length()):
            if wrong >> position & 1:
                yield tile.frame + position // STRIDE, tile.bit + position % STRIDE


def _wrong_in_word(configuration: Configuration, tile: Tile, name: str, value: int) -> int:
    wrong, bits = 0, configuration.bits(tile)
    for word in decode_kind(configuration.database.kinds[tile.kind]).words:
        if word.name == name:
            for lane, option in enumerate(word.options()):
                for bit in option.bits:
                    wanted = (bit & 1) == (value >> lane & 1)
                    wrong |= (wanted != bool(bits >> (bit >> 1) & 1)) << (bit >> 1)
    return wrong
