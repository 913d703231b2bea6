"""Read a design with yosys (its slang front end) and write what is wrong with its structure as JSON.

usage: python -m lutlab_verify.inside.structure OUTPUT [read_slang options and files]

Found are nets with several drivers, latches, and combinational loops, each with the lines of the source it stands on.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from lutlab_verify.inside.places import project_path

FINDINGS_MAX = 2000
CHECK_LOG = "lint_check.log"
_DRIVERS = re.compile(r"Warning: multiple conflicting drivers for (\S+?)\.(.+):$")
_LOOP = re.compile(r"Warning: found logic loop in module (\S+):$")
_CELL = re.compile(r"\s+(?:port \S+ of )?(cell|module input|wire) (\S+)")
_SOURCE = re.compile(r"^(?P<file>.+?):(?P<line>\d+)(?:\.(?P<column>\d+))?")
_LATCHES = {"$dlatch", "$adlatch", "$dlatchsr", "$sr"}


def source(text: str) -> dict[str, object] | None:
    """The first place in a `src` attribute."""
    found = _SOURCE.match(text.split("|", 1)[0])
    if found is None:
        return None
    return {"file": project_path(found["file"]), "line": int(found["line"]), "column": int(found["column"] or 1)}


def intended(text: str) -> bool:
    """Whether a `src` attribute points at an `always_latch`."""
    found = _SOURCE.match(text)
    if found is None:
        return False
    lines = Path(found["file"]).read_text(encoding="utf-8", errors="replace").splitlines()
    return "always_latch" in "".join(lines[int(found["line"]) - 1 : int(found["line"])])


def plain(name: str) -> str:
    """A name as in the source."""
    return name.removeprefix("\\")


class Design:
    """Cells and wires of a yosys design by their names, with their places."""

    def __init__(self, modules: dict[Any, Any]) -> None:
        self.cells: dict[tuple[str, str], Any] = {}
        self.wires: dict[tuple[str, str], Any] = {}
        for module_name, module in modules.items():
            for name, cell in module.cells_.items():
                self.cells[module_name.str(), name.str()] = cell
            for name, wire in module.wires_.items():
                self.wires[module_name.str(), name.str()] = wire

    def latches(self) -> list[dict[str, object]]:
        """One finding for each latch."""
        found = []
        for (module, _name), cell in self.cells.items():
            if cell.type.str() in _LATCHES and not intended(cell.get_src_attribute()):
                signal = self._output_name(cell)
                message = f"a latch keeps '{signal}' in module {plain(module)}: some paths assign it no value"
                found.append({**self._place(cell), "rule": "latch", "message": message, "signals": [signal]})
        return found

    def place_of(self, module: str, kind: str, name: str) -> dict[str, object] | None:
        """Where a cell or wire stands in the source."""
        table = self.wires if kind == "wire" else self.cells
        item = table.get((module, name)) or table.get(("\\" + module, name))
        return source(item.get_src_attribute()) if item is not None else None

    def _place(self, cell: Any) -> dict[str, object]:
        return source(cell.get_src_attribute()) or {"file": None, "line": None, "column": None}

    def _output_name(self, cell: Any) -> str:
        for port, signal in cell.connections_.items():
            if port.str() == "\\Q" and signal.is_wire():
                return plain(signal.as_wire().name.str())
        return "a signal"


def from_check(lines: list[str], design: Design) -> list[dict[str, object]]:
    """Findings in the log of yosys' `check`."""
    found: list[dict[str, object]] = []
    for index, line in enumerate(lines):
        drivers = _DRIVERS.match(line)
        what = drivers or _LOOP.match(line)
        if what is None:
            continue
        module = what[1]
        places, wires = _block(lines[index + 1 :], module, design)
        first = places[0] if places else {"file": None, "line": None, "column": None}
        at = sorted({f"{Path(str(place['file'])).name}:{place['line']}" for place in places})
        if drivers:
            signal = plain(drivers[2].split(" ")[0])
            message = f"'{signal}' in module {plain(module)} has several drivers: {', '.join(at)}"
            rule, signals = "multiple-drivers", [signal]
        else:
            signals = list(dict.fromkeys(wires))
            names = ", ".join(f"'{name}'" for name in signals) or "signals"
            message = f"a combinational loop in module {plain(module)} goes through {names} ({', '.join(at)})"
            rule = "combinational-loop"
        found.append({**first, "rule": rule, "message": message, "signals": signals})
    return found


def _block(lines: list[str], module: str, design: Design) -> tuple[list[dict[str, object]], list[str]]:
    """Places and wire names of the indented lines under a warning."""
    places: list[dict[str, object]] = []
    wires: list[str] = []
    for line in lines:
        item = _CELL.match(line)
        if item is None:
            if line.startswith("      "):
                continue
            break
        if item[1] == "wire":
            wires.append(plain(item[2]))
        place = design.place_of(module, item[1], item[2])
        if place:
            places.append(place)
    return places, wires


def main(output: str, arguments: list[str]) -> int:
    """Write the findings; yosys' own exit if it cannot read the design."""
    import pyosys.libyosys as ys  # noqa: PLC0415 - loading it takes longest

    design = ys.Design()

    # As lists, not as lines of a script: file names and defines may hold anything.
    ys.Pass.call(design, ["read_slang", "--threads", "1", "--keep-hierarchy", *arguments])
    ys.Pass.call(design, ["proc"])
    ys.Pass.call(design, ["tee", "-q", "-o", CHECK_LOG, "check", "-initdrv"])
    table = Design(design.modules_)
    log = Path(CHECK_LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    findings = table.latches() + from_check(log, table)
    report = {"findings": findings[:FINDINGS_MAX], "total": len(findings)}
    Path(output).write_text(json.dumps(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
