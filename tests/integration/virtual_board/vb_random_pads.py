"""Pads with registers, releases and pulls at random; what a pad's registers share in the chip they share here."""

from __future__ import annotations

import random
from pathlib import Path

from vb_conformance import Case
from vb_random_chip import begin, chip

_PADS = 14
_PULLS = {"UP": 1, "DOWN": 0, "NONE": 1}
"""A pin without a pull floats, and reads as one."""


class _Pad:
    """One pad: its data, its release and what is read, each through a register or not."""

    def __init__(self, source: random.Random, index: int) -> None:
        self.pick, self.index = source, index
        self.shared = {
            "GSR": source.choice(["ENABLED", "DISABLED"]),
            "SRMODE": source.choice(["ASYNC", "LSR_OVER_CE"]),
            "LSRMUX": "LSR",
            "LSRMODE": "LSR",
        }
        self.clock = source.choice(["clk", "clk", "clk", "half"])
        self.reset = f"rare[{source.randrange(8)}]" if source.random() < 0.7 else None
        self.enable = self._bit()
        self.polarity = source.choice(["CE", "INV"])
        self.lines: list[str] = []

    def _bit(self) -> str:
        return f"r{self.pick.randrange(4)}[{self.pick.randrange(32)}]"

    def _way(self) -> dict[str, str]:
        """The settings that data and release share."""
        return {
            "CLKMUX": self.pick.choice(["CLK", "INV"]),
            "CEMUX": self.pick.choice(["1", self.polarity]),
        }

    def _register(self, name: str, d: str, q: str, way: dict[str, str], direction: str) -> None:
        settings = self.shared | way | {"REGSET": self.pick.choice(["SET", "RESET"])}
        given = ", ".join(f'.{key}("{value}")' for key, value in settings.items())
        enable = f" .CE({self.enable})," if settings["CEMUX"] != "1" else ""
        reset = f" .LSR({self.reset})," if self.reset else ""
        self.lines.append(
            f'  (* syn_useioff, ioff_dir = "{direction}" *) TRELLIS_FF #({given}) {name} (.CLK({self.clock}),'
            f"{reset}{enable} .DI({d}), .Q({q}));"
        )

    def write(self) -> list[str]:
        """Verilog lines; what is read is called `i<index>`."""
        at, out, pick = self.index, self._way(), self.pick
        pull = pick.choice(list(_PULLS))
        self.lines.append(f"  wire d{at}, t{at}, l{at}, i{at};")
        for name, registered in (("d", pick.random() < 0.7), ("t", pick.random() < 0.6)):
            level = self._bit() if name == "d" or registered or pick.random() < 0.7 else "1'b0"
            if registered:
                self._register(f"{name}f{at}", level, f"{name}{at}", out, "output")
            else:
                self.lines.append(f"  assign {name}{at} = {level};")
        if pick.random() < 0.6:
            self._register(f"if{at}", f"l{at}", f"i{at}", self._way(), "input")
        else:
            self.lines.append(f"  assign i{at} = l{at};")
        self.lines += [
            "`ifdef SIMULATION",
            f"  assign o[{at}] = t{at} ? 1'b{_PULLS[pull]} : d{at}, l{at} = t{at} ? 1'b{_PULLS[pull]} : d{at};",
            "`else",
            f'  (* PULLMODE = "{pull}" *) TRELLIS_IO #(.DIR("BIDIR")) p{at} (.B(o[{at}]), .I(d{at}), .T(t{at}),',
            f"    .O(l{at}));",
            "`endif",
        ]
        return self.lines


def pads(folder: Path, seed: int) -> Case:
    """A design of such pads."""
    source = random.Random(seed)
    read = ", ".join(f"i{index}" for index in range(_PADS))
    lines = [
        *begin(source),
        *(line for index in range(_PADS) for line in _Pad(source, index).write()),
        f"  signature #({_PADS}) s0 (.clk(clk), .d({{{read}}}), .out(o[14]));",
        f"  assign o[15] = ^{{{read}}};",
    ]
    return chip(folder, f"pads {seed}", lines)
