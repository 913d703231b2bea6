"""examples/counter: Verilog, simulated by yosys against a model of five lines, cycle by cycle."""

from __future__ import annotations

import random
from pathlib import Path

from yosys_sim import read, simulate, write

SOURCE = Path(__file__).parents[2] / "examples" / "counter" / "design.v"
CONTROL, LIMIT, COUNT, WRAPS = range(4)


class Model:
    def __init__(self):
        self.run, self.limit, self.count, self.wraps = 0, 0xFFFF_FFFF, 0, 0

    def step(self, step):
        """Answer of this cycle, then the clock edge."""
        address, word = step.get("wb_adr", 0), step.get("wb_dat_w", 0)
        answer = step.get("wb_stb", 0), {0: self.run, 1: self.limit, 2: self.count, 3: self.wraps}.get(address, 0)
        written = address if step.get("wb_we") and step.get("wb_sel") == 15 else None
        if written == CONTROL and word & 2:
            self.count = self.wraps = 0
        elif self.run:
            wrap = self.count >= self.limit
            self.count, self.wraps = (0, self.wraps + 1) if wrap else (self.count + 1, self.wraps)
        if written == CONTROL:
            self.run = word & 1
        if written == LIMIT:
            self.limit = word
        return answer


def test_counter_against_its_model(tmp_path):
    dice = random.Random(7)
    steps = [{"rst": 1}] * 2
    steps += [read(LIMIT), write(LIMIT, 3), write(CONTROL, 1), read(COUNT), {}, {}, {}, read(COUNT), read(WRAPS)]
    for _ in range(300):
        steps.append(
            dice.choice(
                [
                    {},
                    read(dice.randrange(6)),
                    write(LIMIT, dice.randrange(5)),
                    write(CONTROL, dice.choice([1, 1, 0, 2, 3])),
                    write(COUNT, 9),
                    write(CONTROL, 2, sel=1),
                ]
            )
        )
    outputs = simulate(SOURCE, "counter", steps, tmp_path)
    model = Model()
    expected = [model.step(step) for step in steps[2:]]
    assert outputs[2:] == expected
    assert model.wraps > 10
