"""Synthesize a design with yosys (its slang front end) and write what it is made of as JSON.

usage: python -m lutlab_verify.inside.synthesize OUTPUT NETLIST FLOW TOP [read_slang options and files]

FLOW is `ecp5`, which writes NETLIST for nextpnr, or `generic`, which maps to simple gates and estimates transistors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

STATISTICS = "synthesis_stat.json"
QUOTED = "\\\"'; \t\n"
"""Characters that end a word of yosys' command language."""


def main(arguments: list[str]) -> int:
    """Write the statistics; yosys' own exit if it cannot read the design."""
    import pyosys.libyosys as ys  # noqa: PLC0415 - loading it takes longest

    output, netlist, flow, top, *options = arguments
    wrong = [text for text in (top, *options) if any(sign in text for sign in QUOTED)]
    if wrong:
        sys.stdout.write(f"ERROR: yosys cannot be given {wrong[0]!r}\n")
        return 1
    design = ys.Design()
    commands = [f"read_slang --threads 1 --top {top} {' '.join(options)}"]
    if flow == "ecp5":
        commands += [f"synth_ecp5 -top {top} -json {netlist}", f"tee -q -o {STATISTICS} stat -json"]
    else:
        commands += [f"synth -flatten -top {top}", "abc -g cmos4", "opt_clean"]
        commands += [f"tee -q -o {STATISTICS} stat -json -tech cmos"]
    for command in commands:
        ys.run_pass(command, design)
    statistics = json.loads(Path(STATISTICS).read_text(encoding="utf-8"))["design"]
    Path(output).write_text(json.dumps(statistics), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
