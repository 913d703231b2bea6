"""The simulation stage on Verilator: coverage, its merging over tests, cached builds, and how test benches end.

Builds take seconds each, so there are two in this file: one for cocotb, one for a test bench with many endings.
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from verify_projects import context, make_project, write_files

from lutlab_verify import catalogue, simulation
from lutlab_verify.simulation import coverage
from lutlab_verify.simulation.builds import simulator_key
from lutlab_verify.simulation.coverage import Coverage
from lutlab_verify.simulation.plan import UnitKind
from lutlab_verify.stage import StageResult, StageStatus

pytestmark = pytest.mark.skipif(not catalogue.installed("g++"), reason="g++ is missing, which Verilator needs")

ALU = """\
module alu (
  input  logic       clk,
  input  logic       subtract,
  input  logic [3:0] a,
  input  logic [3:0] b,
  output logic [3:0] y
);
  typedef enum logic [1:0] {IDLE, ADDED, SUBTRACTED, NEVER} state_t;
  state_t state = IDLE;
  always_ff @(posedge clk) begin
    if (subtract) begin
      y <= a - b;
      state <= SUBTRACTED;
    end else begin
      y <= a + b;
      state <= ADDED;
    end
  end
endmodule
"""
LINES = {"subtract": 12, "add": 15}
TEST = """\
import random
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

@cocotb.test()
async def computes(dut):
    dut.clk.value = 0
    await Timer(10, unit="ns")  # so that the first state is seen
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.subtract.value = {subtract}
    for _ in range(20):
        a, b = random.randrange(16), random.randrange(16)
        dut.a.value, dut.b.value = a, b
        await FallingEdge(dut.clk)
        await FallingEdge(dut.clk)
        assert int(dut.y.value) == (a {sign} b) % 16
