"""examples/riscv: its program by yosys' simulator, to the prime numbers below ten."""

from __future__ import annotations

from pathlib import Path

from yosys_sim import read, simulate, write

FOLDER = Path(__file__).parents[2] / "examples" / "riscv"
CONTROL, PC, CYCLES, INSTRUCTIONS = range(4)
MEMORY, FOUND, LIMIT, PRIMES = 256, 256 + 254, 256 + 255, 256 + 128
CYCLES_MAX = 900


def test_it_finds_the_primes(tmp_path: Path) -> None:
    program = [int(line, 16) for line in (FOLDER / "primes.hex").read_text().split()]
    busy = [read(MEMORY), {}]
    steps = [{"rst": 1}] * 2
    for address, word in [*enumerate(program, MEMORY), (LIMIT, 10), (CONTROL, 1)]:
        steps += [write(address, word), {}]
    steps += [*busy, *[{}] * CYCLES_MAX]
    asked = [CONTROL, PC, INSTRUCTIONS, CYCLES, FOUND, *range(PRIMES, PRIMES + 4)]
    for address in asked:
        steps += [read(address)] * 2
    answers = simulate(FOLDER / "design.v", "riscv", steps, tmp_path)
    start = len(steps) - 2 * len(asked)
    assert answers[start - CYCLES_MAX - 1][0] == 0  # no acknowledge: the memory is the processor's
    told = answers[start + 1 :: 2]
    assert all(ack == 1 for ack, _ in told)
    running, pc, instructions, cycles, *found = (word for _, word in told)
    assert (running, pc, cycles) == (0, 4 * (len(program) - 1), 3 * instructions)
    assert found == [4, 2, 3, 5, 7]
