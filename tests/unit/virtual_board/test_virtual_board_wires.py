"""Names of wires in the chip database."""

from __future__ import annotations

import pytest

from lutlab_virtual_board.wires import (
    Wire,
    absolute,
    place_key,
    place_of,
    relative,
    split_relative,
    strip_die,
    wire_key,
    wire_of,
)


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("F0", Wire(10, 20, "F0")),
        ("N2E1_V02N0001", Wire(11, 18, "V02N0001")),
        ("S3_V06N0003", Wire(10, 23, "V06N0003")),
        ("W1_H02W0401", Wire(9, 20, "H02W0401")),
        ("G_HPBX0000", Wire(10, 20, "G_HPBX0000")),
        ("G_VPTX0700", Wire(10, 20, "G_VPTX0700")),
        ("R_HPBX0100", Wire(10, 20, "R_HPBX0100")),
        ("G_ULPCLK3", Wire(0, 0, "G_ULPCLK3")),
        ("FCO_SLICE", Wire(10, 20, "FCO_SLICE")),
    ],
)
def test_names_become_places(name: str, wire: Wire) -> None:
    assert absolute(10, 20, name) == wire
    known = relative(name)
    assert wire_of(known.key if known.once else known.key + place_key(10, 20)) == wire


@pytest.mark.parametrize("wire", [Wire(0, 0, "F0"), Wire(-6, -12, "H06W0003"), Wire(131, 101, "Q7_SLICE")])
def test_wires_have_numbers(wire: Wire) -> None:
    assert wire_of(wire_key(wire)) == wire
    assert place_of(wire_key(wire)) == (wire.x, wire.y)


def test_names_of_other_dies_are_left_out() -> None:
    assert strip_die("25K_JC1", "25K_") == "JC1"
    assert strip_die("45K_JC1", "25K_") is None
    assert strip_die("JC1", "25K_") == "JC1"


def test_relative_parts() -> None:
    assert split_relative("N1_JGSR_GSR") == (0, -1, "JGSR_GSR")