"""
BENCH = """\
module ends;
  reg clk = 0;
  wire [3:0] y;
  reg stop = 0;
  reg [255:0] how;
  alu dut(clk, 1'b0, 4'd1, 4'd2, y);
  initial while (!stop) #5 clk = !clk;
  initial begin
    if (!$value$plusargs("how=%s", how)) how = "finish";
    #20;
    case (how)
      "fatal": $fatal(1, "y is %0d", y);
      "error": $error("y is %0d", y);
      "starve": stop = 1;
      "late": wait (0);
      default: $finish;
    endcase
  end
endmodule
"""
FILES = {
    "rtl/alu.sv": ALU,
    "tests/test_add.py": TEST.format(subtract=0, sign="+"),
    "tests/test_subtract.py": TEST.format(subtract=1, sign="-"),
    "tests/ends.sv": BENCH,
}
ALL_KINDS = {"line": True, "toggle": True, "branch": True, "fsm": True}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alu")
    write_files(folder / "src", FILES)
    return folder


def simulated(root: Path, *benches: str, **section: Any) -> StageResult:
    section = {"coverage": ALL_KINDS, **section}
    project = make_project(root / "src", "alu", sources=("rtl/alu.sv",), benches=benches, simulation=section)
    return asyncio.run(simulation.run(context(project, root / "work", cache=root / "cache")))


@pytest.fixture(scope="module")
def both(root: Path) -> StageResult:
    return simulated(root, "tests/test_add.py", "tests/test_subtract.py")


def test_coverage_is_merged_over_tests_and_recomputable(both: StageResult, root: Path) -> None:
    assert both.status is StageStatus.PASSED, both.details["tests"]
    percent = both.summary["coverage"]
    assert percent["line"] == percent["branch"] == 100.0
    assert percent["fsm"] == 75.0
    file = both.details["coverage"]["files"]["rtl/alu.sv"]
    for number in LINES.values():
        assert file[str(number)]["kind"] == "line"
        assert file[str(number)]["hits"] > 0
    assert file["11"]["branches"] == {"hit": 2, "total": 2}
    artifacts = {one.name: one.path for one in both.artifacts}
    again = Coverage()
    for name in ("coverage-test_add.dat", "coverage-test_subtract.dat"):
        again.add_verilator(artifacts[name].read_text(), {"src/rtl/alu.sv": "rtl/alu.sv"})
    for kind in ("line", "toggle", "branch"):
        assert again.percentages([kind]) == {kind: percent[kind]}
    xml = ElementTree.parse(artifacts["coverage.xml"])
    hits = {int(line.get("number", 0)): int(line.get("hits", 0)) for line in xml.iter("line")}
    assert hits == again.line_hits()["rtl/alu.sv"]
    assert xml.getroot().get("line-rate") == "1.0000"


def test_a_missing_stimulus_lowers_coverage_at_its_lines_and_the_build_is_kept(both: StageResult, root: Path) -> None:
    assert not any(one["cached"] for one in both.details["builds"].values())
    less = simulated(root, "tests/test_add.py")
    assert all(one["cached"] for one in less.details["builds"].values())
    assert less.status is StageStatus.PASSED
    before, after = (one.details["coverage"]["files"]["rtl/alu.sv"] for one in (both, less))
    lost = [int(line) for line in before if before[line].get("hits", 0) and not after[line].get("hits", 0)]
    assert lost == [3, 12, 13], "the input that is never set, and what it selects"
    assert less.summary["coverage"]["line"] < both.summary["coverage"]["line"]
    assert less.summary["coverage"]["branch"] < both.summary["coverage"]["branch"]
    assert less.summary["coverage"]["fsm"] == 50.0
    states = less.details["coverage"]["registers"][0]["states"]
    assert states["ADDED"] > 0
    assert states["SUBTRACTED"] == states["NEVER"] == 0


def test_waveforms_may_be_left_out(both: StageResult, root: Path) -> None:
    """FSM coverage records them all the same, but they are not kept."""
    for states in (True, False):
        for old in (root / "work" / "run").rglob("trace.*"):
            old.unlink()
        result = simulated(root, "tests/test_add.py", coverage=ALL_KINDS | {"fsm": states}, waves=False)
        assert result.status is StageStatus.PASSED
        assert ("fsm" in result.summary["coverage"]) is states
        assert not [one.name for one in result.artifacts if "trace" in one.name]
        assert {test["trace"] for test in result.details["tests"]} == {None}
        assert bool(list((root / "work" / "run").rglob("trace.*"))) is states
        assert result.details["builds"]["test_add"]["cached"]


def test_every_change_of_the_hardware_makes_another_key(root: Path) -> None:
    def key(**more: Any) -> str:
        project = make_project(root / "src", "alu", sources=("rtl/alu.sv",), **more)
        return simulator_key(context(project, root / "work"), ["verilator"], UnitKind.COCOTB)

    first = key()
    (root / "src" / "tests" / "test_add.py").touch()
    write_files(root / "src", {"README.md": "words"})
    assert key() == first
    write_files(root / "src", {"include/late.vh": "`define LATE 1\n"})
    assert key() != first
    (root / "src" / "include" / "late.vh").unlink()
    assert key() == first


def test_how_test_benches_end(root: Path) -> None:
    def end(how: str) -> dict[str, Any]:
        seconds = 1 if how == "late" else 60
        options = {"plusargs": {"how": how}, "timeout_seconds": seconds, "coverage": {"line": True, "toggle": False}}
        result = simulated(root, "tests/ends.sv", **options)
        (test,) = result.details["tests"]
        assert "trace.fst" in {one.name for one in result.artifacts}, how
        assert result.summary["coverage"]["line"] == 75.0
        return test

    assert end("finish")["status"] == "passed"
    number = next(number for number, line in enumerate(BENCH.splitlines(), 1) if "$fatal" in line)
    for how, offset in (("fatal", 0), ("error", 1)):
        test = end(how)
        assert test["message"].endswith("y is 3")
        assert test["line"] == number + offset
    assert end("starve")["message"] == "no $finish: nothing was left to happen"
    assert "not finished after 1 s" in end("late")["message"]
    for old in (root / "work" / "run").rglob("trace.*"):
        old.unlink()
    untraced = simulated(root, "tests/ends.sv", waves=False, coverage={"line": True, "toggle": False})
    assert untraced.status is StageStatus.PASSED
    assert not list((root / "work" / "run").rglob("trace.*"))


def test_an_endless_coverage_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "SPANNED_MAX", 100)
    line = "C '\x01f\x02a.v\x01l\x02{n}\x01page\x02v_line/a\x01o\x02block\x01S\x021-60' 1"
    record = Coverage()
    record.add_verilator(line.format(n=1), {"a.v": "a.v"})
    with pytest.raises(coverage.CoverageTooLarge):
        record.add_verilator(line.format(n=2), {"a.v": "a.v"})
