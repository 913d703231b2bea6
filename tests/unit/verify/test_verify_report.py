"""Reports: every format holds the same facts, nothing in a result escapes its place, templates stay in bounds."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from verify_report_sample import SOURCE, SYNTHESIS, bad, good, prop

from lutlab_verify.report import (
    BadRecord,
    ReportError,
    StageRecord,
    compare,
    from_json,
    render,
    to_json,
    totals,
    trend,
)
from lutlab_verify.report.filters import bytes_, change_words, seconds


def text(format_: str, **options: object) -> str:
    return render(bad(), format_, **options).body.decode()  # type: ignore[arg-type]


class Page(HTMLParser):
    """What a browser would load, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_stands_alone_and_escapes_what_results_say() -> None:
    page = Page(text("html", comparison=compare(good(), bad())))
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    for words in (
        "expected 3 | got <4>",
        "refuted in step 4",
        "<script>alert(1)</script>",
        "never_over",
        "WIDTHEXPAND",
    ):
        assert words in page.words
    assert "151.0MHz, highest clock" in page.words
    assert "line 18 no longer runs" in page.words


def test_the_heat_is_beside_the_source() -> None:
    page = text("html")
    rows = re.findall(r'<div class="(h\d|part|)"[^>]*><span class="no">(\d+)</span>', page)
    heat = {int(no): kind for kind, no in rows[: len(SOURCE.splitlines())]}
    assert heat[18] == "h0"  # never ran
    assert heat[17] == "part"  # one way of two
    assert heat[11] == "h4"  # 5210 times
    assert heat[1] == ""  # not counted


def test_stages_can_be_left_out() -> None:
    only = json.loads(text("json", include=["formal"]))
    assert [stage["stage"] for stage in only["stages"]] == ["formal"]
    page = Page(text("html", include=["formal"])).words
    assert "never_over" in page
    assert "test_fifo" not in page


def test_json_is_the_whole_record_and_comes_back() -> None:
    record = json.loads(text("json"))
    assert record.pop("totals") == totals(bad())
    assert from_json(record) == from_json(json.loads(json.dumps(to_json(bad()))))
    assert from_json(to_json(bad())) == bad()
    for wrong in ({}, {"schema": "x"}, {**to_json(bad()), "more": 1}, {**to_json(bad()), "stages": [{"a": 1}]}, None):
        with pytest.raises(BadRecord):
            from_json(wrong)


def test_sarif_shows_findings_failures_and_what_is_waived() -> None:
    runs = json.loads(text("sarif"))["runs"]
    results = {run["tool"]["driver"]["name"]: run["results"] for run in runs}
    assert [one["ruleId"] for one in results["verilator"]] == ["LATCH", "UNUSEDSIGNAL"]
    assert results["verilator"][1]["suppressions"][0]["justification"] == "kept for the debugger"
    assert [(one["ruleId"], one["level"]) for one in results["formal"]] == [
        ("property-failed", "error"),
        ("property-inconclusive", "warning"),
    ]
    region = results["formal"][0]["locations"][0]["physicalLocation"]
    assert (region["artifactLocation"]["uri"], region["region"]["startLine"]) == ("rtl/fifo.sv", 11)
    assert [one["ruleId"] for one in results["simulation"]] == ["test-failed"]
    assert json.loads(render(replace(good(), stages=()), "sarif").body)["runs"][0]["results"] == []


def test_junit_counts_what_it_lists_and_never_passes_a_bounded_proof() -> None:
    root = ET.fromstring(text("junit"))
    suites = {suite.get("name"): suite for suite in root}
    for suite in suites.values():
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
    assert suites["simulation"].get("failures") == "1"
    failed = {case.get("name") for case in suites["formal"] if case.find("failure") is not None}
    assert failed == {"never_over", "bounded"}
    assert suites["crypto"].get("skipped") == "1"
    assert suites["synthesis"].get("tests") == "1"
    assert root.get("failures") == "3"


