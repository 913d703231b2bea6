"""What an ALU54B may be set to and is not executed is refused by name: a design that runs, with some bits flipped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vb_flips import flips_to
from vb_places import ALU_PLACES
from vb_toolchain import Build

from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.dsp import alu_at
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.programming import Translator
from lutlab_virtual_board.wires import Wire

COLUMN = int(ALU_PLACES["s1.g.alu"].partition("/")[0].removeprefix("X"))
"""Of an accumulator with every register: the first ALU of its block."""

CASES = [
    ({"ALU54_3.MODE": "NONE"}, "DSP mode NONE at .* its output is used"),
    ({"ALU54_3.LEGACY": "ENABLED"}, "LEGACY is ENABLED"),
    ({"ALU54_3.FORCE_ZERO_BARREL_SHIFT": "ENABLED"}, "may shift MB, and FORCE_ZERO_BARREL_SHIFT is set"),
    ({"ALU54_3.REG_OUTPUT0_CLK": "NONE"}, "only a part of its result has an output register"),
    ({"ALU54_3.REG_OUTPUT0_CLK": "NONE", "ALU54_3.REG_OUTPUT1_CLK": "NONE"}, "CIBOUT_BYP is OFF, against"),
    ({"ALU54_3.CLK0_DIV": "DISABLED"}, "CLK0_DIV is DISABLED"),
    ({"MULT18_0.CLK0MUX": "INV"}, "MULT18_0 beside it inverts CLK0"),
    ({"MULT18_1.SOURCEB_MODE": "C_SHIFT"}, "its SOURCEB_MODE is C_SHIFT"),
]


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
