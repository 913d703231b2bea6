"""The synthesis stage on a real FIFO: a board's figures, the longest path in source names, and an honest estimate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lutlab_profiles import load as profiles
from lutlab_verify.config import load
from lutlab_verify.plain_tools import PlainTools
from lutlab_verify.stage import Level, StageContext, StageResult, StageStatus, ToolFailed, Unsupported
from lutlab_verify.synthesis import run
from lutlab_verify.synthesis.clocks import Clock, as_lpf, clocks_of
from lutlab_verify.synthesis.engine import Wanted, _placed
from lutlab_verify.synthesis.paths import Names, clean_clock, longest

FIFO = """\
module fifo #(parameter WIDTH = 8, DEPTH = 16) (
    input  logic             clk, rst,
    input  logic             push, pop,
    input  logic [WIDTH-1:0] data_in,
    output logic [WIDTH-1:0] data_out,
    output logic             full, empty
);
    logic [WIDTH-1:0] store [DEPTH];
    logic [$clog2(DEPTH):0] count;
    logic [$clog2(DEPTH)-1:0] head, tail;
    assign full = count == DEPTH;
    assign empty = count == 0;
    always_ff @(posedge clk) begin
        if (push && !full) store[head] <= data_in;
        data_out <= store[tail] * 8'd7;
        if (rst) begin
            count <= 0; head <= 0; tail <= 0;
        end else begin
            if (push && !full) head <= head + 1;
            if (pop && !empty) tail <= tail + 1;
            count <= count + (push && !full) - (pop && !empty);
        end
    end
endmodule
"""


class Silent:
    def log(self, message: str, level: Level = Level.INFO) -> None: ...

    def progress(self, done: int, total: int, unit: str) -> None: ...


async def synthesize(tmp_path: Path, source: str = FIFO, overrides: dict[str, Any] | None = None) -> StageResult:
    root = tmp_path / "project"
    root.mkdir()
    (root / "fifo.sv").write_text(source)
    config = {"project": {"name": "f", "top_module": "fifo", "target_pdk": "lfe5u-25f"}, "design": {"sources": "*.sv"}}
    (root / "lutlab.yaml").write_text(json.dumps(config))
    work = tmp_path / "work"
    return await run(StageContext(load(root, overrides), work, PlainTools(work, root), Silent(), seed=1))


async def test_a_board_s_figures_and_the_longest_path_in_source_names(tmp_path: Path) -> None:
    found = await synthesize(tmp_path, overrides={"analysis.timing.clock_period": "1 ns"})
    assert found.status is StageStatus.FAILED  # no ECP5 reaches a gigahertz
    assert found.reason is not None
    assert found.reason.startswith("clock clk reaches ")
    assert 5 + 4 + 4 + 8 <= found.summary["flip_flops"] <= 5 + 4 + 4 + 8 + 4  # yosys may copy the address
    assert 20 < found.summary["luts"] < 200
    assert 50 < found.summary["fmax_mhz"] < 400
    assert [one["target_mhz"] for one in found.details["clocks"]] == [1000.0]
    path = found.details["critical_path"]
    assert path["delay_ns"] == pytest.approx(1000 / found.summary["fmax_mhz"], rel=0.05)
    assert path["steps"][0]["kind"] == "clock to output"
    signals = {"count", "head", "tail", "store", "data_out", "full", "empty"}
    for step in path["steps"]:
        assert step["to"].split("[")[0].split(".")[0] in signals
    lines = {place for step in path["steps"] for place in step["sources"]}
    assert lines
    assert all(place.startswith("fifo.sv:") for place in lines)
    assert {artifact.name for artifact in found.artifacts} == {"netlist.json", "timing.json"}


async def test_elsewhere_it_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    found = await synthesize(tmp_path, overrides={"project.target_pdk": "sky130"})
    assert found.status is StageStatus.PASSED
    assert found.summary["estimate"] is True
    assert found.details["note"].startswith("An estimate: ")
    stored = 16 * 8 + 5 + 4 + 4 + 8  # memories are flip-flops here
    assert stored <= found.summary["flip_flops"] <= stored + 4
    assert found.summary["area_um2"] == pytest.approx(found.summary["gate_equivalents"] * 3.7536, rel=0.01)
    assert sum(one["count"] for one in found.details["cells"]) == found.summary["cells"]


async def test_a_design_that_yosys_cannot_read_is_told_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="undeclared identifier 'fll'") as caught:
        await synthesize(tmp_path, FIFO.replace("!full", "!fll", 1), {"project.target_pdk": "generic"})
    assert caught.value.tool == "yosys"


def test_clocks_of_sdc_files() -> None:
    text = "# a comment\ncreate_clock -name c \\\n  -period 8 [get_ports {clk}] # fast\n"
    text += "set_units -time 1.0ns -capacitance pF; create_clock -period 40 [get_ports slow]\n"
    assert clocks_of({"a.sdc": text}) == [Clock("clk", 8.0), Clock("slow", 40.0)]
    assert as_lpf([Clock("clk", 8.0)]) == 'FREQUENCY PORT "clk" 125.000000 MHZ;\n'


@pytest.mark.parametrize(
    "command",
    [
        "set_false_path -from [get_ports a]",
        "create_clock [get_ports a]",
        "create_clock -period 5",
        "create_clock -period x",
        "create_clock -period 5 [get_ports a]; set_false_path -from [get_ports a]",
        "set_units -time ps",
    ],
)
def test_constraints_that_cannot_be_kept_are_refused_with_their_line(command: str) -> None:
    with pytest.raises(Unsupported) as caught:
        clocks_of({"a.sdc": f"\n\n{command}\n"})
    assert (caught.value.file, caught.value.line) == ("a.sdc", 3)


def test_clocks_are_graded_by_what_was_asked_for_and_others_are_not() -> None:
    """Whatever nextpnr aimed at; a clock that is not there can be promised nothing."""
    nets = {name: {"bits": [], "attributes": {}} for name in "abc"}
    netlist: dict[str, Any] = {"modules": {"t": {"cells": {}, "netnames": nets}}}
    report = {"utilization": {}, "fmax": {one: {"achieved": 60.0, "constraint": 25.0} for one in "ab"}}
    report["fmax"]["c"] = {"achieved": 10.0, "constraint": 25.0}
    profile = next(iter(profiles().values()))

    def graded(wanted: Wanted) -> StageResult:
        return _placed(report, Names(netlist, "t"), profile, wanted, [])

    assert graded(None).status is StageStatus.PASSED
    assert graded([Clock("a", 20.0)]).status is StageStatus.PASSED  # 50 MHz; nobody asked for the others
    assert graded([Clock("a", 20.0), Clock("b", 10.0)]).reason == "clock b reaches 60 MHz of 100"
    assert graded(40.0).reason == "clock c reaches 10 MHz of 25"
    assert graded([Clock("clock", 20.0)]).reason == "the constraints' clock 'clock' is no port or net of the design"


def test_a_path_without_registers_of_one_clock_is_none() -> None:
    names = Names({"modules": {"t": {"cells": {}, "netnames": {}}}}, "t")
    assert longest({"critical_paths": [{"from": "<async>", "to": "<async>", "path": []}]}, names) is None
    assert clean_clock("posedge $glbnet$clk$TRELLIS_IO_IN") == "clk"
