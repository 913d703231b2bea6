"""Constant time: leaks are found with both runs on file, what is proven is proven for ever, a depth is no proof."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from verify_desk import EXAMPLES, context

from lutlab_verify.crypto import run
from lutlab_verify.crypto.area import AREAS
from lutlab_verify.stage import Stage, StageResult, StageStatus, Unsupported

SQUARE_AND_MULTIPLY = """
module top (
  input logic clk, rst, start, input logic [7:0] base, exponent, output logic [7:0] result, output logic done);
  typedef enum logic [1:0] {{IDLE, SQUARE, MULTIPLY, DONE}} state_t;
  state_t state;
  logic [7:0] acc, bits;
  logic [3:0] left;
  assign result = acc;
  assign done = state == DONE;
  always_ff @(posedge clk)
    if (rst) state <= IDLE;
    else case (state)
      IDLE: if (start) begin state <= SQUARE; acc <= 1; bits <= exponent; left <= 8; end
      SQUARE: begin
        acc <= acc * acc;
        {square}
      end
      MULTIPLY: begin
        {multiply}
        bits <= bits << 1; left <= left - 1; state <= left == 1 ? DONE : SQUARE;
      end
      DONE: state <= IDLE;
    endcase
endmodule
"""
LEAKY = SQUARE_AND_MULTIPLY.format(
    square="if (bits[7]) state <= MULTIPLY; else begin bits <= bits << 1; left <= left - 1; "
    "state <= left == 1 ? DONE : SQUARE; end",
    multiply="acc <= acc * base;",
)
CLEAN = SQUARE_AND_MULTIPLY.format(square="state <= MULTIPLY;", multiply="if (bits[7]) acc <= acc * base;")
COMPARATOR = """
module top (input logic clk, rst, start, input logic [31:0] guess, secret, output logic busy, equal);
  logic [2:0] place;
  logic [31:0] g, s;
  always_ff @(posedge clk)
    if (rst) busy <= 0;
    else if (start && !busy) begin busy <= 1; place <= 0; equal <= 1; g <= guess; s <= secret; end
    else if (busy) begin
      place <= place + 1; g <= g >> 8; s <= s >> 8;
      if (g[7:0] != s[7:0]) equal <= 0;
      if ({leave}) busy <= 0;
    end
endmodule
"""
LATE = """
module top (input logic clk, input logic [7:0] key, output logic tick);
  logic [8:0] n = 0;
  always_ff @(posedge clk) if (n < 300) n <= n + 1;
  assign tick = n == 250 && key[0];
endmodule
"""
BALANCED = """
module top (input logic clk, rst, start, input logic [7:0] key, output logic done);
  logic [2:0] n;
  logic [7:0] k;
  logic x;
  always_ff @(posedge clk)
    if (rst) n <= 0;
    else if (start) begin n <= 1; k <= key; end
    else if (n != 0) begin
      k <= k >> 1;
      if (k[0]) begin n <= n + 1; x <= 1; end else begin n <= n + 1; x <= 0; end
    end
  assign done = n == 7;
endmodule
"""


async def look(
    tmp_path: Path, source: str, secrets: list[str], depth: int = 20, **more: Any
) -> tuple[StageResult, dict[str, Any]]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "top.sv").write_text(source.lstrip())
    section = {"constant_time": {"enabled": True, "secrets": secrets, "depth": depth, **more}}
    stage = context(root, tmp_path / "work", "top", ["top.sv"], verification={"crypto_verification": section})
    result = await run(stage)
    return result, result.details["constant_time"]


def value_changes(text: str, scope: str, name: str) -> list[str]:
    """The changes of one signal below one run's scope."""
    inside = text.split(f"$scope module {scope} $end", 1)[1]
    code = re.search(rf"\$var wire \d+ (\S+) {name} ", inside)
    assert code is not None
    now, found = "", []
    for line in text.split("$enddefinitions $end", 1)[1].splitlines():
        if line.startswith("#"):
            now = line
        elif line in (f"0{code[1]}", f"1{code[1]}"):
            found.append(f"{now} {line[0]}")
    return found


