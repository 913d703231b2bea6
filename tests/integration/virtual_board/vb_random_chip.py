"""What designs of cells at random have in common: how they begin, and how they are held against a simulation."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from vb_conformance import Case, noise
from vb_toolchain import yosys_share

CELLS = str(yosys_share() / "lattice" / "cells_sim_ecp5.v")
"""The slices' cells as Yosys models them."""


def begin(source: random.Random, edge: str = "posedge") -> list[str]:
    """The beginning of a Verilog module `chip` with ports clk, rx and o[15:0], over `everything.v`.

    It has noise in r0 to r3, bits that are seldom one in `rare`, which change with an edge of clk, and a second, slower
    clock, `half`.
    """
    seeds = [source.getrandbits(32) | 1 for _ in range(4)]
    return [
        "module chip (input clk, input rx, output [15:0] o);",
        *(f"  wire [31:0] r{index};" for index in range(4)),
        *(f"  noise #(32'h{each:08x}) n{index} (.clk(clk), .r(r{index}));" for index, each in enumerate(seeds)),
        "  reg [7:0] rare = 8'hff;",
        f"  always @({edge} clk) rare <= {{&r0[3:0], &r1[3:0], &r2[3:0], &r3[4:0], ~|r0[9:5], ~|r1[8:5], &r2[9:6],",
        "    ~|r3[8:5] & rx};",
        "  reg half = 0;",
        "  always @(posedge clk) half <= ~half ^ (r3[31:29] == 0);",
    ]


def chip(
    folder: Path,
    name: str,
    lines: Iterable[str],
    *sources: str,
    models: tuple[str, ...] = (CELLS,),
    bels: Iterable[tuple[str, str]] = (),
) -> Case:
    """The case of a module `chip`.

    Args:
        folder: where its source goes.
        name: of the case.
        lines: of the module, without its end.
        sources: what it is written over, beside `everything.v`.
        models: of the cells that it instantiates.
        bels: fixed places of cells.
    """
    path = folder / "chip.v"
    path.write_text("\n".join([*lines, "endmodule", ""]))
    files = ("everything.v", *sources, str(path))
    return Case(name, "chip", files, stimulus=noise, derived=True, models=models, bels=tuple(bels))
