"""Two jobs of one project, as engines report them: a good one and one with a planted bug."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lutlab_verify.report import ArtifactRecord, JobRecord, StageRecord

SOURCE = """\
module fifo #(parameter WIDTH = 8, DEPTH = 16) (
    input  logic             clk, rst,
    input  logic             push, pop,
    input  logic [WIDTH-1:0] data_in,
    output logic [WIDTH-1:0] data_out,
    output logic             full, empty
);
    logic [WIDTH-1:0] store [DEPTH];
    logic [$clog2(DEPTH):0] count;

    assign full = count == DEPTH;
    assign empty = count == 0;

    always_ff @(posedge clk) begin
        if (rst) begin
            count <= 0;
        end else if (push && !full) begin
            count <= count + 1;  // <script>alert(1)</script>
        end else if (pop && !empty) begin
            count <= count - 1;
        end
    end
endmodule
"""


def line(kind: str, hits: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "hits": hits, **more}


FILES: dict[str, Any] = {
    "rtl/fifo.sv": {
        "8": line("toggle", 12, toggles={"hit": 12, "total": 16}),
        "11": line("line", 5210),
        "12": line("line", 5210),
        "15": line("branch", 6, branches={"hit": 2, "total": 2}),
        "16": line("line", 6),
        "17": line("branch", 830, branches={"hit": 1, "total": 2}),
        "18": line("line", 830),
        "19": line("branch", 45, branches={"hit": 2, "total": 2}),
        "20": line("line", 0),
    },
    "rtl/sync.sv": {str(number): line("line", number) for number in range(4, 30)},
}


def finding(number: int, rule: str, severity: str, message: str, waived: str | None = None) -> dict[str, Any]:
    return {
        "file": "rtl/fifo.sv", "line": number, "column": 9, "rule": rule, "severity": severity, "message": message,
        "tool": "verilator", "waived": waived,
    }  # fmt: skip


FINDINGS = [
    finding(18, "WIDTHEXPAND", "warning", "Operator ADD expects 32 bits, but 'count' generates 5 bits"),
    finding(8, "UNUSEDSIGNAL", "warning", "Bits of signal are not used: 'store'", "kept for the debugger"),
]


def test(name: str, status: str = "passed", message: str | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "seconds": 0.412, "seed": 42, "message": message, "trace": "trace.fst"}


TESTS = [test("test_fifo.fills_up"), test("test_fifo.keeps_order"), test("test_fifo.random_traffic")]


def prop(name: str, verdict: str, number: int, message: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": "assert", "file": "rtl/fifo.sv", "line": number, "verdict": verdict, "depth": 20,
        "message": message, "trace": None, **more,
    }  # fmt: skip


PROPERTIES = [
    prop("never_over", "proven", 11),
    prop("order", "proven", 12, vacuous="its antecedent never holds"),
    prop("bounded", "proven", 19),
]
CRYPTO: dict[str, Any] = {
    "constant_time": {"status": "passed", "violations": 0, "tier": "structural taint"},
    "side_channel": {"status": "skipped", "reason": "not asked for"},
}
SYNTHESIS: dict[str, Any] = {
    "utilisation": [
        {"name": "LUT4", "used": 812, "available": 24288},
        {"name": "flip-flops", "used": 143, "available": 24288},
        {"name": "DP16KD", "used": 3, "available": 56},
    ],
    "clocks": [{"name": "clk", "fmax_mhz": 148.3, "target_mhz": 100.0, "met": True}],
    "critical_path": {
        "delay_ns": 6.74,
        "steps": [
            {"at_ns": 0.52, "delay_ns": 0.52, "kind": "clock to output", "from": "count[1]", "to": "count[1]",
             "sources": ["rtl/fifo.sv:18"]},
            {"at_ns": 6.74, "delay_ns": 6.22, "kind": "routing", "from": "count[1]", "to": "full",
             "sources": ["rtl/fifo.sv:11"]},
        ],
    },
}  # fmt: skip


def good() -> JobRecord:
    coverage = {"line": 94.3, "toggle": 75.0, "branch": 83.3, "fsm": None, "files": FILES}
    stages = (
        StageRecord(
            "lint", "passed", {"warnings": 1, "errors": 0, "waived": 1}, {"findings": FINDINGS}, None, 0.61, 0.0,
            {"cpu_s": 0.55, "peak_rss_bytes": 88 << 20},
            (ArtifactRecord("lint.sarif", "application/sarif+json", 4311),),
        ),
        StageRecord(
            "simulation", "passed", {"tests_passed": 3, "tests_failed": 0, "tests_skipped": 0, "tool": "icarus"},
            {"tests": TESTS, "coverage": coverage}, None, 3.2, 0.7, {"cpu_s": 2.9, "peak_rss_bytes": 210 << 20},
            (ArtifactRecord("trace.fst", size_bytes=80211), ArtifactRecord("coverage.xml", size_bytes=9120)),
        ),
        StageRecord(
            "formal", "passed", {"properties_proven": 3, "properties_failed": 0, "properties_inconclusive": 0},
            {"properties": PROPERTIES}, None, 1.4, 3.95,
        ),
        StageRecord("crypto", "passed", CRYPTO, {}, None, 0.9, 5.4),
        StageRecord("synthesis", "passed", {"fmax_mhz": 148.3, "cells": 990}, SYNTHESIS, None, 9.1, 6.3),
    )  # fmt: skip
    return JobRecord(
        "job_good", "proj_1", "fifo-demo", "passed", stages, "2026-01-15T10:35:00Z", "2026-01-15T10:35:02Z",
        "2026-01-15T10:35:18Z", "fifo", "lfe5u-25f", 42, {"verilator": "5.048", "icarus": "11.0"},
        {"rtl/fifo.sv": SOURCE},
    )  # fmt: skip


def bad() -> JobRecord:
    """The good one with a new warning, a red test, a refuted property, a line that no longer runs, and an old warning
    that is gone."""
    job = good()
    files = {**FILES, "rtl/fifo.sv": {**FILES["rtl/fifo.sv"], "18": line("line", 0), "20": line("line", 9)}}
    findings = [finding(21, "LATCH", "warning", "Latch inferred for 'full'"), FINDINGS[1]]
    tests = [TESTS[0], test("test_fifo.keeps_order", "failed", "expected 3 | got <4>\x07"), test("test_fifo.new")]
    properties = [prop("never_over", "failed", 11, "refuted in step 4", trace="never_over.vcd"), PROPERTIES[1]]
    properties.append(prop("bounded", "inconclusive", 19, "holds for 20 steps; not proven"))
    changed = {
        "lint": ({"warnings": 1, "errors": 0, "waived": 1}, {"findings": findings}, "passed"),
        "simulation": (
            {"tests_passed": 2, "tests_failed": 1, "tests_skipped": 0},
            {"tests": tests, "coverage": {"line": 91.4, "toggle": 75.0, "branch": 83.3, "fsm": None, "files": files}},
            "failed",
        ),
        "formal": (
            {"properties_proven": 1, "properties_failed": 1, "properties_inconclusive": 1},
            {"properties": properties},
            "failed",
        ),
        "synthesis": ({"fmax_mhz": 151.0, "cells": 1002}, SYNTHESIS, "passed"),
    }
    stages = [
        replace(stage, summary=changed[stage.stage][0], details=changed[stage.stage][1], status=changed[stage.stage][2])
        if stage.stage in changed
        else stage
        for stage in job.stages
    ]
    return replace(job, job_id="job_bad", status="failed", stages=tuple(stages), submitted_at="2026-01-15T11:00:00Z")