class TestLeaks:
    async def test_square_and_multiply_leaks_through_a_branch(self, tmp_path: Path) -> None:
        result, found = await look(tmp_path, LEAKY, ["exponent", "result"])
        assert result.status is StageStatus.FAILED
        area = result.summary["constant_time"]
        assert (area["status"], area["verdict"], area["violations"]) == ("failed", "violated", 1)
        violation = found["violations"][0]
        assert (violation["kind"], violation["signal"]) == ("SECRET_BRANCH", "done")
        assert [step["signal"] for step in violation["path"]] == ["exponent", "bits", "state", "done"]
        lines = LEAKY.lstrip().splitlines()
        for step in violation["path"]:
            assert step["file"] == "top.sv" and step["signal"] in lines[step["line"] - 1]
        wave = next(one.path for one in result.artifacts if one.name == "constant_time.vcd").read_text()
        first, second = (value_changes(wave, run_, "done") for run_ in ("run_a", "run_b"))
        assert first != second
        assert value_changes(wave, "run_a", "start") == value_changes(wave, "run_b", "start")
        assert any(line.startswith(f"#{10 * violation['step']} ") for line in {*first} ^ {*second})

    async def test_leaving_a_comparison_early_leaks(self, tmp_path: Path) -> None:
        source = COMPARATOR.format(leave="place == 3 || g[7:0] != s[7:0]")
        _, found = await look(tmp_path, source, ["secret", "equal"], public=["guess", "start", "busy"])
        assert found["verdict"] == "violated"
        assert found["violations"][0]["signal"] == "busy"
        assert found["violations"][0]["kind"] == "SECRET_BRANCH"

    async def test_a_table_looked_up_by_a_secret_is_an_index(self, tmp_path: Path) -> None:
        source = (
            "module top(input logic clk, we, input logic [3:0] w, key, output logic q);\nlogic table_ [16];\n"
            "always_ff @(posedge clk) begin if (we) table_[w] <= w[0]; q <= table_[key]; end\nendmodule"
        )
        _, found = await look(tmp_path, source, ["key"])
        assert (found["verdict"], found["violations"][0]["kind"]) == ("violated", "SECRET_INDEX")

    async def test_a_result_that_is_not_named_is_a_violation_with_a_hint(self, tmp_path: Path) -> None:
        source = (
            "module top(input logic clk, input logic [3:0] key, output logic [3:0] q);\n"
            "always_ff @(posedge clk) q <= ~key;\nendmodule"
        )
        result, found = await look(tmp_path, source, ["key"])
        assert found["violations"][0]["kind"] == "SECRET_OUTPUT"
        assert result.reason is not None and "name it in secrets" in result.reason

    async def test_a_secret_register_leaks_without_any_input(self, tmp_path: Path) -> None:
        source = (
            "module top(input logic clk, output logic q, seen);\nlogic [3:0] key;\n"
            "always_ff @(posedge clk) begin key <= key; q <= key == 3; seen <= key[0]; end\nendmodule"
        )
        _, found = await look(tmp_path, source, ["key", "seen"])
        assert found["verdict"] == "violated"
        (tmp_path / "again").mkdir()
        source = source.replace("key == 3", "q")
        _, found = await look(tmp_path / "again", source, ["key", "seen"])
        assert (found["verdict"], found["tier"]) == ("proven", "taint")

    async def test_a_variable_may_be_a_register_in_part(self, tmp_path: Path) -> None:
        """Both runs start with the same registers; that says nothing of what a secret makes of other bits of them."""
        source = (
            "module top(input logic clk, key, output logic q);\nlogic [1:0] both;\ninitial both[0] = 1;\n"
            "assign both[1] = key & both[0];\nassign q = both[1];\n"
            "always_ff @(posedge clk) both[0] <= 0;\nendmodule"
        )
        _, found = await look(tmp_path, source, ["key"])
        assert (found["verdict"], found["depth"]) == ("violated", 1)


