"""MULT18X18D with registers at random: each rank on a clock, an enable and a reset of its own, and changing signs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from vb_conformance import Case
from vb_random_chip import begin, chip

_SITES = ((4, 0), (22, 1), (42, 0), (17, 4), (37, 5), (55, 4))
"""First columns of halves of DSP blocks, one a block, since that shares its controls, and the multiplier in each."""

_RANKS = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
_BITS = {"INPUTA": 19, "INPUTB": 19, "PIPELINE": 36, "OUTPUT": 36}
_CLOCKS = ("clk", "half", "clk", "half")


class _Product:
    """One multiplier, whose factors have their sign as a nineteenth bit."""

    def __init__(self, source: random.Random, index: int) -> None:
        # The chip database leaves open which enable an output register has, and the reset of a second one.
        out = not _SITES[index][1] & 1 and source.random() < 0.6
        self.enables = ["1'b1" if out else f"m[{bit}]" for bit in source.sample(range(16), 4)]
        self.resets = [f"rare[{bit}]" for bit in source.sample(range(8), 4)]
        self.used = dict(zip(_RANKS, [*(source.random() < 0.6 for _ in range(3)), out], strict=True))
        self.direct = source.randrange(2)
        self.clocks = {rank: source.randrange(4) for rank in _RANKS}
        self.controls = {rank: (source.randrange(4), source.randrange(4)) for rank in _RANKS}
        lows = source.randrange(14), source.randrange(14)
        self.factors = [f"r{source.randrange(4)}[{low + 17}:{low}]" for low in lows]
        self.signs = [source.choice(["1'b0", "1'b1", f"m[{source.randrange(16)}]"]) for _ in range(2)]
        self.index, self.name = index, f"x{index}"

    def write(self) -> Iterator[str]:
        """Verilog lines."""
        name = self.name
        yield f"  wire [35:0] {name}p;"
        for letter, sign, factor in zip("ab", self.signs, self.factors, strict=True):
            yield f"  wire [18:0] {name}{letter} = {{{sign}, {factor}}};"
        yield "`ifdef SIMULATION"
        yield f"  wire [18:0] {name}INPUTAd = {name}a, {name}INPUTBd = {name}b;"
        yield from self._rank("INPUTA")
        yield from self._rank("INPUTB")
        for side, rank in (("l", "INPUTA"), ("r", "INPUTB")):
            held = f"{name}{rank}q"
            yield f"  wire signed [18:0] {name}{side} = {{{held}[18] & {held}[17], {held}[17:0]}};"
        yield f"  wire signed [37:0] {name}w = {name}l * {name}r;"
        yield f"  wire [35:0] {name}PIPELINEd = {name}w[35:0];"
        yield from self._rank("PIPELINE")
        yield f"  wire [35:0] {name}OUTPUTd = {name}PIPELINEq;"
        yield from self._rank("OUTPUT")
        yield f"  assign {name}p = {name}OUTPUTq;"
        yield "`else"
        yield self._cell()
        yield "`endif"
        yield f"  signature #(36) s{self.index} (.clk(clk), .d({name}p), .out(o[{self.index}]));"

    def _rank(self, rank: str) -> Iterator[str]:
        """A rank of registers as behaviour."""
        signal, (enable, reset) = f"{self.name}{rank}", self.controls[rank]
        if not self.used[rank]:
            yield f"  wire [{_BITS[rank] - 1}:0] {signal}q = {signal}d;"
            return
        clear = self.resets[reset]
        edge = f"posedge {_CLOCKS[self.clocks[rank]]}" + (f" or posedge {clear}" if self.direct else "")
        yield f"  reg [{_BITS[rank] - 1}:0] {signal}q = 0;"
        yield (
            f"  always @({edge}) if ({clear}) {signal}q <= 0; else if ({self.enables[enable]}) {signal}q <= {signal}d;"
        )

    def _cell(self) -> str:
        name = self.name
        settings = {"GSR": "DISABLED", "SOURCEB_MODE": "B_SHIFT", "RESETMODE": "ASYNC" if self.direct else "SYNC"}
        for rank in _RANKS:
            enable, reset = self.controls[rank]
            settings[f"REG_{rank}_CLK"] = f"CLK{self.clocks[rank]}" if self.used[rank] else "NONE"
            settings |= {f"REG_{rank}_CE": f"CE{enable}", f"REG_{rank}_RST": f"RST{reset}"}
        ports = {"SIGNEDA": f"{name}a[18]", "SIGNEDB": f"{name}b[18]", "SOURCEA": "1'b0", "SOURCEB": "1'b0"}
        for kind, nets in (("CLK", _CLOCKS), ("CE", self.enables), ("RST", self.resets)):
            ports |= {f"{kind}{index}": net for index, net in enumerate(nets)}
        for letter in "ab":
            ports |= {f"{letter.upper()}{index}": f"{name}{letter}[{index}]" for index in range(18)}
        ports |= {f"P{index}": f"{name}p[{index}]" for index in range(36)}
        given = ", ".join(f'.{key}("{value}")' for key, value in settings.items())
        joined = ", ".join(f".{key}({value})" for key, value in ports.items())
        return f"  MULT18X18D #({given}) {name} ({joined});"


def products(folder: Path, seed: int) -> Case:
    """A design of such multipliers."""
    source = random.Random(seed)
    # What a reset does that begins at the edge of a clock beside it is a race.
    beginning = begin(source, "negedge")
    made = [_Product(source, index) for index in range(len(_SITES))]
    lines = [
        *beginning,
        "  reg [15:0] m = 0;",
        "  always @(posedge clk) m <= r0[31:16] | r1[15:0];",
        *(line for each in made for line in each.write()),
        "  assign o[15:6] = m[9:0];",
    ]
    bels = [(each.name, f"X{x + (at & 1)}/Y13/MULT18_{at}") for each, (x, at) in zip(made, _SITES, strict=True)]
    return chip(folder, f"products {seed}", lines, models=(), bels=bels)
