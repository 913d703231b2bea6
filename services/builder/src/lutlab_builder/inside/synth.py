"""Synthesize the elaborated design for ECP5: RTLIL in, nextpnr's JSON and cell statistics out. Runs no user code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lutlab_builder.inside.yosys import Yosys

MULTIPLIER = "MULT18X18D"
EXCESS_MAX = 64
"""So many more multipliers than the device has are made of logic; with more a design hardly fits."""
MARK = "lutlab_of_logic"


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
    excess = multipliers - params["multipliers"]
    if 0 < excess <= EXCESS_MAX:
        sys.stdout.write(
            f"Warning: the design has {multipliers} multipliers, the device {params['multipliers']}: {excess} are made "
            "of logic, which is slower\n"
        )
        design = Yosys()
        design.run(f"read_rtlil {inputs['design.il']}")
        _make_of_logic(design, params["top"], excess)
        _synthesize(design, params["top"], outputs)
    return 0


def _make_of_logic(design: Yosys, top: str, count: int) -> None:
    """Turn the smallest multiplications of the design into adders."""
    for command in (f"hierarchy -top {top}", "proc", "flatten", "opt_expr", "opt_clean", "wreduce", "opt_clean"):
        design.run(f"tee -q {command}")
    design.mark(design.multiplications()[:count], MARK)
    design.run(f"tee -q booth {top}/a:{MARK}=1")


def _synthesize(design: Yosys, top: str, outputs: dict[str, str]) -> int:
    """Write nextpnr's JSON and the statistics; how many multipliers there are."""
    design.run(f"synth_ecp5 -top {top} -json {outputs['design.json']}")
    design.run(f"tee -q -o {outputs['stat.json']} stat -json")
    cells = json.loads(Path(outputs["stat.json"]).read_text())["design"]["num_cells_by_type"]
    return int(cells.get(MULTIPLIER, 0))
