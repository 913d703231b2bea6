"""The lint stage on real tools: what is found, where, and how often it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from verify_projects import EXAMPLES, context, make_project, write_files

from lutlab_verify import catalogue, lint
from lutlab_verify.lint.vhdl import from_ghdl
from lutlab_verify.project import Project
from lutlab_verify.stage import StageResult, StageStatus, ToolFailed, Unsupported
from lutlab_verify.together import together
from lutlab_verify.tools import ToolCall, ToolOutcome

WARNED = """\
module warned (input wire clk, input wire [7:0] a, input wire s, output reg [3:0] q, output wire y, output reg l);
  wire loop_a, loop_b;
  reg multi;
  wire idle;
  assign loop_a = loop_b & s;
  assign loop_b = ~loop_a;
  assign y = loop_a ^ multi;
  always @(posedge clk) q <= a;
  always @(posedge clk) multi <= s;
  always @(posedge clk) multi <= ~s;
  always @* if (s) l = a[0];
endmodule
"""
FIXES = {
    "WIDTHTRUNC": ("q <= a;", "q <= a[3:0];"),
    "latch": ("if (s) l = a[0];", "l = s & a[0];"),
    "combinational-loop": ("assign loop_b = ~loop_a;", "assign loop_b = ~a[1];"),
    "multiple-drivers": ("multi <= ~s;", "l2 <= ~s;"),
}


def linted(tmp_path: Path, project: Project) -> StageResult:
    return asyncio.run(lint.run(context(project, tmp_path / "work")))


def lint_text(tmp_path: Path, text: str, top: str = "warned", **options: object) -> StageResult:
    write_files(tmp_path / "src", {f"rtl/{top}.sv": text})
    return linted(tmp_path, make_project(tmp_path / "src", top, sources=(f"rtl/{top}.sv",), **options))  # type: ignore[arg-type]


def places(result: StageResult) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for finding in result.details["findings"]:
        found.setdefault(finding["rule"], []).append((finding["tool"], finding["line"]))
    return found


def test_findings_of_three_tools_are_one_list(tmp_path: Path) -> None:
    result = lint_text(tmp_path, WARNED)
    assert result.status is StageStatus.PASSED
    assert places(result) == {
        "UNUSEDSIGNAL": [("verilator", 1), ("verilator", 4)],
        "WIDTHTRUNC": [("verilator", 8)],
        "combinational-loop": [("yosys", 6)],
        "latch": [("yosys", 11)],
        "multiple-drivers": [("yosys", 10)],
    }
    assert result.summary == {"warnings": 6, "errors": 0, "waived": 0, "structure": "checked"}
    drivers = next(one for one in result.details["findings"] if one["rule"] == "multiple-drivers")
    assert "'multi'" in drivers["message"]
    assert "warned.sv:9" in drivers["message"]


@pytest.mark.parametrize("rule", FIXES)
def test_a_fixed_warning_is_one_less(tmp_path: Path, rule: str) -> None:
    before = lint_text(tmp_path, WARNED)
    old, new = FIXES[rule]
    text = WARNED.replace(old, new)
    if "l2" in new:
        text = text.replace("  reg multi;", "  reg multi, l2;").replace("loop_a ^ multi", "loop_a ^ multi ^ l2")
    after = lint_text(tmp_path, text)
    assert rule in places(before)
    assert rule not in places(after)
    assert after.summary["warnings"] == before.summary["warnings"] - 1


def test_waived_findings_are_listed_and_do_not_count(tmp_path: Path) -> None:
    waivers = [
        {"rule": "WIDTH*", "file": "rtl/*.sv", "line": 8, "reason": "the upper half is checked elsewhere"},
        {"rule": "LATCH", "reason": "meant"},  # Verilator's name for what yosys found first
        {"rule": "WIDTHTRUNC", "file": "other/**", "reason": "gone"},
    ]
    result = lint_text(tmp_path, WARNED, lint={"waivers": waivers})
    waived = {one["rule"]: one["waived"] for one in result.details["findings"] if one["waived"]}
    assert waived == {"WIDTHTRUNC": "the upper half is checked elsewhere", "latch": "meant"}
    unused = [one for one in result.details["findings"] if one["rule"] == "unused-waiver"]
    assert len(unused) == 1
    assert "waiver 3 (WIDTHTRUNC in other/**)" in unused[0]["message"]
    assert (result.summary["warnings"], result.summary["waived"]) == (6 - 2 + 1, 2)
    runs = json.loads((tmp_path / "work" / "lint.sarif").read_text())["runs"]
    results = [one for run in runs for one in run["results"]]
    assert len(results) == 7
    suppressed = [one for one in results if "suppressions" in one]
    assert {one["ruleId"] for one in suppressed} == {"WIDTHTRUNC", "latch"}
    region = suppressed[0]["locations"][0]["physicalLocation"]
    assert region["artifactLocation"]["uri"] == "rtl/warned.sv"


@pytest.mark.parametrize("property_", ["strong(a ##1 b)", "case (a) 1: b; default: a; endcase"])
def test_what_verilator_cannot_read_is_no_error_of_the_design(tmp_path: Path, property_: str) -> None:
    """Properties that slang takes: Verilator calls one unsupported, the other a syntax error."""
    text = (
        "module seen (input wire clk, input wire a, input wire b);\n"
        f"  assert property (@(posedge clk) {property_});\nendmodule\n"
    )
    result = lint_text(tmp_path, text, "seen")
    assert result.status is StageStatus.PASSED, result.details["findings"]
    assert places(result)["UNSUPPORTED"] == [("verilator", 2)]


def test_warnings_fail_where_they_are_errors(tmp_path: Path) -> None:
    assert lint_text(tmp_path, WARNED, lint={"warnings_as_errors": True}).status is StageStatus.FAILED


def test_an_error_is_told_once_with_its_line(tmp_path: Path) -> None:
    text = "module plain (input wire clk, output reg q);\n  always @(posedge clk) q <= missing;\nendmodule\n"
    result = lint_text(tmp_path, text, top="plain")
    assert result.status is StageStatus.FAILED
    errors = [one for one in result.details["findings"] if one["severity"] == "error"]
    assert [(one["file"], one["line"], one["rule"], one["tool"]) for one in errors] == [
        ("rtl/plain.sv", 2, "UndeclaredIdentifier", "slang")
    ]
    assert "missing" in errors[0]["message"]
    assert result.summary["errors"] == 1
    assert result.summary["structure"].startswith("not checked")


def test_a_missing_top_module_is_an_error(tmp_path: Path) -> None:
    result = lint_text(tmp_path, "module plain; endmodule\n", top="absent")
    assert result.status is StageStatus.FAILED
    assert "'absent'" in result.details["findings"][0]["message"]


def test_nothing_of_a_file_outside_of_the_project_comes_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the_password_is hunter2 ;\n")
    text = f'`include "{secret}"\nmodule plain; endmodule\n'
    write_files(tmp_path / "src", {"rtl/plain.sv": text})
    project = make_project(tmp_path / "src", "plain", sources=("rtl/plain.sv",))
    stage = context(project, tmp_path / "work")
    result = asyncio.run(lint.run(stage))
    assert result.status is StageStatus.FAILED
    first = result.details["findings"][0]
    assert (first["rule"], first["line"]) == ("IncludeOutsideProject", 1)
    path = next(one for one in result.details["findings"] if one["rule"] == "INCABSPATH")
    assert (path["line"], path["column"]) == (1, 10)
    told = json.dumps([result.summary, result.details, stage.sink.lines])  # type: ignore[attr-defined]
    told += (tmp_path / "work" / "lint.sarif").read_text()
    assert "hunter2" not in told
    assert "the_password_is" not in told


def test_includes_and_defines_reach_every_tool(tmp_path: Path) -> None:
    files = {
        "rtl/the files/plain.sv": '`include "width.svh"\n'
        "module plain (input wire [`WIDTH-1:0] a, output wire [`WIDTH-1:0] y);\n  assign y = a ^ `MASK;\nendmodule\n",
        "include/width.svh": "`define WIDTH 4\n",
    }
    write_files(tmp_path / "src", files)
    project = make_project(
        tmp_path / "src",
        "plain",
        sources=("rtl/the files/plain.sv", "include/width.svh"),
        includes=("include",),
        project={"defines": {"MASK": "4'h5"}},
    )
    result = linted(tmp_path, project)
    assert result.summary == {"warnings": 0, "errors": 0, "waived": 0, "structure": "checked"}


def test_an_intended_latch_is_no_finding(tmp_path: Path) -> None:
    text = "module plain (input logic s, a, output logic l);\n  always_latch if (s) l = a;\nendmodule\n"
    assert lint_text(tmp_path, text, top="plain").summary["warnings"] == 0


def test_the_example_is_clean(tmp_path: Path) -> None:
    sources = ("rtl/uart.sv", "rtl/uart_rx.sv", "rtl/uart_tx.sv")
    result = linted(tmp_path, make_project(EXAMPLES / "uart", "uart", sources=sources))
    assert result.details["findings"] == []
    assert result.summary["structure"] == "checked"


GHDL_SAID = """\
src/rtl/u.vhd:8:3:warning: instance "i0" of component "nothere" is not bound [-Wbinding]
  i0 : nothere port map (x => a);
  ^
