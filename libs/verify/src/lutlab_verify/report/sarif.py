"""A report as SARIF 2.1.0, which code hosts show beside lines: findings, failed tests, properties and areas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lutlab_verify.report.record import JobRecord, Json, StageRecord
from lutlab_verify.report.view import tools_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "PROJECT"
RESULTS_MAX = 25_000
"""Results of one run that GitHub takes."""
LEVELS = {"error": "error", "warning": "warning"}


def sarif(job: JobRecord) -> bytes:
    """One run for each tool that found something; waived findings are suppressed results.

    A stage that failed or reached no verdict has at least one result: an empty log would look like a clean one.
    """
    parts = {
        "lint": list(_findings(job)),
        "simulation": list(_tests(job)),
        "formal": list(_properties(job)),
        "crypto": list(_areas(job)),
    }
    runs: dict[str, list[Json]] = {}
    for tool, result in [*(one for found in parts.values() for one in found), *_stages(job, parts)]:
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
            for place in _violations(crypto, name) or [{}]:
                message = str(place.get("message") or area.get("reason") or f"{name} {area['status']}")
                yield "crypto", _result(f"crypto-{name}", "error", message, place)


def _violations(crypto: StageRecord | None, name: str) -> list[Json]:
    """What an area found, with its places; empty if it names none."""
    details = crypto.details.get(name) if crypto else None
    listed = details.get("violations") if isinstance(details, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _stages(job: JobRecord, parts: Mapping[str, Sequence[object]]) -> Iterable[tuple[str, Json]]:
    for stage in job.stages:
        if stage.status == "error" or (stage.status == "failed" and not parts.get(stage.stage)):
            how = "failed" if stage.status == "failed" else "reached no verdict"
            message = f"the {stage.stage} stage {how}: {stage.reason or 'no reason given'}"
            yield stage.stage, _result(f"stage-{stage.status}", "error", message, {})


def _result(rule: Any, level: str, message: Any, place: Json) -> Json:
    result: Json = {"ruleId": str(rule), "level": level, "message": {"text": str(message)}}
    if place.get("file"):
        location: Json = {"artifactLocation": {"uri": str(place["file"]), "uriBaseId": ROOT}}
        if place.get("line"):
            location["region"] = {"startLine": int(place["line"]), "startColumn": int(place.get("column") or 1)}
        result["locations"] = [{"physicalLocation": location}]
    return result
