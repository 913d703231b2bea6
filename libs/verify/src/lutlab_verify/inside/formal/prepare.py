"""Read a project, lower its properties, write the model.

usage: python -m lutlab_verify.inside.formal.prepare REQUEST

REQUEST is JSON: `files`, `includes`, `defines` (NAME=value), `top`, `out` (a folder). Written there are `design.sv`
(for the model), `replay.sv` (for simulation), `netlist.json`, `model.smt2` and `design.json`, which describes them; or
`error.json` and exit status 3. `places.json` says for every line of `design.sv` where it comes from; with it the engine
reads `yosys.log` when yosys has ended the process with status 1.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from pyslang import Bag, Diagnostic, DiagnosticEngine, SourceManager
from pyslang.parsing import PreprocessorOptions
from pyslang.syntax import SyntaxTree

from lutlab_verify.inside.formal import elaborate
from lutlab_verify.inside.formal.lower import Lowering, Property
from lutlab_verify.inside.formal.refuse import EXIT_REFUSED, Refused
from lutlab_verify.inside.formal.solver import Check, Model
from lutlab_verify.inside.formal.syntax import Places
from lutlab_verify.inside.places import project_path

ERRORS_MAX = 20
_TYPE = re.compile(r"`(lutlab_x\d+_q\d+_)type")
_PAST = re.compile(r"(lutlab_x\d+_q\d+_)\d+$")
_LABEL = re.compile(r"lutlab_([pv])(\d+)$")
TOKENS_DEEP = 20_000
"""Python frames for deeply nested sources."""


def parse(request: dict[str, Any]) -> tuple[SyntaxTree, SourceManager]:
    """All files as one compilation unit, as yosys, Verilator and Icarus take them. Raises: Refused."""
    options = PreprocessorOptions()
    options.predefines = [*request["defines"], "FORMAL=1"]
    options.additionalIncludePaths = [Path(folder) for folder in request["includes"]]
    manager = SourceManager()
    tree = SyntaxTree.fromFiles(request["files"], manager, Bag([options]))
    errors = [one for one in tree.diagnostics if one.isError()]
    if errors:
        raise _source_error(manager, errors[:ERRORS_MAX])
    return tree, manager


def _source_error(manager: SourceManager, errors: list[Diagnostic]) -> Refused:
    """slang's errors with the project's places; nothing that would quote a file outside of it."""
    engine = DiagnosticEngine(manager)
    said: list[str] = []
    first: tuple[str, int] | None = None
    for error in errors:
        location = manager.getFullyExpandedLoc(error.location)
        file = project_path(str(manager.getFullPath(location.buffer)))
        if file is None:
            said.append("a file outside of the project is included; includes are found in the project's files only")
            continue
        line = manager.getLineNumber(location)
        first = first or (file, line)
        said.append(f"{file}:{line}: {engine.formatMessage(error)}")
    return Refused("source", "\n".join(dict.fromkeys(said)), *(first or (None, None)))


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Do everything; returns what `design.json` holds. Raises: Refused."""
    out = Path(request["out"])
    tree, manager = parse(request)
    lowering = Lowering(Places(manager))
    lowering.run(tree.root)
    print_ = out / "design.sv"
    print_.write_text(lowering.model.text(), encoding="utf-8")
    places = [[place.file, place.line] if place else None for place in lowering.model.places]
    (out / "places.json").write_text(json.dumps(places), encoding="utf-8")
    yosys = elaborate.Yosys(out / elaborate.LOG)
    yosys.read(print_, request["top"])
    top = yosys.flatten(out / "netlist.json")
    replay = lowering.replay.text()
    (out / "replay.sv").write_text(_types(replay, top["netnames"]) + replay, encoding="utf-8")
    clock, edge = elaborate.clock_of(top)
    elaborate.check_memories(top, lowering.model.places)
    yosys.model(out / "model.smt2", out / "design.il")
    model = Model.read(out / "model.smt2")
    return {
        "properties": [property_.facts() for property_ in lowering.properties],
        "clock": clock,
        "edge": edge,
        "ports": {
            name: {"direction": port["direction"], "width": len(port["bits"])} for name, port in top["ports"].items()
        },
        "variables": elaborate.variables(top),
        "constants": elaborate.constants(top),
        "checks": {
            "assert": _checks(model.asserts, lowering.properties),
            "assume": _checks(model.assumes, lowering.properties),
            "cover": _checks(model.covers, lowering.properties),
        },
        "registers": sum(model.registers.values()),
        "inputs": sum(model.inputs.values()),
    }


def _types(replay: str, nets: dict[str, Any]) -> str:
    """Macros for the types of past values: the widest of all instances; unsigned values may be wider than they are."""
    widths: dict[str, tuple[int, bool]] = dict.fromkeys(_TYPE.findall(replay), (1, False))
    for name, net in nets.items():
        stem = _PAST.search(name)
        if stem is not None and stem[1] in widths:
            width = max(len(net["bits"]), widths[stem[1]][0])
            widths[stem[1]] = (width, bool(net.get("signed")))
    return "".join(
        f"`define {stem}type {'signed ' if signed else ''}[{width - 1}:0]\n" for stem, (width, signed) in widths.items()
    )


def _checks(checks: list[Check], properties: list[Property]) -> list[dict[str, Any]]:
    """For each check of the model: its number, its property's, the instance it is in, whether it is an antecedent."""
    printed = {f"{line}.{column}": property_.number for property_ in properties for line, column in [property_.printed]}
    found = []
    for check in checks:
        path, _, label = check.cell.rpartition(".")
        name = _LABEL.match(label)
        start = check.source.rpartition(":")[2].partition("-")[0]
        if name is None and start not in printed:
            raise Refused("unsupported", f"a check that is no property of the sources: {check.cell} {check.source}")
        number = int(name[2]) if name else printed[start]
        antecedent = name is not None and name[1] == "v"
        found.append({"number": check.number, "property": number, "path": path, "antecedent": antecedent})
    return found


def main(arguments: list[str]) -> int:
    """See the module. Returns: the exit status."""
    sys.setrecursionlimit(TOKENS_DEEP)
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    out = Path(request["out"])
    try:
        facts = prepare(request)
    except Refused as refused:
        refused.write(out / "error.json")
        return EXIT_REFUSED
    (out / "design.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
