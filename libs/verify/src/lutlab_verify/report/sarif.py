"""A report as SARIF 2.1.0, which code hosts show beside lines: findings, failed tests, properties and areas."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lutlab_verify.report.record import JobRecord, Json
from lutlab_verify.report.view import tools_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "PROJECT"
RESULTS_MAX = 25_000
"""Results of one run that GitHub takes."""
LEVELS = {"error": "error", "warning": "warning"}


def sarif(job: JobRecord) -> bytes:
    """One run for each tool that found something; waived findings are suppressed results."""
    runs: dict[str, list[Json]] = {}
    for tool, result in [*_findings(job), *_tests(job), *_properties(job), *_areas(job)]:
        runs.setdefault(tool, []).append(result)
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [_run(tool, results[:RESULTS_MAX], job) for tool, results in runs.items()] or [_run("lutlab", [], job)],
    }
    return json.dumps(log, indent=1).encode()


def _run(tool: str, results: list[Json], job: JobRecord) -> Json:
    driver: Json = {"name": tool, "rules": [{"id": rule} for rule in sorted({one["ruleId"] for one in results})]}
    if version := tools_of(job).get(tool):
        driver["version"] = version
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{job.project}/{job.job_id}"},
        "originalUriBaseIds": {ROOT: {"description": {"text": "the project's folder"}}},
        "results": results,
    }


def _findings(job: JobRecord) -> Iterable[tuple[str, Json]]:
    for finding in job.listed("findings"):
        level = LEVELS.get(str(finding.get("severity")), "note")
        result = _result(finding.get("rule"), level, finding.get("message"), finding)
        if finding.get("waived"):
            result["suppressions"] = [{"kind": "external", "justification": str(finding["waived"])}]
        yield str(finding.get("tool") or "lint"), result


def _tests(job: JobRecord) -> Iterable[tuple[str, Json]]:
    for test in job.listed("tests"):
        if test.get("status") in ("failed", "error"):
            message = f"test {test.get('name')} failed: {test.get('message') or 'no message'}"
            yield "simulation", _result("test-failed", "error", message, test)


PROPERTY_LEVELS = {"failed": "error", "inconclusive": "warning", "not_covered": "warning", "unreachable": "warning"}


def _properties(job: JobRecord) -> Iterable[tuple[str, Json]]:
    for one in job.listed("properties"):
        verdict = str(one.get("verdict"))
        if verdict in PROPERTY_LEVELS:
            said = f": {one['message']}" if one.get("message") else ""
            message = f"property {one.get('name')} is {verdict}{said}"
            yield "formal", _result(f"property-{verdict}", PROPERTY_LEVELS[verdict], message, one)


def _areas(job: JobRecord) -> Iterable[tuple[str, Json]]:
    crypto = job.stage("crypto")
    for name, area in (crypto.summary if crypto else {}).items():
        if isinstance(area, dict) and area.get("status") in ("failed", "error"):
            message = str(area.get("reason") or f"{name} {area['status']}")
            yield "crypto", _result(f"crypto-{name}", "error", message, area)


def _result(rule: Any, level: str, message: Any, place: Json) -> Json:
    result: Json = {"ruleId": str(rule), "level": level, "message": {"text": str(message)}}
    if place.get("file"):
        location: Json = {"artifactLocation": {"uri": str(place["file"]), "uriBaseId": ROOT}}
        if place.get("line"):
            location["region"] = {"startLine": int(place["line"]), "startColumn": int(place.get("column") or 1)}
        result["locations"] = [{"physicalLocation": location}]
    return result
