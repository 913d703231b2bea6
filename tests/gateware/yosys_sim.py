"""Verilog by yosys' own simulator: a step per clock cycle in, answers of the bus out."""

from __future__ import annotations

import json
import re

from pyosys import libyosys

INPUTS = {"rst": 1, "wb_cyc": 1, "wb_stb": 1, "wb_we": 1, "wb_adr": 9, "wb_dat_w": 32, "wb_sel": 4}


def write(address, word, sel=0b1111):
    return {"wb_cyc": 1, "wb_stb": 1, "wb_we": 1, "wb_adr": address, "wb_dat_w": word, "wb_sel": sel}


def read(address):
    return {"wb_cyc": 1, "wb_stb": 1, "wb_adr": address, "wb_sel": 0b1111}


def simulate(source, top, steps, folder):
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
        f"read_verilog {source}",
        f"prep -top {top}",
        f"sim -r {folder / 'steps.yw'} -vcd {folder / 'out.vcd'} -width 2 {top}",
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
