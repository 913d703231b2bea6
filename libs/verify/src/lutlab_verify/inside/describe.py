"""What a project's Verilog declares: modules that nobody instantiates, and registers that hold an enum.

usage: python -m lutlab_verify.inside.describe OUTPUT TOP [slang options and files]

Places in the hierarchy are told below every module that nobody instantiates, and below TOP, the design's own top.

Errors in the sources are left to the lint stage and to the simulator; what can be read is described.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyslang
from pyslang import ast
from pyslang.driver import Driver

from lutlab_verify.inside.places import project_path

REGISTERS_MAX = 500
INSTANCES_MAX = 20_000


class Registers:
    """Enum registers of a design: per module and variable, and all places in the hierarchy where they are."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}

    def file_and_line(self, manager: pyslang.SourceManager, location: Any) -> tuple[str | None, int]:
        """Of a location."""
        place = manager.getFullyExpandedLoc(location)
        return project_path(str(manager.getFullPath(place.buffer))), manager.getLineNumber(place)

    def add(self, symbol: Any, manager: pyslang.SourceManager) -> None:
        """A register at its place in the hierarchy."""
        module = symbol.declaringDefinition
        if module is None or len(self.found) >= REGISTERS_MAX:
            return
        entry = self.found.get((module.name, symbol.name))
        if entry is None:
            file, line = self.file_and_line(manager, symbol.location)
            states = self._states(symbol.type.canonicalType, manager)
            entry = {"module": module.name, "register": symbol.name, "file": file, "line": line, "states": states}
            entry["paths"] = []
            self.found[module.name, symbol.name] = entry
        if symbol.hierarchicalPath not in entry["paths"] and len(entry["paths"]) < INSTANCES_MAX:
            entry["paths"].append(symbol.hierarchicalPath)

    def _states(self, kind: Any, manager: pyslang.SourceManager) -> list[dict[str, Any]]:
        states = []
        for member in kind:
            file, line = self.file_and_line(manager, member.location)
            states.append({"name": member.name, "value": int(member.value.value), "file": file, "line": line})
        return states


def describe_tops(compilation: Any, registers: Registers) -> list[dict[str, Any]]:
    """Tops with their files; their registers are added to `registers`."""
    tops = []
    for top in compilation.getRoot().topInstances:
        file, line = registers.file_and_line(compilation.sourceManager, top.definition.location)
        tops.append({"name": top.name, "file": file, "line": line})
        top.visit(lambda node: _look(node, registers, compilation.sourceManager))
    return tops


def _look(node: Any, registers: Registers, manager: pyslang.SourceManager) -> Any:
    """Registers are what clocked processes assign without blocking."""
    if isinstance(node, ast.AssignmentExpression) and node.isNonBlocking:
        target = node.left
        if isinstance(target, ast.NamedValueExpression):
            kind = target.symbol.type.canonicalType
            if kind.kind == ast.SymbolKind.EnumType:
                registers.add(target.symbol, manager)
    return ast.VisitAction.Advance


def compiled(arguments: list[str]) -> Any:
    """A compilation, None if slang does not take the options."""
    driver = Driver()
    driver.addStandardArgs()
    quoted = " ".join('"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"' for argument in arguments)
    if not (driver.parseCommandLine(f"slang {quoted}") and driver.processOptions()):
        return None
    driver.parseAllSources()
    compilation = driver.createCompilation()
    compilation.getAllDiagnostics()
    return driver, compilation


def main(output: str, top: str, arguments: list[str]) -> int:
    """Write the description."""
    registers = Registers()
    tops: list[dict[str, Any]] = []
    for options in ([], ["--top", top]):
        made = compiled([*options, *arguments])
        if made is None:
            return 2
        found = describe_tops(made[1], registers)
        tops = tops or found
    report = {"tops": tops, "registers": list(registers.found.values())}
    Path(output).write_text(json.dumps(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
