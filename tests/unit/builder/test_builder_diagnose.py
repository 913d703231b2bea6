"""What the tools' words mean."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from lutlab_builder.app import stages
from lutlab_builder.app.ports import Outcome
from lutlab_builder.app.run_build import Measured, make_report
from lutlab_builder.domain import cells, diagnose
from lutlab_builder.domain.elaboration import Elaboration, parse_elaboration
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.report import PnrReport, Usage, parse_pnr, parse_stat


def test_yosys_errors_keep_file_and_line() -> None:
    failure = diagnose.yosys_failure(
        ["noise", "./rtl/a.v:12: ERROR: Identifier `\\x' is undeclared!"], Code.VERILOG_ERROR
    )
    assert failure.code is Code.VERILOG_ERROR
    assert failure.message == "rtl/a.v:12: Identifier `\\x' is undeclared!"


def test_a_yosys_syntax_error_has_its_own_code() -> None:
    failure = diagnose.yosys_failure(["design.v:2: ERROR: syntax error, unexpected ';'"], Code.VERILOG_ERROR)
    assert (failure.code, failure.message) == (Code.SYNTAX_ERROR, "design.v:2: syntax error, unexpected ';'")


def test_a_yosys_error_without_a_place() -> None:
    failure = diagnose.yosys_failure(["ERROR: Module `\\u' is not part of the design."], Code.SYNTHESIS_FAILED)
    assert failure.message == "Module `\\u' is not part of the design."


def test_a_tool_that_says_nothing_known() -> None:
    assert "without a word" in diagnose.yosys_failure([], Code.SYNTHESIS_FAILED).message
    assert diagnose.pack_failure(["", "a", "b", "c", "d"]).message == "b / c / d"


def test_what_does_not_fit_is_named() -> None:
    lines = [
        "Info: \t         TRELLIS_FF:  388/24288     1%",
        "Info: \t         MULT18X18D:   40/   28   142%",
        "Info: \t             DP16KD:  100/   56   178%",
        "ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'MULT18X18D'",
    ]
    failure = diagnose.nextpnr_failure(lines)
    assert failure.code is Code.DOES_NOT_FIT
    assert "40 multipliers (DSP), the device has 28" in failure.message
    assert "100 block RAMs, the device has 56" in failure.message
    assert "flip-flops" not in failure.message


def test_no_place_left_is_a_design_that_does_not_fit() -> None:
    failure = diagnose.nextpnr_failure(
        ["ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'PLL'"]
    )
    assert failure.code is Code.DOES_NOT_FIT


def test_other_nextpnr_errors() -> None:
    failure = diagnose.nextpnr_failure(["Info: x", "ERROR: IO 'spy' is unconstrained in LPF"])
    assert (failure.code, failure.message) == (Code.PLACE_AND_ROUTE_FAILED, "IO 'spy' is unconstrained in LPF")


def test_warnings_are_distinct_and_few() -> None:
    lines = ["Warning: a", "x.v:3: Warning: b", "Warning: a", "Info: Warning: c", "ABC: Warning: d"]
    assert diagnose.warnings(lines) == ["a", "b"]
    assert len(diagnose.warnings(f"Warning: {i}" for i in range(1000))) == diagnose.WARNINGS_MAX


@pytest.mark.parametrize("line", ["terminate: std::bad_alloc", "MemoryError", "mmap: Cannot allocate memory"])
def test_out_of_memory_is_recognised(line: str) -> None:
    assert diagnose.out_of_memory(["x", line])
    assert not diagnose.out_of_memory(["ERROR: syntax error"])


def test_nextpnrs_report_is_parsed() -> None:
    data = (
        b'{"fmax": {"$glbnet$clk": {"achieved": 93.9, "constraint": 50}}, "critical_paths": [],'
        b' "utilization": {"TRELLIS_COMB": {"used": 5, "available": 9}}}'
    )
    report = parse_pnr(data)
    assert report.fmax_mhz == {"$glbnet$clk": 93.9}
    assert report.util() == {"logic": Usage(5, 9), "ff": Usage(0, 0), "bram": Usage(0, 0), "dsp": Usage(0, 0)}


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"fmax": 3, "utilization": {}}', b"\xff"])
def test_reports_that_are_none_are_refused(data: bytes) -> None:
    for parse in (parse_pnr, parse_stat):
        with pytest.raises(BuildFailure) as caught:
            parse(data)
        assert caught.value.code is Code.BAD_TOOL_OUTPUT


def test_cell_counts_leave_out_notes() -> None:
    data = b'{"design": {"num_cells_by_type": {"LUT4": 2, "$scopeinfo": 9, "DP16KD": 1}}}'
    assert parse_stat(data) == {"DP16KD": 1, "LUT4": 2}


def test_an_elaboration_is_read() -> None:
    assert parse_elaboration(b'{"ok": true, "target": "Echo", "address_words": 512}') == Elaboration("Echo", 512)
    assert parse_elaboration(b"") is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"ok": false, "code": "syntax_error", "message": "m"}', Code.SYNTAX_ERROR),
        # A design cannot borrow a code that blames the tools or the sandbox.
        (b'{"ok": false, "code": "sandbox_unavailable", "message": "m"}', Code.DESIGN_RAISED),
        (b'{"ok": false, "code": "no such", "message": "m"}', Code.DESIGN_RAISED),
        (b'{"ok": true, "address_words": 513}', Code.BAD_TOOL_OUTPUT),
        (b'{"ok": true, "address_words": 1073741824}', Code.BAD_TOOL_OUTPUT),
        (b"garbage", Code.BAD_TOOL_OUTPUT),
        (b"[" * 5000, Code.BAD_TOOL_OUTPUT),
    ],
)
def test_a_designs_word_is_taken_with_care(data: bytes, code: Code) -> None:
    with pytest.raises(BuildFailure) as caught:
        parse_elaboration(data)
    assert caught.value.code is code


def test_long_messages_are_cut() -> None:
    assert len(BuildFailure(Code.DESIGN_RAISED, "x" * 100_000).message) < 5000


def test_cells_that_reach_the_board_are_refused() -> None:
    cells.check({"LUT4": 5, "DP16KD": 1, "EHXPLLL": 1, "MULT18X18D": 2, "TRELLIS_DPR16X4": 3})
    with pytest.raises(BuildFailure) as caught:
        cells.check({"LUT4": 5, "USRMCLK": 1, "JTAGG": 1})
    assert caught.value.code is Code.FORBIDDEN_CELL
    assert "JTAGG, USRMCLK" in caught.value.message


def test_a_message_that_quotes_a_design_holds_nothing_the_ledger_refuses() -> None:
    assert BuildFailure(Code.DESIGN_RAISED, "design.py:3: ValueError: a\0b").message.endswith("a\ufffdb")


def test_a_clock_named_by_a_megabyte_leaves_a_report_that_can_be_sent() -> None:
    profile = SimpleNamespace(name="ulx3s-25f", divider=lambda _: 5)
    target = SimpleNamespace(timing_hz=25_000_000, clk_hz=25_000_000, profile=profile)
    plan = SimpleNamespace(design_hash="sha256:0", build_key="0" * 64, build_id=0)
    run: Any = SimpleNamespace(target=target, plan=plan, log=[], times=[], said=lambda *_: [])
    recipe: Any = SimpleNamespace(toolchain="yosys")
    pnr = PnrReport({"$glbnet$" + "n" * (1 << 20): 20.0, "clk": 90.0}, {})
    report = make_report(run, recipe, Measured(Elaboration("T", 2), {}, pnr), b"bits")
    assert report.fmax_mhz == 20.0
    assert len(report.clock or "") < 1000


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, Code.SANDBOX_UNAVAILABLE),
        (signal.SIGTERM, Code.SANDBOX_UNAVAILABLE),
        (signal.SIGSEGV, Code.PLACE_AND_ROUTE_FAILED),
    ],
)
def test_a_tool_that_the_host_killed_is_no_failure_of_the_design(number: signal.Signals, code: Code) -> None:
    outcome = Outcome(exit_code=128 + number, stopped=None, tail=[], seconds=1.0, resident_peak_bytes=0)
    failure = stages._tool_failure(outcome, "nextpnr", BuildFailure(Code.PLACE_AND_ROUTE_FAILED, "it ended"))
    assert failure.code is code
    assert number.name in failure.message
