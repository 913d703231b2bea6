"""Runs a program on the processor of this folder: `python examples/riscv/run.py [PROGRAM.hex|PROGRAM.bin]`.

Which lab it talks to is found as the `lutlab` command finds it. Without a program it is `primes.hex`, and what it found
is compared with Python's.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

from lutlab import BoardStream, Client

HERE = Path(__file__).parent
CONTROL, PC, CYCLES, INSTRUCTIONS = 0x0, 0x4, 0x8, 0xC
MEMORY = 0x400
MEMORY_WORDS = 256
LIMIT, FOUND, PRIMES = MEMORY + 0x3FC, MEMORY + 0x3F8, MEMORY + 0x200
TIMEOUT_S = 60.0


def read_program(path: Path) -> list[int]:
    """Words in hexadecimal, one a line, or what `objcopy -O binary` makes."""
    if path.suffix == ".hex":
        return [int(line, 16) for line in path.read_text().split()]
    data = path.read_bytes()
    data += bytes(-len(data) % 4)
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def run(board: BoardStream, program: list[int]) -> None:
    """Start the program and wait for its ECALL."""
    board.write(MEMORY, program)
    board.write(CONTROL, [1])
    deadline = time.monotonic() + TIMEOUT_S
    while board.read(CONTROL) == [1]:
        if time.monotonic() > deadline:
            raise SystemExit(f"the program still runs after {TIMEOUT_S:g} s, at {board.read(PC)[0]:#x}")


def primes_below(limit: int) -> list[int]:
    """What the board should find."""
    return [n for n in range(2, limit) if all(n % d for d in range(2, n))]


def main(arguments: list[str]) -> None:
    """Load, run, show."""
    path = Path(arguments[0]) if arguments else HERE / "primes.hex"
    program = read_program(path)
    if len(program) > MEMORY_WORDS:
        raise SystemExit(f"{path} has {len(program)} words; there is room for {MEMORY_WORDS}")
    with Client() as lab, lab.running(lab.submit(HERE / "design.v")) as board:
        print(f"the processor is on board {board.fpga_id}")
        board.write(LIMIT, [100])
        run(board, program)
        cycles, instructions = board.read(CYCLES, 2)
        print(f"{path.name}: {instructions} instructions in {cycles} cycles")
        if not arguments:
            primes = board.read(PRIMES, board.read(FOUND)[0])
            assert primes == primes_below(100), primes
            print(*primes)


if __name__ == "__main__":
    main(sys.argv[1:])