def test_a_stage_without_a_verdict_is_an_error_in_junit() -> None:
    job = replace(good(), stages=(StageRecord("formal", "error", reason="the solver crashed"),))
    error = ET.fromstring(render(job, "junit").body).find("testsuite/testcase/error")
    assert error is not None
    assert error.get("message") == "the solver crashed"


def test_what_fails_no_stage_fails_no_case() -> None:
    """Covers out of reach are warnings: a stage with them passes, and so does its suite."""
    covers = [prop(verdict, verdict, 3) for verdict in ("covered", "not_covered", "unreachable", "absent")]
    job = replace(good(), stages=(StageRecord("formal", "passed", {}, {"properties": covers}),))
    root = ET.fromstring(render(job, "junit").body)
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "0", "3")


def test_sarif_is_not_empty_where_a_stage_did_not_pass() -> None:
    leak = {"kind": "SECRET_BRANCH", "file": "rtl/fifo.sv", "line": 14, "message": "full differs in step 3"}
    area = {"status": "failed", "reason": "full differs", "violations": 1}
    stages = (
        StageRecord("lint", "error", reason="slang was stopped: too much time"),
        StageRecord("simulation", "failed", {}, {}, "no tests in tests/helper.py"),
        StageRecord("crypto", "failed", {"constant_time": area}, {"constant_time": {"violations": [leak]}}, "leaks"),
        StageRecord("synthesis", "failed", {"fmax_mhz": 40.0}, SYNTHESIS, "clk misses 50 MHz"),
    )
    runs = json.loads(render(replace(good(), stages=stages), "sarif").body)["runs"]
    found = {run["tool"]["driver"]["name"]: run["results"][0] for run in runs}
    assert {name: one["message"]["text"] for name, one in found.items()} == {
        "crypto": "full differs in step 3",
        "lint": "the lint stage reached no verdict: slang was stopped: too much time",
        "simulation": "the simulation stage failed: no tests in tests/helper.py",
        "synthesis": "the synthesis stage failed: clk misses 50 MHz",
    }
    assert found["crypto"]["locations"][0]["physicalLocation"]["region"]["startLine"] == 14


def test_markdown_tables_survive_what_results_say() -> None:
    page = text("markdown")
    assert r"expected 3 \| got \<4\>" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(re.sub(r"\\\|", "", row).endswith("|") for row in rows)
    assert text("markdown", template="summary").startswith("✗ **fifo-demo** failed: lint passed, simulation failed")


@pytest.mark.parametrize(
    ("format_", "options", "field", "suggestion"),
    [
        ("htm", {}, "format", "html"),
        ("pdf", {}, "format", None),
        ("html", {"include": ["simlation"]}, "include", "simulation"),
        ("html", {"template": "../../secret"}, "template", "default"),
        ("junit", {"template": "mine.j2"}, "template", None),
    ],
)
def test_a_report_that_cannot_be_made_says_why(
    format_: str, options: dict[str, object], field: str, suggestion: str | None
) -> None:
    with pytest.raises(ReportError) as caught:
        text(format_, **options)
    assert (caught.value.field, caught.value.suggestion) == (field, suggestion)


def test_an_uploaded_template_has_the_same_values() -> None:
    template = b"{{ job.project }} {{ totals.tests_failed }} {% for one in tests %}{{ one.message or '' }}{% endfor %}"
    assert text("html", template="mine.j2", files={"mine.j2": template}) == "fifo-demo 1 expected 3 | got &lt;4&gt;\x07"
    assert "got <4>" in text("markdown", template="mine.j2", files={"mine.j2": template})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (b"{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        (b"{{ cycler.__init__.__globals__ }}{% include '/etc/passwd' %}", "SecurityError"),
        (b"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "took more than"),
        (b"{{ 'x' * 10 ** 10 }}", "memory"),
        (b"{% for a in range(9999) %}{{ 'x' * 10000 }}{% endfor %}", "bytes of output"),
        (b"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deeply"),
        (b"{% if %}", "line 1"),
        (b"{{ job.projekt }}", "projekt"),
        (b"\xff", "UTF-8"),
        (b"x" * 300_000, "at most"),
    ],
)
def test_a_template_is_kept_in_bounds(monkeypatch: pytest.MonkeyPatch, template: bytes, said: str) -> None:
    if said == "took more than":  # the others end by themselves, however slow the machine
        monkeypatch.setattr("lutlab_verify.report.templates.WALL_S_MAX", 2.0)
    with pytest.raises(ReportError, match=said) as caught:
        text("html", template="mine.j2", files={"mine.j2": template})
    assert caught.value.field == "template"


