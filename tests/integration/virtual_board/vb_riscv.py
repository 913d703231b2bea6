"""An assembler for as much of RV32I as the test program needs, and that program."""

from __future__ import annotations

from pathlib import Path

_ALU = {"add": 0, "sll": 1, "slt": 2, "sltu": 3, "xor": 4, "srl": 5, "or": 6, "and": 7}
_BRANCH = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}
_LOAD = {"lb": 0, "lh": 1, "lw": 2, "lbu": 4, "lhu": 5}
_STORE = {"sb": 0, "sh": 1, "sw": 2}

PROGRAM = """
      lui   x1, 1            # x1: output port at 0x800
      srli  x1, x1, 1
      lui   x2, 0x12345      # x2: state of a xorshift generator
      addi  x2, x2, 0x678
      addi  x10, x0, 0x400   # x10: an array of 32 words
again:
      addi  x3, x0, 0
fill:                        # random words, stored as words, halves and bytes
      jal   x31, random
      slli  x5, x3, 2
      add   x5, x5, x10
      sw    x2, 0(x5)
      srai  x6, x2, 3
      sh    x6, 2(x5)
      srl   x7, x2, x3
      sb    x7, 1(x5)
      addi  x3, x3, 1
      slti  x4, x3, 32
      bne   x4, x0, fill
      addi  x3, x0, 31
outer:                       # bubble sort
      addi  x11, x10, 0
      addi  x12, x0, 0
inner:
      lw    x5, 0(x11)
      lw    x6, 4(x11)
      bge   x6, x5, sorted
      sw    x6, 0(x11)
      sw    x5, 4(x11)
sorted:
      addi  x11, x11, 4
      addi  x12, x12, 1
      bltu  x12, x3, inner
      addi  x3, x3, -1
      bne   x3, x0, outer
      addi  x3, x0, 0
      addi  x8, x0, 0
show:                        # fold it, bytes and halves with and without sign
      slli  x5, x3, 2
      add   x5, x5, x10
      lw    x6, 0(x5)
      lb    x7, 1(x5)
      xor   x6, x6, x7
      lhu   x7, 2(x5)
      sub   x6, x6, x7
      lh    x7, 0(x5)
      sltu  x9, x7, x6
      add   x8, x8, x9
      lbu   x7, 3(x5)
      sll   x9, x7, x3
      or    x8, x8, x9
      and   x9, x6, x2
      sra   x9, x9, x3
      slt   x7, x8, x9
      add   x8, x8, x7
      add   x8, x8, x6
      lw    x7, 0(x1)        # the input pin
      xor   x8, x8, x7
      sw    x8, 0(x1)
      auipc x7, 1
      xori  x7, x7, 0x55
      andi  x7, x7, 0x7f
      add   x2, x2, x7
      addi  x3, x3, 1
      sltiu x4, x3, 32
      bne   x4, x0, show
      beq   x0, x0, again
random:
      slli  x30, x2, 13
      xor   x2, x2, x30
      srli  x30, x2, 17
      xor   x2, x2, x30
      slli  x30, x2, 5
      xor   x2, x2, x30
      jalr  x0, x31, 0
"""


def assemble(text: str) -> list[int]:
    """The words of a program that starts at address 0."""
    lines: list[list[str]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].replace(",", " ").replace("(", " ").replace(")", " ").split()
        if words and words[0].endswith(":"):
            labels[words[0][:-1]] = 4 * len(lines)
        elif words:
            lines.append(words)
    return [_encode(words, 4 * index, labels) for index, words in enumerate(lines)]


def write_program(path: Path) -> Path:
    """The test program as a file for $readmemh, filled up to 512 words."""
    words = assemble(PROGRAM)
    path.write_text("\n".join(f"{word:08x}" for word in [*words, *[0] * (512 - len(words))]) + "\n")
    return path


def _number(text: str) -> int:
    return int(text.removeprefix("x"), 10 if text.startswith("x") else 0)


def _encode(words: list[str], here: int, labels: dict[str, int]) -> int:
    name = words[0]
    args = [labels[word] - here if word in labels else _number(word) for word in words[1:]]
    if name in _BRANCH:
        return _branch(_BRANCH[name], args[0], args[1], args[2])
    if name in _LOAD:
        return _immediate(0x03, _LOAD[name], args[0], args[2], args[1])
    if name in _STORE:
        value = args[1] & 0xFFF
        return value >> 5 << 25 | args[0] << 20 | args[2] << 15 | _STORE[name] << 12 | (value & 31) << 7 | 0x23
    if name in ("lui", "auipc"):
        return (args[1] & 0xFFFFF) << 12 | args[0] << 7 | (0x37 if name == "lui" else 0x17)
    if name == "jal":
        at = args[1]
        return (
            (at >> 20 & 1) << 31 | (at >> 1 & 0x3FF) << 21 | (at >> 11 & 1) << 20 | (at >> 12 & 0xFF) << 12
            | args[0] << 7 | 0x6F
        )  # fmt: skip
    if name == "jalr":
        return _immediate(0x67, 0, args[0], args[1], args[2])
    if name in ("sub", "sra"):
        return 1 << 30 | args[2] << 20 | args[1] << 15 | (0 if name == "sub" else 5) << 12 | args[0] << 7 | 0x33
    if name in _ALU:
        return args[2] << 20 | args[1] << 15 | _ALU[name] << 12 | args[0] << 7 | 0x33
    if name == "srai":
        return _immediate(0x13, 5, args[0], args[1], args[2] | 0x400)
    plain = "sltu" if name == "sltiu" else name.removesuffix("i")
    return _immediate(0x13, _ALU[plain], args[0], args[1], args[2])


def _immediate(opcode: int, function: int, rd: int, rs1: int, value: int) -> int:
    return (value & 0xFFF) << 20 | rs1 << 15 | function << 12 | rd << 7 | opcode


def _branch(function: int, rs1: int, rs2: int, at: int) -> int:
    return (
        (at >> 12 & 1) << 31 | (at >> 5 & 0x3F) << 25 | rs2 << 20 | rs1 << 15 | function << 12
        | (at >> 1 & 15) << 8 | (at >> 11 & 1) << 7 | 0x63
    )  # fmt: skip
