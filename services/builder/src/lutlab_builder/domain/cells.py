"""Which cells a synthesized design may have.

A board's pins are its profile's business: a design that brings its own I/O cells could drive pins that something else
on the board drives, and one that reaches the configuration logic could write the board's flash. So only logic,
memories, multipliers and clocking may appear; nextpnr adds the I/O cells of the SoC's ports by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from lutlab_builder.domain.errors import BuildFailure, Code

ALLOWED = frozenset(
    {
        # logic
        "LUT4",
        "PFUMX",
        "L6MUX21",
        "CCU2C",
        "TRELLIS_FF",
        # memories
        "TRELLIS_DPR16X4",
        "DP16KD",
        "PDPW16KD",
        # arithmetic
        "MULT18X18D",
        "MULT9X9D",
        "ALU54B",
        "ALU24B",
        # clocks
        "EHXPLLL",
        "CLKDIVF",
        "DCCA",
        "DCSC",
        "OSCG",
        # the die's temperature
        "DTR",
    }
)

_MULTIPLIERS = {"12k": 28, "25k": 28, "45k": 72, "85k": 156}
"""MULT18X18D of each die, by the end of nextpnr's option for it. Source: Lattice FPGA-DS-02012, table 1.1."""


def multipliers(nextpnr_device: str) -> int:
    """How many multipliers a device has, by nextpnr's option that selects its die, e.g. `--um5g-45k`."""
    return _MULTIPLIERS[nextpnr_device.rpartition("-")[2]]


def check(cells: Mapping[str, int]) -> None:
    """Refuse a design with other cells. Raises: BuildFailure `forbidden_cell`, which names them."""
    others = sorted(name for name in cells if name not in ALLOWED)
    if others:
        raise BuildFailure(
            Code.FORBIDDEN_CELL,
            f"the design has cells that a design may not bring along: {', '.join(others)}; "
            "pins and configuration logic belong to the board",
        )
