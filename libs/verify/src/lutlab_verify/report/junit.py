"""A report as JUnit XML, which every CI server reads: a suite a stage, a case a test, property, finding or area."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

from lutlab_verify.report.record import JobRecord, Json, StageRecord

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write (section 2.2)."""


def junit(job: JobRecord) -> bytes:
    """All stages. What is inconclusive counts as failed: a proof to a bound is no pass."""
    root = ET.Element("testsuites", name=_clean(job.project))
    for stage in job.stages:
        _suite(root, stage)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(stage.seconds for stage in job.stages):.3f}")
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(root: ET.Element, stage: StageRecord) -> None:
    suite = ET.SubElement(root, "testsuite", name=stage.stage, time=f"{stage.seconds:.3f}")
    _CASES.get(stage.stage, _none)(suite, stage)
    if stage.status in ("error", "skipped") or not len(suite):
        _case(suite, stage.stage, stage.status, stage.reason or "", seconds=stage.seconds)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))


def _findings(suite: ET.Element, stage: StageRecord) -> None:
    """A case for each finding that counts: errors fail, and warnings where they fail the stage."""
    strict = stage.status == "failed" and not any(f.get("severity") == "error" for f in stage.listed("findings"))
    for finding in stage.listed("findings"):
        if finding.get("waived"):
            continue
        name = f"{finding.get('rule')} {finding.get('file') or ''}:{finding.get('line') or ''}"
        fails = strict or finding.get("severity") == "error"
        _case(suite, name, "failed" if fails else "passed", str(finding.get("message")), place=finding)


def _tests(suite: ET.Element, stage: StageRecord) -> None:
    for test in stage.listed("tests"):
        message = str(test.get("message") or "")
        seconds = float(test.get("seconds") or 0.0)
        case = _case(suite, str(test.get("name")), str(test.get("status")), message, place=test, seconds=seconds)
        if test.get("seed") is not None:
            properties = ET.Element("properties")
            case.insert(0, properties)
            ET.SubElement(properties, "property", name="seed", value=str(test["seed"]))


PROPERTIES = {
    "proven": "passed", "covered": "passed", "assumed": "passed", "absent": "skipped", "not_covered": "skipped",
    "unreachable": "skipped",
}  # fmt: skip
"""By verdict; any other fails. What fails no stage, such as a cover out of reach, fails no case."""


def _properties(suite: ET.Element, stage: StageRecord) -> None:
    for one in stage.listed("properties"):
        verdict = str(one.get("verdict"))
        message = f"{verdict}: {one.get('message') or 'no message'} (depth {one.get('depth')})"
        _case(suite, str(one.get("name")), PROPERTIES.get(verdict, "failed"), message, place=one, kind=verdict)


def _areas(suite: ET.Element, stage: StageRecord) -> None:
    for name, area in stage.summary.items():
        if isinstance(area, dict) and "status" in area:
            _case(suite, name, str(area["status"]), str(area.get("reason") or ""))


def _none(suite: ET.Element, stage: StageRecord) -> None:
    """A stage without parts is one case."""


_CASES: dict[str, Callable[[ET.Element, StageRecord], None]] = {
    "lint": _findings,
    "simulation": _tests,
    "formal": _properties,
    "crypto": _areas,
}
TAGS = {"passed": None, "skipped": "skipped", "error": "error", "cancelled": "skipped", "queued": "skipped"}


def _case(
    suite: ET.Element,
    name: str,
    status: str,
    message: str,
    *,
    place: Json | None = None,
    seconds: float = 0.0,
    kind: str = "",
) -> ET.Element:
    case = ET.SubElement(
        suite, "testcase", classname=f"lutlab.{suite.get('name')}", name=_clean(name), time=f"{seconds:.3f}"
    )
    for attribute in ("file", "line"):
        if place and place.get(attribute):
            case.set(attribute, _clean(str(place[attribute])))
    tag = TAGS.get(status, "failure")
    if tag is not None:
        outcome = ET.SubElement(case, tag, message=_clean(message))
        if tag != "skipped":
            outcome.set("type", kind or status)
    return case


def _clean(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
