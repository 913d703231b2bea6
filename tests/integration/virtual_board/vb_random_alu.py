"""ALU54B wired at random: its static settings, its registers, and which bits of its operation code change."""

from __future__ import annotations

import random

from vb_places import slice_places

_SITES = (7, 25, 45, 20, 40, 58)
"""Columns of three first and three second ALUs of blocks, each in a block of its own: a block shares its controls."""

_OPERATIONS = ("01{}{}", "010{}", "11{}0", "{}000", "{}011", "011{}")
"""Upper four bits of the operation code; a hole changes as it goes."""


def random_alus(seed: int) -> tuple[str, dict[str, str]]:
    """A design with an ALU at each site, and their places."""
    source = random.Random(seed)
    slices = [_slice(source, index, first=index < 3) for index in range(len(_SITES))]
    places = {name: bel for index, x in enumerate(_SITES) for name, bel in slice_places(f"s{index}", x).items()}
    seeds = [source.getrandbits(32) | 1 for _ in range(5)]
    text = "\n".join([
        "module chip (input clk, input rx, output [15:0] o);",
        "  wire [31:0] r0, r1, r2, r3, r4;",
        *(f"  noise #(32'h{each:08x}) n{index} (.clk(clk), .r(r{index}));" for index, each in enumerate(seeds)),
        "  reg [5:0] rst = 6'b111111;",
        "  always @(posedge clk) rst <= {&r4[4:0], ~|r4[9:5], &r4[14:10], ~|r4[20:15], &r3[4:0], ~|r3[9:5] & rx};",
        "  wire [53:0] c = r4[31] ? {r0[26:0], r3[26:0]} : {{46{r4[30]}}, r3[7:0]};",
        "  wire [53:0] r [0:5];",
        "  wire [5:0] eqz;",
        *slices,
        "  genvar i;",
        "  generate for (i = 0; i < 6; i = i + 1) begin : signatures",
        "    signature #(54) sig (.clk(clk), .d(r[i]), .out(o[i]));",
        "  end endgenerate",
        "  assign o[15:6] = {r[5][1:0], r[4][1:0], r[3][1:0], r[2][1:0], r[1][0], r[0][0]};",
        "endmodule",
        "",
    ])  # fmt: skip
    return text, places


def _slice(source: random.Random, index: int, *, first: bool) -> str:
    """One ALU; a block's first one may round, the second may not (the chip database does not know its constant)."""
    holes = iter(source.sample(range(32), 16))

    def changing() -> str:
        return f"r4[{next(holes)}]"

    def bits(pattern: str) -> str:
        return ", ".join(changing() if each == "x" else f"1'b{each}" for each in pattern)

    operation = source.choice(_OPERATIONS).replace("{}", "x")
    third = source.choice(["000", "011", "10x", "100", "101"])
    if first and source.random() < 0.4:
        third = "11x"
    out, pipe, inputs = source.randrange(2), source.randrange(2), source.randrange(2)
    ranks = source.randrange(3)
    # Without an output register nothing may feed back.
    operand_a = source.choice(["01", "10", "11", "1x"] + (["00", "xx", "0x"] if out else []))
    if not out and third in ("10x", "101"):
        third = "100"
    operand_b = source.choice(["00", "01", "10", "11", "xx", "1x"])
    enable = changing() if not out else "1'b1"
    constant = source.getrandbits(54)
    parameters = {
        "IN": inputs,
        "PIPE": pipe,
        "OPS": ranks,
        "OUT": out,
        "ASYNC": source.randrange(2),
        "RNDPAT": f'"0x{constant:014x}"' if first else None,
        "RND": f"54'h{constant:x}" if first else None,
    }
    given = ", ".join(f".{name}({value})" for name, value in parameters.items() if value is not None)
    code = ", ".join(bits(each) for each in (operation, third, operand_b, operand_a))
    reset = f"{{4{{rst[{index}]}}}}" if inputs or pipe or ranks or out else "4'b0"
    factors = ", ".join(f"r{source.randrange(4)}[{low + 17}:{low}]" for low in (0, 5, 9, 14))
    return (
        f"  slice #({given}) s{index} (clk, {factors}, {{{changing()}, {changing()}}}, c, {{{code}}}, 54'b0, 1'b0,\n"
        f"    {enable}, {reset}, r[{index}], , eqz[{index}], , );"
    )
