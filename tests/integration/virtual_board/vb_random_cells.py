"""Cells that a design instantiates itself, with settings at random: block RAMs, registers, distributed RAM, carries."""

from __future__ import annotations

import random
from pathlib import Path

from vb_conformance import Case
from vb_random_chip import begin, chip

_WIDTHS = (1, 2, 4, 9, 18)
_MODES = ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
_LOW, _HIGH = "1'b0", "1'b1"
_RAMS, _WIDE_RAMS, _REGISTERS, _TABLES = 4, 2, 16, 3


class _Cells:
    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.lines: list[str] = []

    def bit(self) -> str:
        """A bit of the noise."""
        return f"r{self.source.randrange(4)}[{self.source.randrange(32)}]"

    def bits(self, count: int) -> str:
        """Some of them."""
        return f"{{{', '.join(self.bit() for _ in range(count))}}}"

    def often(self) -> str:
        """A bit that is mostly one."""
        return f"({self.bit()} | {self.bit()})"

    def reset(self) -> str:
        """A bit that is seldom one, and comes from a register."""
        return f"rare[{self.source.randrange(8)}]"

    def low(self, width: int) -> str:
        """The lowest three bits of an address: enables of bytes, or a place in nine bits."""
        # A nine-bit word's own byte enable is bit 0: the vendor's tools tie it to one.
        return {18: f"1'b0, {self.bits(2)}", 9: "3'b001", 4: f"{self.bit()}, 2'b0", 2: f"{self.bits(2)}, 1'b0"}.get(
            width, self.bits(3)
        )

    def select(self, code: int) -> str:
        """Three chip selects, of which one changes."""
        changing = self.source.randrange(4)
        return ", ".join(
            self.often() if index == changing and code >> index & 1 else f"1'b{code >> index & 1}"
            for index in (2, 1, 0)
        )

    def initial(self) -> str:
        return f"320'h{self.source.getrandbits(320):x}"

    def ram(self, name: str) -> None:
        """A DP16KD. Where both ports write they keep to words of their own."""
        pick = self.source
        a, b = pick.choice(_WIDTHS), pick.choice(_WIDTHS)
        apart = pick.random() < 0.6
        codes = [pick.randrange(8), pick.randrange(8)]
        inverted = pick.getrandbits(8) & (0xFF if apart else 0xBF)
        parameters = {
            "WA": a, "WB": b, "MA": f'"{pick.choice(_MODES)}"', "MB": f'"{pick.choice(_MODES)}"',
            "RA": pick.randrange(2), "RB": pick.randrange(2), "ASYNC": pick.randrange(2), "RELEASE": pick.randrange(2),
            "DA": f"3'd{codes[0]}", "DB": f"3'd{codes[1]}", "SA": f'"0b{codes[0]:03b}"', "SB": f'"0b{codes[1]:03b}"',
            "NA": pick.randrange(2), "NB": pick.randrange(2), "NE": f"8'd{inverted}", "IV": self.initial(),
        }  # fmt: skip

        def pin(index: int, level: str) -> str:
            return f"~({level})" if inverted >> index & 1 else level

        other = pick.choice(["clk", "clk", "half"])
        high = ["6'b000000", "6'b100001" if apart else "6'b000000"]
        write = self.bit() if apart else "1'b0"
        self.instance("ram16", name, parameters, [
            "clk", pin(0, self.often()), pin(1, self.often()), pin(2, self.bit()), pin(3, self.reset()),
            f"{{{self.select(codes[0])}}}", f"{{{high[0]}, {self.bits(5)}, {self.low(a)}}}", self.bits(18), f"{name}a",
            other, pin(4, self.often()), pin(5, self.often()), pin(6, write), pin(7, self.reset()),
            f"{{{self.select(codes[1])}}}", f"{{{high[1]}, {self.bits(5)}, {self.low(b)}}}", self.bits(18), f"{name}b",
        ], f"wire [17:0] {name}a, {name}b;")  # fmt: skip

    def wide_ram(self, name: str) -> None:
        """A PDPW16KD."""
        pick = self.source
        width = pick.choice((*_WIDTHS, 36, 36))
        codes = [pick.randrange(8), pick.randrange(8)]
        parameters = {
            "W": width, "R": pick.randrange(2), "ASYNC": pick.randrange(2), "RELEASE": pick.randrange(2),
            "DW": f"3'd{codes[0]}", "DR": f"3'd{codes[1]}", "SW": f'"0b{codes[0]:03b}"', "SR": f'"0b{codes[1]:03b}"',
            "NW": pick.randrange(2), "NR": pick.randrange(2), "IV": self.initial(),
        }  # fmt: skip
        self.instance("ram36", name, parameters, [
            "clk", self.often(), f"{{{self.select(codes[0])}}}", self.bits(4), f"{{6'b0, {self.bits(3)}}}",
            self.bits(36), pick.choice(["clk", "half"]), self.often(), self.often(), self.reset(),
            f"{{{self.select(codes[1])}}}", f"{{6'b0, {self.bits(5)}, {self.low(width)}}}", f"{name}q",
        ], f"wire [35:0] {name}q;")  # fmt: skip

    def register(self, name: str) -> None:
        """A TRELLIS_FF."""
        pick = self.source
        settings = {
            "GSR": pick.choice(["ENABLED", "DISABLED"]), "CEMUX": pick.choice(["1", "CE", "CE", "INV"]),
            "CLKMUX": pick.choice(["CLK", "INV"]), "LSRMUX": pick.choice(["LSR", "INV"]),
            "SRMODE": pick.choice(["ASYNC", "LSR_OVER_CE"]), "REGSET": pick.choice(["SET", "RESET"]), "LSRMODE": "LSR",
        }  # fmt: skip
        reset = self.reset() if pick.random() < 0.8 else "1'b0"
        reset = f"~{reset}" if settings["LSRMUX"] == "INV" else reset
        clock = pick.choice(["clk", "clk", "half"])
        parameters = ", ".join(f'.{key}("{value}")' for key, value in settings.items())
        # The tools would both route an enable and tie it.
        enable = f".CE({self.bit()}), " if settings["CEMUX"] != "1" else ""
        self.lines.append(
            f"  TRELLIS_FF #({parameters}) {name} (.CLK({clock}), .LSR({reset}), {enable}.DI({self.bit()}),"
            f" .Q(q[{name[1:]}]));"
        )

    def table(self, name: str) -> None:
        """A TRELLIS_DPR16X4."""
        pick = self.source
        # The packer loses an inverted write enable.
        settings = f'.WCKMUX("{pick.choice(["WCK", "INV"])}"), .WREMUX("WRE")'
        self.lines += [
            f"  wire [3:0] {name}q;",
            f"  TRELLIS_DPR16X4 #({settings}, .INITVAL(64'h{pick.getrandbits(64):x})) {name} (.DI({self.bits(4)}),"
            f" .WAD({self.bits(4)}), .WRE({self.bit()}), .WCK(clk), .RAD({self.bits(4)}), .DO({name}q));",
        ]

    def chain(self, name: str, count: int) -> None:
        """CCU2Cs in a row, with any function and with the carry let in or not."""
        pick = self.source
        self.lines.append(f"  wire [{2 * count - 1}:0] {name}s; wire [{count}:0] {name}c;")
        self.lines.append(f"  assign {name}c[0] = {pick.choice([_LOW, _HIGH, self.bit()])};")
        for index in range(count):
            settings = ", ".join(
                f'.INIT{half}(16\'h{pick.getrandbits(16):04x}), .INJECT1_{half}("{pick.choice(["YES", "NO"])}")'
                for half in (0, 1)
            )
            inputs = ", ".join(
                f".{letter}{half}({pick.choice([self.bit(), self.bit(), self.bit(), _HIGH])})"
                for half in (0, 1)
                for letter in "ABCD"
            )
            self.lines.append(
                f"  CCU2C #({settings}) {name}{index} (.CIN({name}c[{index}]), {inputs}, .S0({name}s[{2 * index}]), "
                f".S1({name}s[{2 * index + 1}]), .COUT({name}c[{index + 1}]));"
            )

    def tree(self, name: str) -> None:
        """A function of seven inputs by the slices' own multiplexers."""
        inputs = ", ".join(f".{letter}({self.bit()})" for letter in "ABCD")
        self.lines.append(f"  wire [7:0] {name}l; wire [3:0] {name}m; wire [1:0] {name}n; wire {name}z;")
        self.lines += [
            f"  LUT4 #(.INIT(16'h{self.source.getrandbits(16):04x})) {name}l{i} ({inputs}, .Z({name}l[{i}]));"
            for i in range(8)
        ]
        first, second, third = self.bit(), self.bit(), self.bit()
        self.lines += [
            f"  PFUMX {name}m{i} (.ALUT({name}l[{2 * i}]), .BLUT({name}l[{2 * i + 1}]), .C0({first}),"
            f" .Z({name}m[{i}]));"
            for i in range(4)
        ]
        self.lines += [
            f"  L6MUX21 {name}n{i} (.D0({name}m[{2 * i}]), .D1({name}m[{2 * i + 1}]), .SD({second}), .Z({name}n[{i}]));"
            for i in range(2)
        ]
        self.lines.append(f"  L6MUX21 {name}o (.D0({name}n[0]), .D1({name}n[1]), .SD({third}), .Z({name}z));")

    def instance(self, kind: str, name: str, parameters: dict[str, object], ports: list[str], declare: str) -> None:
        given = ", ".join(f".{key}({value})" for key, value in parameters.items())
        self.lines += [f"  {declare}", f"  {kind} #({given}) {name} (", f"    {', '.join(ports)});"]


