"""examples/counter: Verilog, simulated by yosys against a model of five lines, cycle by cycle."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from pyosys import libyosys

SOURCE = Path(__file__).parents[2] / "examples" / "counter" / "design.v"
INPUTS = {"rst": 1, "wb_cyc": 1, "wb_stb": 1, "wb_we": 1, "wb_adr": 9, "wb_dat_w": 32, "wb_sel": 4}
CONTROL, LIMIT, COUNT, WRAPS = range(4)


def write(address, word, sel=0b1111):
    return {"wb_cyc": 1, "wb_stb": 1, "wb_we": 1, "wb_adr": address, "wb_dat_w": word, "wb_sel": sel}


def read(address):
    return {"wb_cyc": 1, "wb_stb": 1, "wb_adr": address, "wb_sel": 0b1111}


def simulate(steps, folder):
    """Run one step per clock cycle; returns (wb_ack, wb_dat_r) of each, before the clock edge that ends it."""
    witness = {
        "format": "Yosys Witness Trace",
        "generator": "test",
        "clocks": [{"path": ["\\clk"], "edge": "posedge", "offset": 0}],
        "signals": [{"path": ["\\" + n], "width": w, "offset": 0, "init_only": False} for n, w in INPUTS.items()],
        "steps": [{"bits": "".join(f"{step.get(n, 0):0{w}b}" for n, w in reversed(INPUTS.items()))} for step in steps],
    }
    (folder / "steps.yw").write_text(json.dumps(witness))
    design = libyosys.Design()
    for command in (
        f"read_verilog {SOURCE}",
        "prep -top counter",
        f"sim -r {folder / 'steps.yw'} -vcd {folder / 'out.vcd'} -width 2 counter",
    ):
        libyosys.run_pass(f"tee -q {command}", design)
    header, body = (folder / "out.vcd").read_text().split("$enddefinitions $end")
    names = dict(re.findall(r"\$var \w+ \d+ (\w+) (\w+)", header))
    values, seen = {}, {}
    for line in body.splitlines():
        if line.startswith("#"):
            time = int(line[1:])
        elif line.startswith("b"):
            bits, symbol = line[1:].split()
            values[names[symbol]] = int(bits, 2) if set(bits) <= {"0", "1"} else None
            seen[time] = (values.get("wb_ack"), values.get("wb_dat_r"))
    outputs, latest = [], (None, None)
    for cycle in range(len(steps)):
        latest = seen.get(2 * cycle, latest)
        outputs.append(latest)
    return outputs


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
    outputs = simulate(steps, tmp_path)
    model = Model()
    expected = [model.step(step) for step in steps[2:]]
    assert outputs[2:] == expected
    assert model.wraps > 10