def test_comparison_names_what_changed_and_which_way() -> None:
    found = compare(good(), bad())
    worse = {(change.area, change.what) for change in found.worse}
    better = {(change.area, change.what) for change in found.better}
    assert worse == {
        ("stages", "simulation"),
        ("stages", "formal"),
        ("findings", "rtl/fifo.sv:21 LATCH"),
        ("tests", "test_fifo.keeps_order"),
        ("properties", "never_over"),
        ("properties", "bounded"),
        ("coverage", "line"),
        ("coverage", "rtl/fifo.sv"),
        ("synthesis", "cells"),
    }
    assert better == {
        ("findings", "rtl/fifo.sv:18 WIDTHEXPAND"),
        ("coverage", "rtl/fifo.sv"),
        ("synthesis", "fmax_mhz"),
    }
    assert {change.what for change in found.other} == {"test_fifo.random_traffic", "test_fifo.new"}


def test_comparison_turned_round_is_the_opposite() -> None:
    there, back = compare(good(), bad()), compare(bad(), good())
    assert {(c.area, c.what) for c in there.worse} - {("stages", "x")} == {(c.area, c.what) for c in back.better}
    same = compare(bad(), bad())
    assert not same.better
    assert not same.worse
    assert not same.other


def test_lines_are_compared_where_they_have_moved_to() -> None:
    before, after = good(), bad()
    moved = replace(after, sources={"rtl/fifo.sv": "// a new first line\n" + SOURCE})
    simulation = moved.stages[1]
    files = simulation.coverage["files"]
    shifted = {str(int(no) + 1): value for no, value in files["rtl/fifo.sv"].items()}
    details = {**simulation.details, "coverage": {**simulation.coverage, "files": {**files, "rtl/fifo.sv": shifted}}}
    stages = (moved.stages[0], replace(simulation, details=details), *moved.stages[2:])
    lost = [c for c in compare(before, replace(moved, stages=stages)).worse if c.what == "rtl/fifo.sv"]
    assert [change.before for change in lost] == [[19]]


def test_a_stage_that_one_job_had_not_is_not_compared() -> None:
    without = replace(bad(), stages=tuple(stage for stage in bad().stages if stage.stage != "simulation"))
    found = compare(good(), without)
    assert not any(change.area in ("tests", "coverage") for change in (*found.better, *found.worse, *found.other))


def test_a_trend_has_gaps_and_not_zeros() -> None:
    without = replace(bad(), stages=bad().stages[:1])
    points = trend([without, good()])
    assert [point["job_id"] for point in points] == ["job_good", "job_bad"]  # by time
    assert points[0]["tests_passed"] == 3
    assert points[1]["tests_passed"] is None
    assert points[1]["coverage"] == {}


def test_values_as_people_write_them() -> None:
    assert (seconds(2.1), seconds(95), seconds(None)) == ("2.10 s", "1 min 35 s", "–")
    assert (bytes_(10), bytes_(88 << 20)) == ("10 B", "88.0 MiB")
    assert change_words({"before": [], "after": [1, 2]}) == "lines 1, 2 run now"


def test_columns_that_nobody_measured_are_left_out() -> None:
    measured = render(good(), "html", None, None).body.decode()
    assert "Peak memory" in measured and "88.0 MiB" in measured
    stages = tuple(replace(stage, resources={}) for stage in good().stages)
    assert "Peak memory" not in render(replace(good(), stages=stages), "html", None, None).body.decode()
