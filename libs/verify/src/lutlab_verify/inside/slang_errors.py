"""Parse and elaborate SystemVerilog with slang and write its errors as JSON.

usage: python -m lutlab_verify.inside.slang_errors OUTPUT [slang options and files]

Files that a source includes from outside of `src` are one error at the `include`, and what slang says inside of them
is left out: it would quote them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyslang import Diagnostic, SourceLocation, SourceManager
from pyslang.driver import Driver

from lutlab_verify.inside.places import project_path

FINDINGS_MAX = 2000


def outside_buffers(manager: SourceManager) -> dict[object, SourceLocation]:
    """Buffers of files outside of the project, each with the place that includes it."""
    found: dict[object, SourceLocation] = {}
    for buffer in manager.getAllBuffers():
        path = str(manager.getFullPath(buffer))
        if Path(path).is_file() and project_path(path) is None:
            found[buffer] = manager.getIncludedFrom(buffer)
    return found


def place(manager: SourceManager, location: SourceLocation) -> dict[str, object]:
    """File, line and column of a location; macros resolve to where they are used."""
    expanded = manager.getFullyExpandedLoc(location)
    line = manager.getLineNumber(expanded)
    if not line:
        return {"file": None, "line": None, "column": None}
    return {
        "file": project_path(str(manager.getFullPath(expanded.buffer))),
        "line": line,
        "column": manager.getColumnNumber(expanded),
    }


def main(output: str, arguments: list[str]) -> int:
    """Write the errors; 0 if slang could do its work, whatever it found."""
    driver = Driver()
    driver.addStandardArgs()
    quoted = " ".join('"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"' for argument in arguments)
    if not (driver.parseCommandLine(f"slang {quoted}") and driver.processOptions()):
        return 2
    driver.parseAllSources()
    compilation = driver.createCompilation()
    diagnostics: list[Diagnostic] = [one for one in compilation.getAllDiagnostics() if one.isError()]
    manager = compilation.sourceManager
    assert manager is not None
    outside = outside_buffers(manager)
    findings: list[dict[str, object]] = []
    for include in outside.values():
        text = "a file outside of the project is included; includes are found in the project's files only"
        findings.append({**place(manager, include), "rule": "IncludeOutsideProject", "message": text})
    for diagnostic in diagnostics:
        if manager.getFullyExpandedLoc(diagnostic.location).buffer in outside:
            continue
        rule = str(diagnostic.code).removeprefix("DiagCode(").removesuffix(")")
        message = driver.diagEngine.formatMessage(diagnostic)
        findings.append({**place(manager, diagnostic.location), "rule": rule, "message": message})
    report = {"findings": findings[:FINDINGS_MAX], "total": len(findings)}
    Path(output).write_text(json.dumps(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
