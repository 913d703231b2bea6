"""Synthesize the elaborated design for ECP5: RTLIL in, nextpnr's JSON and cell statistics out. Runs no user code."""

from __future__ import annotations

import sys
from typing import Any

from lutlab_builder.inside.yosys import Yosys


def main(request: dict[str, Any]) -> int:
    """Run yosys; on an error the library prints `ERROR: ...` and ends the process with status 1."""
    inputs, outputs, params = request["inputs"], request["outputs"], request["params"]
    design = Yosys()
    design.run(f"read_rtlil {inputs['design.il']}")
    found = design.ports().get(params["top"], {})
    if found != {name: tuple(shape) for name, shape in params["ports"].items()}:
        sys.stdout.write(f"ERROR: the SoC's ports were tampered with: {sorted(found)}\n")
        return 1
    design.run(f"synth_ecp5 -top {params['top']} -json {outputs['design.json']}")
    design.run(f"tee -q -o {outputs['stat.json']} stat -json")
    return 0
