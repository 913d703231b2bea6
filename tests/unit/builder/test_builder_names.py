"""Names of signals, from the netlists that yosys and nextpnr write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lutlab_builder.domain.bundle import Language
from lutlab_builder.domain.errors import BuildFailure
from lutlab_builder.domain.names import signal_names

HIDDEN = {"hide_name": 1}


def netlist(name: str, cells: dict[str, Any], nets: dict[str, Any]) -> bytes:
    return json.dumps({"creator": "x", "modules": {name: {"cells": cells, "netnames": nets, "ports": {}}}}).encode()


def register(bit: int) -> dict[str, Any]:
    return {"type": "TRELLIS_FF", "connections": {"Q": [bit], "CLK": [2]}, "parameters": {"GSR": "AUTO"}}


BEFORE = netlist(
    "soc",
    {"a": register(5), "b": register(6), "gone": register(7), "lut": {"type": "LUT4", "connections": {"Z": [8]}}},
    {
        "target.design.count": {"bits": [5, 8, 6, "0"]},
        "target.design.high": {"bits": [6], "offset": 2},
        "target.design.unheld": {"bits": [7, 8]},
        "target.design.secret": {"bits": [5], **HIDDEN},
        "bridge.adr": {"bits": [5]},
    },
)
AFTER = netlist(
    "top",
    {
        "a": {"attributes": {"NEXTPNR_BEL": "X7/Y12/SLICEB.FF1"}},
        "b": {"attributes": {"NEXTPNR_BEL": "X7/Y12/SLICED.FF0"}},
        "lut": {"attributes": {"NEXTPNR_BEL": "X7/Y12/SLICED.COMB0"}},
    },
    {},
)


def test_each_bit_is_where_its_register_was_put() -> None:
    assert signal_names(BEFORE, AFTER, "soc", Language.VERILOG) == {
        "count": ["R12C7 SLICEB register 1", None, "R12C7 SLICED register 0", None],
        "high": [None, None, "R12C7 SLICED register 0"],
    }


def test_an_amaranth_design_is_one_level_less() -> None:
    found = signal_names(BEFORE, AFTER, "soc", Language.AMARANTH)
    assert sorted(found) == ["design.count", "design.high"]


@pytest.mark.parametrize("placed", [b"", b"{}", b'{"modules": {}}', b"\xff"])
def test_a_netlist_that_is_none_is_told(placed: bytes) -> None:
    with pytest.raises(BuildFailure, match="a netlist is not understood"):
        signal_names(BEFORE, placed, "soc", Language.VERILOG)
