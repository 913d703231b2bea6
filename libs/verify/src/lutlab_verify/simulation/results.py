"""Results of tests: read from what cocotb wrote, judged from how a test bench ended, written as JUnit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MESSAGE_CHARS_MAX = 4000
TESTS_MAX = 10_000


@dataclass(frozen=True)
class TestResult:
    """How one test ended.

    Attributes:
        name: `module.test`, or the test bench's top module.
        status: passed, failed or skipped.
        seconds: how long it ran.
        seed: give it as `verification.simulation.seed` and the test sees the same random numbers.
        message: why it failed or was skipped.
        file, line: where the test stands.
        trace: the artifact with its waveform.
    """

    __test__ = False

    name: str
    status: str
    seconds: float
    seed: int
    message: str | None = None
    file: str | None = None
    line: int | None = None
    trace: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in a result's details."""
        return asdict(self)


def from_cocotb(xml: bytes, seed: int, file: str) -> list[TestResult]:
    """Tests in cocotb's result file; paths in messages become relative to the project.

    Raises:
        ValueError: it is no such file.
    """
    text = xml.decode()  # cocotb writes UTF-8; another encoding (two bytes a letter) would hide what is looked for next
    if "\0" in text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("results with a document type, or in another encoding than UTF-8")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - checked for entities above
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    found = []
    for case in list(root.iter("testcase"))[:TESTS_MAX]:
        failure = case.find("failure")
        failure = case.find("error") if failure is None else failure
        skipped = case.find("skipped")
        status = FAILED if failure is not None else SKIPPED if skipped is not None else PASSED
        reason = failure if failure is not None else skipped
        found.append(
            TestResult(
                name=f"{case.get('classname', '')}.{case.get('name', '')}",
                status=status,
                seconds=_number(case.get("time")),
                seed=seed,
                message=_message(reason, _root(case, file)) if reason is not None else None,
                file=file,
                line=_line(case),
            )
        )
    return found


_FRAME = re.compile(r'(?m)^ *File "(?P<file>[^"\n]+)", line (?P<line>\d+), in .*\n *(?P<code>.*)$')


def _root(case: ElementTree.Element, file: str) -> str:
    """Where the project's files stood for the test, `/` at the end: its own file's path without the file."""
    path = _property(case, "file") or ""
    return path.removesuffix(file) if path.endswith(f"/{file}") else ""


def _message(element: ElementTree.Element, root: str) -> str:
    """What failed, then where in the project's files, then the whole traceback."""
    text = (element.get("message") or "").strip() or element.get("type") or ""
    detail = (element.text or "").strip()
    detail = detail.replace(root, "") if root else detail
    own = [frame for frame in _FRAME.finditer(detail) if not frame["file"].startswith("/")]
    where = f"{own[-1]['file']}:{own[-1]['line']}: {own[-1]['code'].strip()}" if own else ""
    return "\n".join(part for part in (text, where, detail) if part)[:MESSAGE_CHARS_MAX]


def _line(case: ElementTree.Element) -> int | None:
    value = _property(case, "line") or ""
    return int(value) if value.isdigit() else None


def _property(case: ElementTree.Element, name: str) -> str | None:
    return next((entry.get("value") for entry in case.iter("property") if entry.get("name") == name), None)


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def junit(tests: Sequence[TestResult]) -> str:
    """Tests as JUnit XML, one suite for each file."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    failed = sum(test.status == FAILED for test in tests)
    skipped = sum(test.status == SKIPPED for test in tests)
    lines.append(f'<testsuites name="simulation" tests="{len(tests)}" failures="{failed}" skipped="{skipped}">')
    for file in dict.fromkeys(test.file for test in tests):
        own = [test for test in tests if test.file == file]
        failures = sum(test.status == FAILED for test in own)
        name = quoteattr(file or "simulation")
        lines.append(f'  <testsuite name={name} tests="{len(own)}" failures="{failures}" errors="0">')
        lines += [line for test in own for line in _case(test)]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _case(test: TestResult) -> list[str]:
    group, _, name = test.name.rpartition(".")
    opening = (
        f'    <testcase classname={_attribute(group or test.name)} name={_attribute(name)} time="{test.seconds:.3f}"'
    )
    if test.file:
        opening += f" file={_attribute(test.file)}"
    if test.line:
        opening += f' line="{test.line}"'
    inner = [f'      <properties><property name="seed" value="{test.seed}"/></properties>']
    if test.status == FAILED:
        inner.append(f"      <failure message={_attribute(test.message or 'failed')}/>")
    elif test.status == SKIPPED:
        inner.append(f"      <skipped message={_attribute(test.message or 'skipped')}/>")
    return [f"{opening}>", *inner, "    </testcase>"]


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text))
