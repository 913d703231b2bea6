"""Runs the three linters at once and puts what they say together."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lutlab_verify.catalogue import installed, tool_version
from lutlab_verify.config import FILE_NAMES
from lutlab_verify.config.model import Language
from lutlab_verify.lint.findings import ERROR, WARNING, Finding, merge, waive
from lutlab_verify.lint.sarif import sarif
from lutlab_verify.lint.vhdl import lint_vhdl
from lutlab_verify.project import Project
from lutlab_verify.sources import defines, design_files, include_folders, is_vhdl, refuse_vhdl
from lutlab_verify.stage import Artifact, Level, StageContext, StageResult, StageStatus, ToolFailed
from lutlab_verify.together import together
from lutlab_verify.tools import SOURCES, ToolCall, ToolLimits, ToolOutcome

RESULT = """
summary: `warnings` and `errors`, waived findings not counted; `waived`; `structure`: `checked`, or why it was not.
details: `findings`: file, line, column, rule, severity, message, tool, waived (the reason, or null), at most
FINDINGS_MAX of them; `rules`: how often each rule counted; `tools`: versions.
artifacts: `lint.sarif`.
"""

FINDINGS_MAX = 1000
LOGGED_MAX = 50
REPORT_BYTES_MAX = 32 << 20
LIMITS = ToolLimits(wall_s=60.0, output_bytes=1 << 20)

_SLANG_STANDARD = {Language.V2005: "1364-2005", Language.SV2012: "1800-2017", Language.SV2017: "1800-2017"}
_VERILATOR_STANDARD = {Language.V2005: "1364-2005", Language.SV2012: "1800-2012", Language.SV2017: "1800-2017"}


_PLACE = re.compile(r"%(?:Warning|Error)[^:\n]*: (?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+):")


async def run(context: StageContext) -> StageResult:
    """Lint a design.

    Raises:
        Unsupported: it is written in VHDL, and GHDL is not installed.
        ToolFailed: a linter did not do its work.
    """
    started = time.monotonic()
    project = context.project
    if installed("ghdl") and any(is_vhdl(file) for file in project.sources):
        structure, findings = "not checked: the design is VHDL", await lint_vhdl(context)
    else:
        refuse_vhdl(project, "lint")
        structure, findings = await _lint_verilog(context)
    findings = waive(findings, project.config.verification.lint.waivers, _config_file(project))
    return _result(context, findings, structure, time.monotonic() - started)


async def _lint_verilog(context: StageContext) -> tuple[str, list[Finding]]:
    """(whether the structure was checked, findings)."""
    slang, verilator, (structure, structural) = await together(_slang(context), _verilator(context), _yosys(context))
    if structure != "checked" and any(finding.severity == ERROR for finding in slang):
        structure = "not checked: the design has errors"
    return structure, merge(slang, verilator, structural)


def _config_file(project: Project) -> str:
    return next((name for name in FILE_NAMES if (project.root / name).is_file()), FILE_NAMES[0])


def _result(context: StageContext, findings: Sequence[Finding], structure: str, seconds: float) -> StageResult:
    counted = [finding for finding in findings if finding.waived is None]
    errors = sum(finding.severity == ERROR for finding in counted)
    warnings = len(counted) - errors
    names = ("slang", "verilator", "yosys") if "VHDL" not in structure else ("ghdl",)
    versions = {name: version for name in names if (version := tool_version(name))}
    path = context.work / "lint.sarif"
    path.write_text(json.dumps(sarif(findings, versions), indent=1), encoding="utf-8")
    for finding in counted[:LOGGED_MAX]:
        level = Level.ERROR if finding.severity == ERROR else Level.WARNING
        context.sink.log(f"{finding.file or 'design'}:{finding.line or ''}: {finding.rule}: {finding.message}", level)
    if len(counted) > LOGGED_MAX:
        context.sink.log(f"... and {len(counted) - LOGGED_MAX} more")
    strict = context.project.config.verification.lint.warnings_as_errors
    failed = errors > 0 or (strict and warnings > 0)
    waived = len(findings) - len(counted)
    return StageResult(
        status=StageStatus.FAILED if failed else StageStatus.PASSED,
        summary={"warnings": warnings, "errors": errors, "waived": waived, "structure": structure},
        details={
            "findings": [finding.to_json() for finding in findings[:FINDINGS_MAX]],
            "rules": dict(Counter(finding.rule for finding in counted)),
            "tools": versions,
        },
        artifacts=(Artifact("lint.sarif", path, "application/sarif+json"),),
        seconds=seconds,
    )


# -- slang


def _slang_options(project: Project) -> list[str]:
    options = ["--std", _SLANG_STANDARD[project.config.project.language_version], "--top", project.top]
    options += [f"-I{folder}" for folder in include_folders(project)]
    options += [f"-D{define}" for define in defines(project)]
    return [*options, *design_files(project)]


async def _slang(context: StageContext) -> list[Finding]:
    output = "lint_slang.json"
    argv = ["python", "-m", "lutlab_verify.inside.slang_errors", output, *_slang_options(context.project)]
    outcome = await context.tools.run(ToolCall("slang", argv, LIMITS))
    if outcome.exit_code or outcome.stopped:
        raise failed("slang", outcome)
    report = _read_json(context.work / output, "slang", outcome)
    return [_finding(entry, ERROR, "slang") for entry in report["findings"]]


def _finding(entry: dict[str, Any], severity: str, tool: str) -> Finding:
    return Finding(
        entry["file"], entry["line"], entry["column"], entry["rule"], severity, entry["message"], tool,
        signals=tuple(entry.get("signals", ())),
    )  # fmt: skip


# -- yosys


async def _yosys(context: StageContext) -> tuple[str, list[Finding]]:
    """(`checked` or why it was not, findings)."""
    output = "lint_structure.json"
    argv = ["python", "-m", "lutlab_verify.inside.structure", output, *_slang_options(context.project)]
    outcome = await context.tools.run(ToolCall("yosys", argv, LIMITS))
    if outcome.stopped or outcome.exit_code >= 128:
        raise failed("yosys", outcome)
    if outcome.exit_code:
        # A construct that only simulators take, or an error that slang has told.
        said = next((line for line in reversed(outcome.tail) if "ERROR" in line or "error" in line), "")
        return f"not checked: yosys cannot read this design: {said.strip()}"[:300], []
    report = _read_json(context.work / output, "yosys", outcome)
    return "checked", [_finding(entry, WARNING, "yosys") for entry in report["findings"]]


# -- Verilator


async def _verilator(context: StageContext) -> list[Finding]:
    project = context.project
    output = "lint_verilator.sarif"
    argv = [
        "verilator",
        "--lint-only",
        "-Wall",
        "--timing",
        "--diagnostics-sarif",
        "--diagnostics-sarif-output",
        output,
    ]
    argv += ["--default-language", _VERILATOR_STANDARD[project.config.project.language_version]]
    argv += ["--top-module", project.top, *(f"-I{folder}" for folder in include_folders(project))]
    argv += [*(f"-D{define}" for define in defines(project)), *design_files(project)]
    outcome = await context.tools.run(ToolCall("verilator", argv, LIMITS))
    if outcome.stopped or outcome.exit_code >= 128:
        raise failed("verilator", outcome)
    report = _read_json(context.work / output, "verilator", outcome)
    found = []
    for result in report["runs"][0]["results"]:
        finding = _from_sarif(result, project.root)
        if finding is not None and not finding.message.startswith("Exiting due to"):
            found.append(finding)
    return found


def _from_sarif(result: dict[str, Any], root: Path) -> Finding | None:
    """A finding in the project's files, or about the design as a whole; None for those in other files."""
    severity = ERROR if result["level"] == "error" else WARNING
    rule = result.get("ruleId", "ERROR")
    message = result["message"]["text"].split("\n", 1)[0]
    locations = result.get("locations")
    physical = locations[0]["physicalLocation"] if locations else None
    if physical is None or not physical["region"]["startLine"]:
        return Finding(None, None, None, rule, severity, message, "verilator")
    file = _project_file(unquote(physical["artifactLocation"]["uri"].removeprefix("file://")), root)
    if file is None:
        return None
    region = physical["region"]
    # The region of findings of the preprocessor is where the file ends; the text names the place in any case.
    told = _PLACE.search(result["message"].get("markdown", ""))
    if told and told["file"].endswith(file):
        region = {"startLine": int(told["line"]), "startColumn": int(told["column"])}
    return Finding(file, region["startLine"], region["startColumn"], rule, severity, message, "verilator")