src/rtl/u.vhd:4:14:warning: (in default configuration of u(r))
src/rtl/u.vhd:7:8: string length does not match that of anonymous integer subtype defined at src/rtl/u.vhd:3:62
  y <= "000";
       ^
/usr/lib/ghdl/std.vhd:1:1: not ours
"""


def test_what_ghdl_says_becomes_findings() -> None:
    binding, length = from_ghdl(GHDL_SAID.splitlines())
    assert (binding.file, binding.line, binding.column, binding.rule) == ("rtl/u.vhd", 8, 3, "binding")
    assert (binding.severity, binding.message) == ("warning", 'instance "i0" of component "nothere" is not bound')
    assert (length.line, length.severity, length.tool) == (7, "error", "ghdl")
    assert length.message.endswith("defined at rtl/u.vhd:3:62")


@pytest.mark.skipif(catalogue.installed("ghdl"), reason="GHDL is installed")
def test_vhdl_is_refused_by_name(tmp_path: Path) -> None:
    project = make_project(tmp_path, "plain", sources=("rtl/design.vhd",))
    with pytest.raises(Unsupported, match=r"rtl/design\.vhd is VHDL: GHDL is"):
        linted(tmp_path, project)


class CrashingTools:
    """Tools that die as programs do."""

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        if call.tool == "verilator":
            return ToolOutcome(139, None, ("%Error: Internal Error: ../V3Ast.cpp:10: oops",), 0.1)
        await asyncio.sleep(30)
        raise AssertionError("not cancelled")


async def test_a_crash_of_a_tool_ends_the_stage_with_its_words(tmp_path: Path) -> None:
    project = make_project(tmp_path, "plain", sources=("design.sv",))
    with pytest.raises(ToolFailed, match=r"verilator ended with status 139: .*oops") as caught:
        await asyncio.wait_for(lint.run(context(project, tmp_path / "work", tools=CrashingTools())), 5)
    assert caught.value.tool == "verilator"


async def test_together_keeps_the_order_and_closes_what_never_started() -> None:
    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def fail() -> int:
        raise ValueError("first")

    assert await together(*(give(n) for n in range(5)), at_once=2) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="first"):
        await together(fail(), give(1), give(2), at_once=1)
