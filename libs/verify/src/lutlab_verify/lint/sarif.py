"""Findings as SARIF 2.1.0, the format code hosts show beside lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lutlab_verify.lint.findings import Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Sequence[Finding], versions: dict[str, str]) -> dict[str, Any]:
    """A SARIF log with one run for each tool that found something; waived findings are suppressed results.

    Args:
        versions: of the tools.
    """
    tools = list(dict.fromkeys([*versions, *(finding.tool for finding in findings)]))
    runs = [_run(tool, [f for f in findings if f.tool == tool], versions.get(tool)) for tool in tools]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": runs}


def _run(tool: str, findings: Sequence[Finding], version: str | None) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in findings})
    driver: dict[str, Any] = {"name": tool, "rules": [{"id": rule} for rule in rules]}
    if version:
        driver["version"] = version
    return {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"PROJECT": {"description": {"text": "the project's root"}}},
        "results": [_result(finding, rules.index(finding.rule)) for finding in findings],
    }


def _result(finding: Finding, rule_index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.severity,
        "message": {"text": finding.message},
    }
    if finding.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": finding.file, "uriBaseId": "PROJECT"}}
        if finding.line:
            location["region"] = {"startLine": finding.line, "startColumn": finding.column or 1}
        result["locations"] = [{"physicalLocation": location}]
    if finding.waived is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.waived}]
    return result
