"""Synthesize the elaborated design for ECP5: RTLIL in, nextpnr's JSON and cell statistics out. Runs no user code."""

from __future__ import annotations

from typing import Any

from lutlab_builder.inside.yosys import Yosys


def main(request: dict[str, Any]) -> int:
    """Run yosys; on an error the library prints `ERROR: ...` and ends the process with status 1."""
    inputs, outputs = request["inputs"], request["outputs"]
    design = Yosys()
    design.run(f"read_rtlil {inputs['design.il']}")
    design.run(f"synth_ecp5 -top {request['params']['top']} -json {outputs['design.json']}")
    design.run(f"tee -q -o {outputs['stat.json']} stat -json")
    return 0
