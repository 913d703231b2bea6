"""Designs at random: registers of every control, memories of every shape, arithmetic, and logic between them."""

from __future__ import annotations

import random

_WORD = 16


class _Design:
    def __init__(self, seed: int, one_edge: bool) -> None:
        self.random = random.Random(seed)
        self.edges = ["posedge"] if one_edge else ["posedge", "posedge", "posedge", "negedge"]
        self.declarations: list[str] = []
        self.words: list[str] = ["noise0", "noise1", "line"]
        self.bits: list[str] = ["noise0[3]", "noise1[5]", "rx"]
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def word(self) -> str:
        return self.random.choice(self.words[-12:])

    def bit(self) -> str:
        return self.random.choice(self.bits[-12:])

    def rare(self) -> str:
        """A bit that is seldom one."""
        return (
            f"({self.bit()} & {self.bit()} & {self.random.choice(['noise0', 'noise1'])}[{self.random.randrange(16)}])"
        )

    def keep(self, name: str) -> None:
        """Let later pieces use a word."""
        self.words.append(name)
        self.bits.append(f"{name}[{self.random.randrange(_WORD)}]")

    def logic(self) -> None:
        name = self.fresh()
        a, b, c = self.word(), self.word(), self.word()
        expression = self.random.choice([
            f"{a} ^ ({b} & ~{c})", f"{a} + {b}", f"{a} - {b}", f"{self.bit()} ? {a} : {b}",
            f"{{15'b0, {a} < {b}}} ^ {c}", f"({a} << {b}[3:0]) | ({c} >> 3)", f"$signed({a}) >>> {b}[2:0]",
            f"{{16{{^{a}}}}} & {b}", f"{a}[7:0] * {b}[6:0]", f"{{16{{{a} == {b}}}}} ^ {c}",
        ])  # fmt: skip
        self.declarations.append(f"wire [15:0] {name} = {expression};")
        self.keep(name)

    def register(self) -> None:
        name, pick = self.fresh(), self.random
        start, value = pick.getrandbits(_WORD), pick.getrandbits(_WORD)
        edge = pick.choice(self.edges)
        load = f"if ({pick.choice(['', '!'])}{self.bit()}) " if pick.random() < 0.5 else ""
        body = f"{load}{name} <= {self.word()};"
        event = f"{edge} clk"
        control = pick.choice(["none", "sync", "under_enable", "async"])
        if control == "async":
            # From a register: a reset made by logic that waits for both edges would be a race in any simulator.
            reset = self.fresh()
            self.declarations.append(f"reg {reset} = 0; always @(posedge clk) {reset} <= {self.rare()};")
            event += f" or posedge {reset}"
            start = value
            body = f"if ({reset}) {name} <= 16'd{value}; else {body}"
        elif control == "sync":
            start = value
            body = f"if ({self.rare()}) {name} <= 16'd{value}; else {body}"
        elif control == "under_enable":
            start = value
            body = (
                f"if ({self.bit()}) begin if ({self.rare()}) {name} <= 16'd{value}; else {name} <= {self.word()}; end"
            )
        self.declarations.append(f"reg [15:0] {name} = 16'd{start}; always @({event}) {body}")
        self.keep(name)

    def memory(self) -> None:
        name, pick = self.fresh(), self.random
        style = pick.choice(["distributed", "block", "block"])
        address_bits = pick.choice([4, 5]) if style == "distributed" else pick.choice([8, 9, 10, 11])
        width = pick.choice([1, 3, 4, 8, 9, 16])
        read = self.fresh()
        wa, ra = f"{self.word()}", f"{self.word()}"
        self.declarations += [
            f'(* ram_style = "{style}" *) reg [{width - 1}:0] {name} [0:{(1 << address_bits) - 1}];',
            f"integer i_{name}; initial for (i_{name} = 0; i_{name} < {1 << address_bits}; i_{name} = i_{name} + 1) "
            f"{name}[i_{name}] = i_{name} * {pick.randrange(1, 1 << 16)};",
            f"wire [{address_bits - 1}:0] wa_{name} = {wa}, ra_{name} = {ra};",
            # A memory that is never written is none, and then there is no cell of its style.
            f"always @(posedge clk) if ({self.bit()} ^ noise0[7]) {name}[wa_{name}] <= {self.word()};",
        ]
        if style == "distributed":
            self.declarations.append(f"wire [15:0] {read} = {name}[ra_{name}];")
        else:
            enable = f"if ({self.bit()}) " if pick.random() < 0.5 else ""
            self.declarations.append(
                f"reg [15:0] {read} = 0; always @(posedge clk) {enable}{read} <= {name}[ra_{name}];"
            )
        self.keep(read)

    def multiplier(self) -> None:
        name, pick = self.fresh(), self.random
        a, b = self.word(), self.word()
        sign = pick.choice(["", "$signed"])
        self.declarations.append(f"wire [31:0] w_{name} = {sign}({a}) * {sign}({b});")
        self.declarations.append(f"wire [15:0] {name} = w_{name}[31:16] ^ w_{name}[15:0];")
        self.keep(name)

    def text(self, pieces: int) -> str:
        kinds = [self.logic, self.logic, self.logic, self.register, self.register, self.register, self.memory]
        for index in range(pieces):
            self.random.choice(kinds)()
            if index % 16 == 8:
                self.multiplier()
        folded = self.words[3:]
        groups = [" ^ ".join(folded[start::4]) for start in range(4)]
        folds = "\n  ".join(
            f"reg [15:0] f{i} = 0; always @(posedge clk) f{i} <= {{f{i}[14:0], f{i}[15]}} ^ {group};"
            for i, group in enumerate(groups)
        )
        body = "\n  ".join(self.declarations)
        return _FRAME.format(body=body, folds=folds)


_FRAME = """
module chip (input clk, input rx, output [15:0] o);
  reg [31:0] s = 32'h2545f491;
  wire [31:0] s1 = s ^ (s << 13), s2 = s1 ^ (s1 >> 17);
  always @(posedge clk) s <= s2 ^ (s2 << 5) ^ {{31'b0, rx}};
  wire [15:0] noise0 = s[15:0], noise1 = s[31:16], line = {{15'b0, rx}};
  {body}
  {folds}
  assign o = f0 ^ {{f1[7:0], f1[15:8]}} ^ {{f2[3:0], f2[15:4]}} ^ {{f3[11:0], f3[15:12]}};
endmodule
"""


def random_design(seed: int, pieces: int = 40, one_edge: bool = False) -> str:
    """A Verilog module `chip` with ports clk, rx and o[15:0]; the same for the same seed.

    Args:
        seed: of everything that is chosen.
        pieces: of logic and state.
        one_edge: every register is on the rising edge, which the board executes in another way.
    """
    return _Design(seed, one_edge).text(pieces)
