"""Lint of VHDL with GHDL: analysis of all files in the order they need, elaboration of the top, and its warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lutlab_verify.config.model import Language
from lutlab_verify.lint.findings import ERROR, WARNING, Finding
from lutlab_verify.sources import is_vhdl, tool_path
from lutlab_verify.stage import StageContext, Unsupported
from lutlab_verify.tools import SOURCES, ToolCall, ToolLimits

LIMITS = ToolLimits(wall_s=60.0, output_bytes=1 << 20)
LINES_MAX = 20_000
_LINE = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+):(?P<severity>warning|error|note)?:? ?(?P<text>.*)$")
_RULE = re.compile(r" ?\[-W(?P<rule>[\w-]+)\]$")


async def lint_vhdl(context: StageContext) -> list[Finding]:
    """What GHDL says about a design.

    Raises:
        Unsupported: Verilog stands beside the VHDL.
    """
    project = context.project
    other = next((file for file in project.sources if not is_vhdl(file)), None)
    if other is not None:
        raise Unsupported(f"{other} is not VHDL: designs in both languages are not supported", file=other)
    standard = "--std=93" if project.config.project.language_version is Language.VHDL93 else "--std=08"
    files = [tool_path(file) for file in project.sources]
    lines: list[str] = []

    def keep(line: str) -> None:
        if len(lines) < LINES_MAX:
            lines.append(line)

    read = await context.tools.run(ToolCall("ghdl", ["ghdl", "-i", standard, *files], LIMITS), keep)
    if read.exit_code == 0:
        make = ["ghdl", "-m", standard, "--warn-unused", "--warn-binding", project.top]
        read = await context.tools.run(ToolCall("ghdl", make, LIMITS), keep)
    found = from_ghdl(lines)
    if read.exit_code and not any(finding.severity == ERROR for finding in found):
        said = next((line for line in reversed(lines) if line.strip()), f"ended with status {read.exit_code}")
        found.append(Finding(None, None, None, "ghdl", ERROR, said.rpartition("ghdl-mcode: ")[2], "ghdl"))
    return found


def from_ghdl(lines: Iterable[str]) -> list[Finding]:
    """Findings in GHDL's output about the project's files; lines it quotes are passed by."""
    found: dict[tuple[str, int, int], Finding] = {}
    for line in lines:
        said = _LINE.match(line)
        if said is None or not said["file"].startswith(f"{SOURCES}/") or said["severity"] == "note":
            continue
        if said["text"].startswith("("):  # goes on with the line before
            continue
        severity = WARNING if said["severity"] == "warning" else ERROR
        rule = _RULE.search(said["text"])
        text = _RULE.sub("", said["text"]).replace(f" {SOURCES}/", " ")
        file, number, column = said["file"].removeprefix(f"{SOURCES}/"), int(said["line"]), int(said["column"])
        name = rule["rule"] if rule else "ghdl"
        found.setdefault((file, number, column), Finding(file, number, column, name, severity, text, "ghdl"))
    return list(found.values())
