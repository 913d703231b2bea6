"""What an ALU54B may be set to and is not executed is refused by name: a design that runs, with some bits flipped."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator

import pytest
from vb_places import ALU_PLACES
from vb_toolchain import Build

from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.dsp import alu_at
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.programming import Translator
from lutlab_virtual_board.trellis import STRIDE, Tile
from lutlab_virtual_board.wires import Wire

COLUMN = int(ALU_PLACES["s1.g.alu"].partition("/")[0].removeprefix("X"))
"""Of an accumulator with every register: the first ALU of its block."""

CASES = [
    ({"ALU54_3.MODE": "NONE"}, "DSP mode NONE at .* its output is used"),
    ({"ALU54_3.FORCE_ZERO_BARREL_SHIFT": "ENABLED"}, "may shift MB, and FORCE_ZERO_BARREL_SHIFT is set"),
    ({"ALU54_3.REG_OUTPUT0_CLK": "NONE"}, "only a part of its result has an output register"),
    ({"ALU54_3.REG_OUTPUT0_CLK": "NONE", "ALU54_3.REG_OUTPUT1_CLK": "NONE"}, "CIBOUT_BYP is OFF, against"),
    ({"ALU54_3.CLK0_DIV": "DISABLED"}, "CLK0_DIV is DISABLED"),
    ({"MULT18_0.CLK0MUX": "INV"}, "MULT18_0 beside it inverts CLK0"),
    ({"MULT18_1.SOURCEB_MODE": "C_SHIFT"}, "its SOURCEB_MODE is C_SHIFT"),
]


def flips_to(configuration: Configuration, tiles: list[Tile], name: str, value: str) -> Iterator[tuple[int, int]]:
    """The configuration bits, as frame and bit, that must change for a setting of a cell to have a value."""
    for tile in tiles:
        patterns = configuration.patterns(tile, name)
        if value not in patterns:
            continue
        mask = functools.reduce(operator.or_, patterns.values(), 0)
        wrong = configuration.bits(tile) & mask ^ patterns[value]
        for position in range(wrong.bit_length()):
            if wrong >> position & 1:
                yield tile.frame + position // STRIDE, tile.bit + position % STRIDE


@pytest.mark.parametrize(("settings", "message"), CASES)
def test_what_an_alu_is_not_executed_with_is_refused(
    builds: Callable[[str], Build], translator: Translator, settings: dict[str, str], message: str
) -> None:
    stream = builds("alus").bit.read_bytes()
    database = translator.database()
    configuration = Configuration(database, parse(stream, database.device))
    found = alu_at(configuration, Wire(COLUMN, 13, ""))
    assert found is not None
    flips = [flip for name, value in settings.items() for flip in flips_to(configuration, found[1], name, value)]
    with pytest.raises(UnsupportedCell, match=message):
        translator.translate(stream, flipped=flips)