class TestProofs:
    async def test_no_path_is_a_proof(self, tmp_path: Path) -> None:
        result, found = await look(tmp_path, CLEAN, ["exponent", "base", "result"])
        assert result.status is StageStatus.PASSED
        assert (found["verdict"], found["tier"], found["observed"]) == ("proven", "taint", ["done"])
        assert found["signals"] > found["tainted_signals"] > 0

    async def test_equal_time_in_both_branches_is_proven_by_invariants(self, tmp_path: Path) -> None:
        result, found = await look(tmp_path, BALANCED, ["key"])
        assert result.status is StageStatus.PASSED
        assert (found["verdict"], found["tier"]) == ("proven", "invariants")
        assert found["tainted_outputs"][0]["signal"] == "done"

    async def test_a_comparison_to_the_end_is_proven(self, tmp_path: Path) -> None:
        _, found = await look(tmp_path, COMPARATOR.format(leave="place == 3"), ["secret", "equal"])
        assert found["verdict"] == "proven"

    @pytest.mark.parametrize(("depth", "verdict"), [(20, "bounded_only"), (252, "violated")])
    async def test_a_late_leak_is_never_passed(self, tmp_path: Path, depth: int, verdict: str) -> None:
        result, found = await look(tmp_path, LATE, ["key"], depth=depth)
        assert result.status is StageStatus.FAILED
        assert result.summary["constant_time"]["status"] == "failed"
        assert found["verdict"] == verdict
        assert found["depth"] == (20 if depth == 20 else 251)

    async def test_an_unknown_value_that_may_be_the_secret_is_not_proven(self, tmp_path: Path) -> None:
        """Synthesis may make anything of an `x`, the secret included."""
        source = (
            "module top(input logic clk, choose, input logic key, output logic q);\n"
            "always_ff @(posedge clk) q <= choose ? 1'bx : 1'b0;\nendmodule"
        )
        _, found = await look(tmp_path, source, ["key"])
        assert found["verdict"] == "bounded_only"

    async def test_assumptions_that_exclude_everything_prove_nothing(self, tmp_path: Path) -> None:
        source = BALANCED.replace("assign done", "always_comb assume (rst && !rst);\n  assign done")
        _, found = await look(tmp_path, source, ["key"])
        assert found["verdict"] == "unknown"
        assert any("rst && !rst" in one for one in found["assumptions"])


class TestTheFrame:
    async def test_the_butterfly_is_in_constant_time_and_the_planted_one_is_not(self, tmp_path: Path) -> None:
        section = {"constant_time": {"enabled": True, "secrets": ["a", "b", "sum", "difference"]}}
        for kind, verdict in (("rtl", "proven"), ("planted", "violated")):
            files = ["rtl/reduce.sv", f"{kind}/butterfly.sv"]
            root = EXAMPLES / "mlkem_butterfly"
            stage = context(root, tmp_path / kind, "butterfly", files, verification={"crypto_verification": section})
            result = await run(stage)
            assert result.summary["constant_time"]["verdict"] == verdict

    async def test_every_area_is_there_and_skipped_ones_say_why(self, tmp_path: Path) -> None:
        section = {"ntt_validation": {"enabled": True}, "entropy_analysis": {"sources": ["t"]}}
        verification = {"crypto_verification": section}
        stage = context(tmp_path, tmp_path / "work", "top", ["top.sv"], verification=verification)
        result = await run(stage)
        assert result.status is StageStatus.SKIPPED
        assert tuple(result.summary) == AREAS
        assert all(area["status"] == "skipped" and area["reason"] for area in result.summary.values())
        assert "no engine" in result.summary["ntt_validation"]["reason"]
        assert "no engine" in result.summary["entropy_analysis"]["reason"]
        assert "not enabled" in result.summary["side_channel"]["reason"]
        assert Stage.CRYPTO.value == "crypto" and json.dumps(result.summary)

    async def test_a_register_with_an_asynchronous_reset_is_refused_as_what_it_is(self, tmp_path: Path) -> None:
        source = (
            "module top(input logic clk, rst, output logic q);\nlogic key;\nassign q = key;\n"
            "always_ff @(posedge clk or posedge rst) if (rst) key <= 0; else key <= key;\nendmodule"
        )
        with pytest.raises(Unsupported, match="asynchronous"):
            await look(tmp_path, source, ["key"])

    async def test_a_secret_that_goes_both_ways_is_refused(self, tmp_path: Path) -> None:
        """What comes in over it would be public."""
        source = (
            "module top(input logic clk, key, inout wire [3:0] bus, output logic q);\n"
            "always_ff @(posedge clk) q <= bus == 3;\nendmodule"
        )
        with pytest.raises(Unsupported, match="'bus' is an inout"):
            await look(tmp_path, source, ["key", "bus"])

    @pytest.mark.parametrize(
        ("secrets", "public", "said"),
        [
            (["kez"], [], "did you mean 'key'"),
            (["key"], ["key"], "both"),
            (["key"], ["dome"], "did you mean 'done'"),
            ([], [], "is empty"),
            (["key", "done"], [], "nothing to observe"),
            (["done"], [], "nothing to observe"),
            (["clk"], [], "clock"),
        ],
    )
    async def test_mistakes_in_the_configuration_are_named(
        self, tmp_path: Path, secrets: list[str], public: list[str], said: str
    ) -> None:
        with pytest.raises(Unsupported, match=said) as refused:
            await look(tmp_path, BALANCED, secrets, public=public)
        assert refused.value.field is not None and refused.value.field.startswith("verification.crypto_verification")