def cells(folder: Path, seed: int) -> Case:
    """A design of such cells, over `cells.v`, which has models of the memories."""
    source = random.Random(seed)
    beginning = begin(source)
    cells = _Cells(source)
    for index in range(_RAMS):
        cells.ram(f"a{index}")
    for index in range(_WIDE_RAMS):
        cells.wide_ram(f"w{index}")
    for index in range(_REGISTERS):
        cells.register(f"q{index}")
    for index in range(_TABLES):
        cells.table(f"t{index}")
    cells.chain("c", 4)
    cells.chain("d", 1)
    cells.tree("m")
    watched = [f"{{a{i}a, a{i}b}}" for i in range(_RAMS)] + [f"w{i}q" for i in range(_WIDE_RAMS)]
    watched += ["q", f"{{{', '.join(f't{i}q' for i in range(_TABLES))}}}", "{cs, cc[4], ds, dc[1]}", "mz"]
    widths = [36] * _RAMS + [36] * _WIDE_RAMS + [_REGISTERS, 4 * _TABLES, 12, 1]
    lines = [
        *beginning,
        f"  wire [{_REGISTERS - 1}:0] q;",
        *cells.lines,
        *(
            f"  signature #({width}) s{index} (.clk(clk), .d({each}), .out(o[{index}]));"
            for index, (each, width) in enumerate(zip(watched, widths, strict=True))
        ),
        f"  assign o[15:{len(watched)}] = q[{15 - len(watched)}:0];",
    ]
    return chip(folder, f"cells {seed}", lines, "cells.v")
