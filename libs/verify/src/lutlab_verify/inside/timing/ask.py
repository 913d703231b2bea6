"""Ask whether an observer can tell secrets apart.

usage: python -m lutlab_verify.inside.timing.ask REQUEST

REQUEST is JSON: `task`, `folder` (of `lutlab_verify.inside.formal.prepare`), `clock`, `edge`, `secrets` (inputs and
registers), `observed` (outputs); for `search` and `invariants` `solver` (argument list), for `search` `depth`. The
answer goes to `folder`/timing_TASK.json:

- `taint`: `tainted` (observed outputs that a secret may reach), `paths` and `kinds` for them, `signals`,
  `tainted_signals`, `branches`, `tainted_branches`, `registers` (secrets that are registers), `missing` (secrets
  that are neither), `other` (of these, signals of the design);
- `search`: `depth` that is through (written again at every step), `difference`: null, or `step` and `outputs`, the two
  runs then stand in timing.vcd; `impossible`: the step which the assumptions exclude, or null;
- `invariants`: `proven`, `rounds`, `kept`, `candidates`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lutlab_verify.inside.formal.solver import Model, Solver
from lutlab_verify.inside.formal.waves import write_vcd
from lutlab_verify.inside.timing.runs import Contradiction, Divergence, Invariants, Pair, Registers
from lutlab_verify.inside.timing.taint import Netlist, Taint

Json = dict[str, Any]
OUTPUTS_MAX = 100


def _netlist(folder: Path) -> Netlist:
    modules = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))["modules"]
    module = next(module for module in modules.values() if "top" in module["attributes"])
    return Netlist(module, json.loads((folder / "places.json").read_text(encoding="utf-8")))


def _equal(request: Json, folder: Path, model: Model) -> Registers:
    """What both runs start with: every bit of a register that is no secret's, by whatever name it goes."""
    netlist = _netlist(folder)
    secret = {bit for name in request["secrets"] for bit in netlist.bits(name)}
    held = netlist.held_bits() - secret
    found: dict[str, list[int] | None] = {}
    for name, width in model.registers.items():
        bits = netlist.bits(name)
        places = [place for place, bit in enumerate(bits) if bit in held]
        if not bits or len(places) == width:  # what is not in the netlist are words of memories
            found[name] = None
        elif places:
            found[name] = places
    return found


def taint(request: Json, folder: Path) -> Json:
    """The first tier: where secrets can flow at all."""
    netlist = _netlist(folder)
    module = netlist.module
    inputs = {name for name, port in module["ports"].items() if port["direction"] == "input"}
    registers = set(Model.read(folder / "model.smt2").registers)
    internal = [name for name in request["secrets"] if name not in inputs]
    sources = {bit for name in request["secrets"] for bit in netlist.bits(name)}
    found = netlist.spread(sources | netlist.unknown_bits())
    tainted = [name for name in request["observed"] if any(bit in found.bits for bit in netlist.bits(name))]
    signals = netlist.signals()
    branches, tainted_branches = netlist.branches(found)
    known = netlist.spread(sources)  # ways from secrets are told rather than ways from unknown values
    ways: dict[str, tuple[Taint, Any]] = {}
    for name in tainted[:OUTPUTS_MAX]:
        bit = next((bit for bit in netlist.bits(name) if bit in known.bits), None)
        ways[name] = (known, bit) if bit else (found, next(bit for bit in netlist.bits(name) if bit in found.bits))
    return {
        "tainted": tainted,
        "paths": {name: netlist.path(*way) for name, way in ways.items()},
        "kinds": {name: netlist.kind(*way) for name, way in ways.items()},
        "signals": len(signals),
        "tainted_signals": sum(any(bit in found.bits for bit in netlist.bits(name)) for name in signals),
        "branches": branches,
        "tainted_branches": tainted_branches,
        "registers": [name for name in internal if name in registers],
        "missing": [name for name in internal if name not in registers],
        "other": [name for name in internal if name not in registers and netlist.bits(name)],
        "names": [*inputs, *sorted(registers & set(signals))],
    }


def search(request: Json, folder: Path, answer: Path) -> Json:
    """The second tier: two runs, step by step."""
    found: Json = {"depth": 0, "difference": None, "impossible": None}

    def each(step: int) -> None:
        found["depth"] = step + 1
        answer.write_text(json.dumps(found), encoding="utf-8")

    model = Model.read(folder / "model.smt2")
    equal = _equal(request, folder, model)
    solver = Solver(request["solver"], model)
    try:
        pair = Pair(solver, request["secrets"])
        difference = Divergence(pair, equal, request["observed"]).run(request["depth"], each)
    except Contradiction as contradiction:
        found["impossible"] = contradiction.step
        return found
    finally:
        solver.close()
    if difference is not None:
        runs = dict(zip(("run_a", "run_b"), difference.pop("runs"), strict=True))
        write_vcd(folder / "timing.vcd", runs, request["clock"], request["edge"])
        found["difference"] = difference
    return found


def invariants(request: Json, folder: Path) -> Json:
    """The third tier: what no step can make differ."""
    model = Model.read(folder / "model.smt2")
    equal = _equal(request, folder, model)
    solver = Solver(request["solver"], model)
    try:
        pair = Pair(solver, request["secrets"])
        return Invariants(pair, equal, request["observed"]).run()
    finally:
        solver.close()


def main(arguments: list[str]) -> int:
    """See the module. Returns: the exit status."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    folder = Path(request["folder"])
    answer = folder / f"timing_{request['task']}.json"
    match request["task"]:
        case "taint":
            found = taint(request, folder)
        case "search":
            found = search(request, folder, answer)
        case _:
            found = invariants(request, folder)
    answer.write_text(json.dumps({**found, "done": True}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