def _project_file(path: str, root: Path) -> str | None:
    """The project's file behind an absolute path of a tool, wherever its working folder stood; None for other files."""
    real = str(root.resolve())
    if path.startswith(f"{real}/"):  # a tool without a sandbox, which followed the link
        return path.removeprefix(f"{real}/")
    parts = path.split(f"/{SOURCES}/")
    tails = [f"/{SOURCES}/".join(parts[index:]) for index in range(1, len(parts))]
    return next((tail for tail in tails if ".." not in tail and (root / tail).is_file()), None)


# -- common


def failed(tool: str, outcome: ToolOutcome) -> ToolFailed:
    """The error of a tool that did not do its work."""
    how = f"was stopped: too much {outcome.stopped}" if outcome.stopped else f"ended with status {outcome.exit_code}"
    tail = tuple(outcome.tail[-20:])
    last = next((line for line in reversed(tail) if line.strip()), "")
    return ToolFailed(f"{tool} {how}" + (f": {last.strip()}" if last else ""), tool=tool, tail=tail)


def _read_json(path: Path, tool: str, outcome: ToolOutcome) -> Any:
    try:
        if path.stat().st_size > REPORT_BYTES_MAX:
            raise ToolFailed(f"{tool} wrote a report of more than {REPORT_BYTES_MAX} bytes", tool=tool)
        # Verilator 5.48 forgets a comma when it has nothing to report.
        return json.loads(re.sub(r'}(\s*)"invocations":', r'},\1"invocations":', path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise failed(tool, outcome) from error
