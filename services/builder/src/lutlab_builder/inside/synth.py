"""Synthesize the elaborated design for ECP5: RTLIL in, nextpnr's JSON and cell statistics out. Runs no user code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lutlab_builder.inside.yosys import Yosys

MULTIPLIER = "MULT18X18D"
EXCESS_MAX = 2
"""A design with more than so many times the device's multipliers would not fit as logic either."""


def main(request: dict[str, Any]) -> int:
    """Run yosys; on an error the library prints `ERROR: ...` and ends the process with status 1."""
    inputs, outputs, params = request["inputs"], request["outputs"], request["params"]
    design = Yosys()
    design.run(f"read_rtlil {inputs['design.il']}")
    found = design.ports().get(params["top"], {})
    optional = {name: tuple(shape) for name, shape in params["optional_ports"].items()}
    plain = {name: shape for name, shape in found.items() if optional.get(name) != shape}
    if plain != {name: tuple(shape) for name, shape in params["ports"].items()}:
        sys.stdout.write(f"ERROR: the SoC's ports were tampered with: {sorted(found)}\n")
        return 1
    multipliers = _synthesize(design, params["top"], outputs)
    if params["multipliers"] < multipliers <= params["multipliers"] * EXCESS_MAX:
        sys.stdout.write(
            f"Warning: the design has {multipliers} multipliers, the device {params['multipliers']}: they are made of "
            "logic, which is slower\n"
        )
        design = Yosys()
        design.run(f"read_rtlil {inputs['design.il']}")
        # ABC would prove its mapping afterwards, which for multipliers takes longer than any limit.
        design.run("scratchpad -set abc9.verify 0")
        _synthesize(design, params["top"], outputs, "-nodsp")
    return 0


def _synthesize(design: Yosys, top: str, outputs: dict[str, str], options: str = "") -> int:
    """Write nextpnr's JSON and the statistics; how many multipliers there are."""
    design.run(f"synth_ecp5 -top {top} {options} -json {outputs['design.json']}")
    design.run(f"tee -q -o {outputs['stat.json']} stat -json")
    cells = json.loads(Path(outputs["stat.json"]).read_text())["design"]["num_cells_by_type"]
    return int(cells.get(MULTIPLIER, 0))
