"""The formal stage: verdicts at the right lines, nothing proven that is not, nothing dropped silently."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyslang import SourceManager
from pyslang.syntax import SyntaxTree
from verify_desk import EXAMPLES, context

from lutlab_verify.catalogue import installed, locate
from lutlab_verify.formal import run
from lutlab_verify.inside.formal.lower import Lowering
from lutlab_verify.inside.formal.refuse import Refused
from lutlab_verify.inside.formal.syntax import Places
from lutlab_verify.stage import StageResult, StageStatus, ToolFailed, Unsupported

FIFO = "properties/fifo_properties.sv"
YOSYS_SHIM = Path(__file__).with_name("verify_yosys_shim.py")
needs_icarus = pytest.mark.skipif(not installed("iverilog"), reason="Icarus is not installed here")


async def prove(tmp_path: Path, source: str, depth: int = 20, **formal: Any) -> StageResult:
    root = tmp_path / "src_root"
    root.mkdir()
    (root / "top.sv").write_text(source)
    verification = {"formal": {"depth": depth, **formal}}
    return await run(context(root, tmp_path / "work", "top", ["top.sv"], verification=verification))


def verdicts(result: StageResult) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in result.details["properties"]}


def module(body: str, ports: str = "input logic clk, rst, a, b, c, input logic [3:0] d") -> str:
    return f"module top({ports});\n{body}\nendmodule\n"


def read_vcd(text: str, name: str) -> list[tuple[int, int]]:
    """(time, value) of the first signal of a name: an independent, small reader."""
    code = re.search(rf"\$var \w+ \d+ (\S+) {re.escape(name)} ", text)
    assert code is not None
    now, found = 0, []
    for line in text.splitlines():
        if line.startswith("#"):
            now = int(line[1:])
        elif line.endswith(code[1]) and re.fullmatch(rf"(?:b([01]+) |([01])){re.escape(code[1])}", line):
            found.append((now, int(line.split()[0].lstrip("b").removesuffix(code[1]), 2)))
    return found


class TestTheFifo:
    async def test_everything_is_proven(self, tmp_path: Path) -> None:
        files = ["rtl/fifo.sv"]
        result = await run(context(EXAMPLES / "fifo", tmp_path, "fifo", files, properties=[FIFO]))
        assert result.status is StageStatus.PASSED
        assert result.summary["properties_proven"] == 12
        assert result.summary["properties_failed"] == result.summary["properties_inconclusive"] == 0
        assert result.summary["warnings"] == 0

    @needs_icarus
    async def test_the_planted_bug_is_found_at_its_line_and_replays(self, tmp_path: Path) -> None:
        files = ["planted/fifo.sv"]
        stage = context(EXAMPLES / "fifo", tmp_path, "fifo", files, properties=[FIFO])
        result = await run(stage)
        assert result.status is StageStatus.FAILED
        failed = {one["name"]: one for one in result.details["properties"] if one["verdict"] == "failed"}
        assert {"properties.never_above", "properties.stays_full"} <= set(failed)
        above = failed["properties.never_above"]
        lines = (EXAMPLES / "fifo" / FIFO).read_text().splitlines()
        assert above["file"] == FIFO and "never_above" in lines[above["line"] - 1]
        artifacts = {one.name: one.path for one in result.artifacts}
        levels = [value for _, value in read_vcd(artifacts[above["trace"]].read_text(), "level")]
        assert levels[-1] == 5 and above["depth"] == 7  # reset, then five writes into four places
        for one in failed.values():
            assert replay(artifacts[one["bench"]], tmp_path) == 1

    @needs_icarus
    async def test_a_replay_with_the_bug_mended_does_not_fail(self, tmp_path: Path) -> None:
        stage = context(EXAMPLES / "fifo", tmp_path, "fifo", ["planted/fifo.sv"], properties=[FIFO])
        result = await run(stage)
        above = next(one for one in result.details["properties"] if one["name"] == "properties.never_above")
        bench = next(one.path for one in result.artifacts if one.name == above["bench"])
        mended = tmp_path / "mended.sv"
        text = bench.read_text()
        assert text.count("assign pushes = write;") == 1
        mended.write_text(text.replace("assign pushes = write;", "assign pushes = write && !full;"))
        assert replay(mended, tmp_path) == 0


async def test_pulses_are_proven(tmp_path: Path) -> None:
    verification = {"formal": {"depth": 12}}
    bound = ["properties/pwm_properties.sv"]
    stage = context(EXAMPLES / "pwm", tmp_path, "pwm", ["design.sv"], properties=bound, verification=verification)
    result = await run(stage)
    assert result.status is StageStatus.PASSED, verdicts(result)
    assert set(verdicts(result).values()) == {"proven", "covered", "assumed"}


@needs_icarus
@pytest.mark.parametrize(("kind", "failing"), [("rtl", set()), ("planted", {"three_cycles", "nothing_else"})])
async def test_the_butterfly(tmp_path: Path, kind: str, failing: set[str]) -> None:
    files, bound = ["rtl/reduce.sv", f"{kind}/butterfly.sv"], "properties/butterfly_properties.sv"
    root = EXAMPLES / "mlkem_butterfly"
    verification = {"formal": {"depth": 12}}
    stage = context(root, tmp_path, "butterfly", files, properties=[bound], verification=verification)
    result = await run(stage)
    failed = {one["name"].removeprefix("properties."): one for one in result.details["properties"] if one["bench"]}
    assert set(failed) == failing
    assert result.summary["properties_proven"] == 4 - len(failing)
    artifacts = {one.name: one.path for one in result.artifacts}
    lines = (root / bound).read_text().splitlines()
    for name, one in failed.items():
        assert one["file"] == bound and name in lines[one["line"] - 1]
        assert replay(artifacts[one["bench"]], tmp_path) == 1


def replay(bench: Path, work: Path) -> int:
    """The exit status of a test bench in Icarus, as its first lines say it is run."""
    output = work / "replay.vvp"
    subprocess.run([*locate("iverilog").argv, "-g2012", "-o", output, bench], check=True, timeout=60)
    return subprocess.run([*locate("vvp").argv, "-n", output], cwd=work, timeout=60, check=False).returncode


class TestVerdicts:
    async def test_only_induction_proves(self, tmp_path: Path) -> None:
        """`far` fails after 300 steps, `near` never; to depth 20 they look the same."""
        result = await prove(
            tmp_path,
            module(
                "logic [8:0] n = 0; always_ff @(posedge clk) n <= n == 400 ? 400 : n + 1;\n"
                "far: assert property (@(posedge clk) n != 300);\n"
                "near: assert property (@(posedge clk) n <= 400);"
            ),
        )
        assert verdicts(result) == {"far": "inconclusive", "near": "proven"}
        assert result.status is StageStatus.FAILED
        far = result.details["properties"][0]
        assert far["depth"] == 20 and "first 20 steps" in far["message"]

    async def test_induction_does_not_lean_on_what_fails(self, tmp_path: Path) -> None:
        """`leaning` is inductive only together with `wrong`, which fails."""
        result = await prove(
            tmp_path,
            module(
                "logic x = 0, y = 0; logic [5:0] n = 0;\n"
                "always_ff @(posedge clk) begin n <= n + 1; x <= n == 30; y <= x; end\n"
                "wrong: assert property (@(posedge clk) !x);\nleaning: assert property (@(posedge clk) !y);"
            ),
            depth=32,
        )
        assert verdicts(result)["wrong"] == "failed"
        assert verdicts(result)["leaning"] == "inconclusive"

    async def test_vacuous_antecedents_and_covers_out_of_reach_are_warnings(self, tmp_path: Path) -> None:
        result = await prove(
            tmp_path,
            module(
                "never: assert property (@(posedge clk) d == 3 && d == 4 |=> b);\n"
                "always_ff @(posedge clk) if (a && !a) under: assert (b);\n"
                "fine: assert property (@(posedge clk) a && b |-> b);\n"
                "out: cover property (@(posedge clk) a ##1 (d == 3 && d == 4));\n"
                "in: cover property (@(posedge clk) a ##2 b);"
            ),
        )
        assert result.status is StageStatus.PASSED
        rules = {(one["rule"], one["line"]) for one in result.details["warnings"]}
        assert rules == {("vacuous", 2), ("vacuous", 3), ("unreachable_cover", 5)}
        assert verdicts(result)["in"] == "covered"
        assert result.summary["properties_vacuous"] == 2

    async def test_assumptions_that_exclude_everything_prove_nothing(self, tmp_path: Path) -> None:
        result = await prove(
            tmp_path,
            module(
                "assume property (@(posedge clk) a);\nassume property (@(posedge clk) a |=> !a);\n"
                "p: assert property (@(posedge clk) b);"
            ),
        )
        # the first step is possible, and there b may be low: that is a failure; beyond it nothing can be said
        assert verdicts(result)["p"] == "failed"
        (tmp_path / "again").mkdir()
        source = module("assume property (@(posedge clk) a && !a);\np: assert property (@(posedge clk) b);")
        again = await prove(tmp_path / "again", source)
        assert verdicts(again)["p"] == "inconclusive"
        assert "assumptions exclude" in again.details["properties"][1]["message"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (module("assume property (@(posedge clk) a);"), "no assertion and no cover"),
            (
                "module loose(input clk, x);\nassert property (@(posedge clk) x);\nendmodule\n" + module(""),
                "no property is",
            ),
        ],
    )
    async def test_where_nothing_is_shown_nothing_has_passed(self, tmp_path: Path, text: str, said: str) -> None:
        result = await prove(tmp_path, text)
        assert (result.status, said in str(result.reason)) == (StageStatus.SKIPPED, True)

    async def test_a_cover_that_assumptions_exclude_has_not_passed(self, tmp_path: Path) -> None:
        source = module("assume property (@(posedge clk) a && !a);\nc: cover property (@(posedge clk) b);")
        result = await prove(tmp_path, source)
        assert (result.status, verdicts(result)["c"]) == (StageStatus.FAILED, "inconclusive")

    async def test_what_was_before_the_first_tick_reaches_no_cover(self, tmp_path: Path) -> None:
        result = await prove(
            tmp_path,
            module(
                "logic [1:0] s = 0; always_ff @(posedge clk) s <= s == 2 ? 2 : s + 1;\n"
                "never: cover property (@(posedge clk) $past(s) == 3 ##1 s == 2);\n"
                "always @(posedge clk) not_now: cover ($past(s) == 3);\n"
                "once: cover property (@(posedge clk) s == 0 ##1 $past(s) == 0 && s == 1);\n"
                "twice: cover property (@(posedge clk) $past($past(s)) == 0 && s == 2);\n"
                "vacuous: assert property (@(posedge clk) $past(s, 2) == 3 && s == 0 |=> s == 1);"
            ),
        )
        assert verdicts(result) == {
            "never": "unreachable", "not_now": "unreachable", "once": "covered", "twice": "covered",
            "vacuous": "proven",
        }  # fmt: skip
        assert result.summary["properties_vacuous"] == 1

    async def test_registers_that_start_with_anything_may_start_with_different_things(self, tmp_path: Path) -> None:
        """Also a past value and the register that holds the same from then on."""
        result = await prove(
            tmp_path,
            module(
                "logic x, y; always_ff @(posedge clk) begin x <= a; y <= a; end\n"
                "twins: assert property (@(posedge clk) x == y);\n"
                "later: assert property (@(posedge clk) ##1 x == y);\n"
                "early: assert property (@(posedge clk) x == $past(a));\n"
                "past: assert property (@(posedge clk) ##1 x == $past(a));"
            ),
        )
        assert verdicts(result) == {"twins": "failed", "later": "proven", "early": "failed", "past": "proven"}

    async def test_names_and_defaults_belong_to_their_generate_block(self, tmp_path: Path) -> None:
        """Two blocks may have a property of one name, and a default of one block excuses nobody outside."""
        result = await prove(
            tmp_path,
            "package names; sequence b; 1'b1; endsequence endpackage\n"
            + module(
                "logic x = 0; always_ff @(posedge clk) x <= 1;\n"
                "if (1) begin : g property p; @(posedge clk) x; endproperty first: assert property (p); end\n"
                "if (1) begin : h property p; @(posedge clk) x || !x; endproperty second: assert property (p);\n"
                "default disable iff (1); third: assert property (@(posedge clk) x); end\n"
                "fourth: assert property (@(posedge clk) x);\nfifth: assert property (@(posedge clk) b);"
            ),
        )
        assert verdicts(result) == {
            "g.first": "failed", "h.second": "proven", "h.third": "proven", "fourth": "failed", "fifth": "failed",
        }  # fmt: skip

    async def test_instances_have_verdicts_of_their_own(self, tmp_path: Path) -> None:
        leaf = "module leaf(input logic clk, x);\nlow: assert property (@(posedge clk) !x);\nendmodule\n"
        top = (
            "leaf good(clk, 1'b0); leaf bad(clk, a);\n"
            "for (genvar i = 0; i < 2; i++) begin : g\n leaf l(clk, b && i == 1); end"
        )
        source = leaf + module(top)
        result = await prove(tmp_path, source)
        assert verdicts(result) == {
            "good.low": "proven", "bad.low": "failed", "g[0].l.low": "proven", "g[1].l.low": "failed",
        }  # fmt: skip

    async def test_a_disabled_attempt_is_excused_and_a_failed_one_is_not(self, tmp_path: Path) -> None:
        result = await prove(
            tmp_path,
            module(
                "logic p = 0, q = 0; always_ff @(posedge clk) begin p <= rst; q <= p; end\n"
                "excused: assert property (@(posedge clk) disable iff (p) rst |=> 0);\n"
                "not_excused: assert property (@(posedge clk) disable iff (q) rst |=> 0);"
            ),
        )
        assert verdicts(result) == {"excused": "proven", "not_excused": "failed"}
        assert result.details["properties"][1]["depth"] == 2

    async def test_no_properties_is_skipped_and_says_so(self, tmp_path: Path) -> None:
        result = await prove(tmp_path, module("logic x; always_ff @(posedge clk) x <= a;"))
        assert result.status is StageStatus.SKIPPED
        assert result.reason is not None and "no assertion" in result.reason

    @needs_icarus
    async def test_immediate_assertions_of_every_kind_fail_and_replay(self, tmp_path: Path) -> None:
        """Clocked, combinational, in the first step, with history, in a loop; uninitialised registers are set."""
        source = module(
            "logic [3:0] r; always_ff @(posedge clk or posedge rst) if (rst) r <= 0; else r <= d;\n"
            "always_ff @(posedge clk) if (!rst && a) clocked: assert (r != 9 || $past(d) == 9);\n"
            "always_comb if (b) combinational: assert (r + d != 5);\n"
            "initial first: assert (r == 3);\n"
            "always @(posedge clk) for (int i = 0; i < 3; i++) assert (r != 12 + i);\n"
            "always @(posedge clk) signed_past: assert ($signed($past(d)) >= -8);"
        )
        result = await prove(tmp_path, source)
        by_line = {one["line"]: one for one in result.details["properties"]}
        assert {line: one["verdict"] for line, one in by_line.items()} == {
            3: "failed", 4: "failed", 5: "failed", 6: "failed", 7: "proven",
        }  # fmt: skip
        artifacts = {one.name: one.path for one in result.artifacts}
        for one in by_line.values():
            if one["verdict"] == "failed":
                assert replay(artifacts[one["bench"]], tmp_path) == 1, one["name"]


UNSUPPORTED = [
    ("p: assert property (@(posedge clk) a[*3] |-> b);", "[*3]"),
    ("p: assert property (@(posedge clk) a |-> s_eventually b);", "s_eventually"),
    ("p: assert property (@(posedge clk) a throughout b);", "throughout"),
    ("p: assert property (@(posedge clk) not a);", "not"),
    ("p: assert property (@(posedge clk) a until b);", "until"),
    ("p: assert property (@(posedge clk) a ##[1:$] b);", "$"),
    ("p: assert property (@(posedge clk) a ##[*] b);", "##"),
    ("p: assert property (@(posedge clk) first_match(a ##1 b) |-> c);", "first_match"),
    ("p: assert property (@(posedge clk) a #-# b);", "#-#"),
    ("p: assert property (@(posedge clk) strong(a ##1 b));", "strong"),
    ("p: assert property (@(posedge clk) if (a) b);", "if"),
    ("property q(x); x |-> b; endproperty p: assert property (@(posedge clk) q(a));", "arguments"),
    ("p: assert property (@(posedge clk, negedge rst) a);", "clock"),
    ("p: assert property (@(clk) a);", "no edge"),
    ("p: assert property (a);", "without a clock"),
    ("c: cover sequence (@(posedge clk) a ##1 b);", "cover sequence"),
    ("always @(posedge clk) p: assert property (a |-> b);", "procedural"),
    ("p: assert property (@(posedge clk) $past(a, 2, b) |-> c);", "$past"),
    ("p: assert property (@(posedge clk) $rose_gclk(a));", "$rose_gclk"),
    ("always_comb p: assert ($past(a) == b);", "no clock"),
    ("initial begin #5; p: assert (a); end", "initial"),
    ("initial if (a) p: assert (b);", "condition"),
    ("p: assert property (@(posedge clk) a) else x = 1;", "x = 1"),
    ("p: assert property (@(posedge clk) a ##1 @(negedge clk) b);", "clock"),
    ("p: assert property (@(posedge clk) a ##[200:260] b ##[0:99] c ##[0:99] a);", "1024"),
    ("checker k(logic x); endchecker", "checker"),
    ("always @(posedge clk) p: assert (a) x++;", "x ++"),
    ("always @(posedge clk) p: assert (a) else count;", "count"),
    ("p: assert property (@(posedge clk) a) else -> seen;", "seen"),
]


def lowered(tmp_path: Path, source: str) -> Lowering:
    """A file of a project, lowered. Raises: Refused."""
    (tmp_path / "src").mkdir()
    file = tmp_path / "src" / "top.sv"
    file.write_text(source)
    manager = SourceManager()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        tree = SyntaxTree.fromFiles([str(file)], manager)
        assert not [one for one in tree.diagnostics if one.isError()], source
        lowering = Lowering(Places(manager))
        lowering.run(tree.root)
    return lowering


@needs_icarus
async def test_any_constant_stays_what_it_is_and_replays(tmp_path: Path) -> None:
    leaf = "module leaf(input logic clk, input logic [3:0] d);\n(* anyconst *) reg [3:0] k; (* anyseq *) logic s;\n"
    leaf += "typedef enum logic [1:0] {A, B} e; (* anyconst *) e kind;\n"
    leaf += "same: assert property (@(posedge clk) s == s);\n"
    leaf += "(* anyconst *) wire w; kept: assert property (@(posedge clk) w == w);\n"
    leaf += "stays: assert property (@(posedge clk) ##1 k == $past(k));\n"
    leaf += "never: assert property (@(posedge clk) d == k |=> d != k + 1);\nendmodule\n"
    result = await prove(tmp_path, leaf + module("leaf u(clk, d);"))
    assert verdicts(result) == {"u.same": "proven", "u.kept": "proven", "u.stays": "proven", "u.never": "failed"}
    artifacts = {one.name: one.path for one in result.artifacts}
    assert replay(artifacts[result.details["properties"][3]["bench"]], tmp_path) == 1


@needs_icarus
async def test_a_past_value_in_a_condition_is_read_and_replays(tmp_path: Path) -> None:
    source = module(
        "logic q, f = 0; always_ff @(posedge clk) begin q <= a; f <= 1; end\n"
        "always @(posedge clk) if (f && $past(a)) right: assert (q);\n"
        "always @(posedge clk) if (f && $past(b)) begin wrong: assert (q || $rose(c)); end"
    )
    result = await prove(tmp_path, source)
    assert list(verdicts(result).values()) == ["proven", "failed"]
    artifacts = {one.name: one.path for one in result.artifacts}
    assert replay(artifacts[result.details["properties"][1]["bench"]], tmp_path) == 1


class TestRefusals:
    @pytest.mark.parametrize(("text", "named"), UNSUPPORTED)
    def test_what_is_not_understood_is_named_with_its_line(self, tmp_path: Path, text: str, named: str) -> None:
        with pytest.raises(Refused) as refused:
            lowered(tmp_path, module(f"// a comment\n{text}"))
        assert refused.value.kind == "unsupported"
        assert (refused.value.file, refused.value.line) == ("top.sv", 3)
        assert named in str(refused.value)

    async def test_a_refusal_reaches_the_caller(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match=r"top.sv:2: the repetition .*\[\*3\]") as refused:
            await prove(tmp_path, module("p: assert property (@(posedge clk) a[*3] |-> b);"))
        assert (refused.value.file, refused.value.line) == ("top.sv", 2)

    def test_messages_of_properties_may_look_at_anything(self, tmp_path: Path) -> None:
        """What a message shows changes nothing."""
        said = '$error("%0d after %0d, %s", d, $past(d), $sformatf("%t", $time))'
        source = module(f"p: assert property (@(posedge clk) a) else begin {said}; $display; end")
        assert [one.label for one in lowered(tmp_path, source).properties] == ["p"]

    async def test_a_clock_that_never_ticks_is_refused(self, tmp_path: Path) -> None:
        leaf = (
            "module leaf(input logic c, output logic x);\ninitial x = 0;\nalways_ff @(posedge c) x <= 1;\nendmodule\n"
        )
        with pytest.raises(Unsupported, match="never ticks"):
            await prove(tmp_path, leaf + module("wire x; leaf l(1'b0, x); assert property (@(posedge clk) !x);"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "logic l, q; always_latch if (!clk && a) l = b;\nalways_ff @(posedge clk) q <= l;\n"
                "assert property (@(posedge clk) q);",
                "latch l",
            ),
            ("(* allconst *) logic x;", "`allconst` of x"),
        ],
    )
    async def test_what_the_model_cannot_tell_is_refused(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(Unsupported, match=said):
            await prove(tmp_path, module(f"{text}\np: assert property (@(posedge clk) a);"))

    async def test_two_clocks_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match="several clocks"):
            await prove(
                tmp_path,
                module(
                    "logic x, y; always_ff @(posedge clk) x <= a; always_ff @(posedge rst) y <= x;\n"
                    "always @(posedge clk) assert (x == y);"
                ),
            )

    async def test_a_check_at_other_events_than_the_clock_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match="clock"):
            await prove(
                tmp_path,
                module(
                    "logic x; always_ff @(posedge clk) x <= a;\n"
                    "always @(posedge rst or posedge b) if (rst) assert (x); else assert (a);"
                ),
            )

    async def test_memories_that_are_too_large_are_refused_at_their_line(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match=r"65536 bits.* words has 2097152") as refused:
            await prove(
                tmp_path,
                module(
                    "logic [31:0] words [65536]; logic [15:0] i;\n"
                    "always_ff @(posedge clk) begin i <= i + a; words[i] <= d; assert (words[i] == 0); end"
                ),
            )
        assert (refused.value.file, refused.value.line) == ("top.sv", 2)

    async def test_a_top_module_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ToolFailed, match="'top' is not a valid top-level module"):
            await prove(tmp_path, module("").replace("module top", "module other"))

    async def test_a_solver_that_breaks_is_a_tool_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lutlab_verify.formal.engine.solver_argv", lambda _name: ["/bin/false"])
        with pytest.raises(ToolFailed, match="ended early"):
            await prove(tmp_path, module("p: assert property (@(posedge clk) a);"))

    async def test_errors_in_sources_are_tool_errors_at_their_lines(self, tmp_path: Path) -> None:
        with pytest.raises(ToolFailed, match=r"top.sv:3: .*nowhere"):
            await prove(tmp_path, module("logic x;\nassign x = nowhere;\nalways @(posedge clk) assert (x);"))

    async def test_files_outside_of_the_project_are_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(ToolFailed, match="outside of the project") as failed:
            await prove(tmp_path, '`include "/etc/passwd"\n' + module(""))
        assert "root" not in str(failed.value)

    @pytest.mark.parametrize(("name", "way"), [("loose.sv", "bind its module"), ("loose.svh", "includes it")])
    async def test_a_property_file_that_is_not_bound_is_refused(self, tmp_path: Path, name: str, way: str) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "top.sv").write_text(
            module("logic x; always_ff @(posedge clk) x <= a; assert property (@(posedge clk) 1);")
        )
        (root / name).write_text("module loose(input clk, x);\nassert property (@(posedge clk) x);\nendmodule\n")
        with pytest.raises(Unsupported, match=f"{name}: none of its properties.*{way}") as refused:
            await run(context(root, tmp_path / "work", "top", ["top.sv"], properties=[name]))
        assert refused.value.field == "verification.formal.properties"

    async def test_an_engine_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match="abc pdr") as refused:
            await prove(tmp_path, module(""), engines=["abc pdr"])
        assert refused.value.field == "verification.formal.engines"


class TestSources:
    async def test_macros_and_includes_keep_their_lines(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "checks.svh").write_text(
            "`define CHECK(name, what) \\\n  name: assert property (@(posedge clk) disable iff (rst) what);\n"
        )
        (root / "inside.svh").write_text("// included\nfrom_file: assert property (@(posedge clk) !a);\n")
        (root / "top.sv").write_text(
            '`include "checks.svh"\nmodule top(input logic clk, rst, a);\n'
            '  `CHECK(from_macro, (!a || `LIMIT == 3))\n`include "inside.svh"\n'
            "  last: assert property (@(posedge clk) a);\nendmodule\n"
        )
        stage = context(root, tmp_path / "work", "top", ["top.sv"], defines={"LIMIT": "4"})
        result = await run(stage)
        places = {one["name"]: (one["file"], one["line"], one["verdict"]) for one in result.details["properties"]}
        assert places == {
            "from_macro": ("top.sv", 3, "failed"),
            "from_file": ("inside.svh", 2, "failed"),
            "last": ("top.sv", 5, "failed"),
        }

    async def test_packages_interfaces_and_the_other_edge(self, tmp_path: Path) -> None:
        """Language that only a full front end reads; a past value of an interface's signal is refused by name."""
        source = """`default_nettype none
package kinds;
  typedef enum logic [1:0] {A, B, C} kind_t;
  typedef struct packed { logic [3:0] x; kind_t k; } record_t;
  function automatic logic [3:0] twice(input logic [3:0] v); return v << 1; endfunction
endpackage
interface link(input logic clk); logic req, ack; modport s(input req, output ack); endinterface
module sub import kinds::*; (input wire clk, link.s b, output record_t r);
  wire req = b.req;
  always_ff @(negedge clk) begin
    b.ack <= b.req; r.x <= twice(r.x + 4'(1));
    unique case (r.k) A: r.k <= B; B: r.k <= C; default: r.k <= A; endcase
  end
  steps: assert property (@(negedge clk) r.k == A |=> r.k == B);
  wrong: assert property (@(negedge clk) r.k == B |=> r.k == A || $past(r.x) == 3);
  \\odd+name : assert property (@(negedge clk) ##1 b.ack == $past(PAST));
endmodule
module top(input wire clk, input wire [3:0] d, output kinds::record_t r);
  link b(clk); assign b.req = ^d; sub s(.clk, .b(b), .r);
endmodule
""".replace("\\\\", "\\")
        result = await prove(tmp_path, source.replace("PAST", "req"))
        assert verdicts(result) == {"s.steps": "proven", "s.wrong": "failed", "s.odd+name": "proven"}
        (tmp_path / "again").mkdir()
        with pytest.raises(Unsupported, match=r"top.sv:16: .*interface"):
            await prove(tmp_path / "again", source.replace("PAST", "b.req"))

    async def test_time_that_is_up_leaves_what_is_known(self, tmp_path: Path) -> None:
        """It fails where two primes of 32 bits are the inputs: nobody finds them in two seconds."""
        source = (
            "module top(input logic clk, input logic [31:0] x, y);\n"
            "hard: assert property (@(posedge clk) x == 1 || y == 1 || 64'(x) * y != 64'd9472043666309840327);\n"
            "endmodule\n"
        )
        result = await prove(tmp_path, source, timeout_seconds=2)
        assert result.status is StageStatus.FAILED
        assert verdicts(result) == {"hard": "inconclusive"}
        assert "time limit" in result.details["properties"][0]["message"]


@pytest.mark.skipif(not installed("sby"), reason="SymbiYosys is not installed here")
def test_symbiyosys_agrees_on_the_artifacts(tmp_path: Path) -> None:
    """The artifacts are enough for SymbiYosys to come to the same verdicts by itself."""
    outcomes = {}
    for kind in ("rtl", "planted"):
        work = tmp_path / kind
        stage = context(EXAMPLES / "fifo", work, "fifo", [f"{kind}/fifo.sv"], properties=[FIFO])
        result = asyncio.run(run(stage))
        again = tmp_path / f"{kind}_again"
        again.mkdir()
        for one in result.artifacts:
            if one.name in ("formal.sby", "formal_design.il"):
                shutil.copy(one.path, again / one.name)
        shims = tmp_path / "shims"
        shims.mkdir(exist_ok=True)
        commands = {
            "yosys": f"{locate('python').argv[0]} {YOSYS_SHIM}",
            "yosys-smtbmc": " ".join(locate("yosys-smtbmc").argv),
            "yosys-witness": " ".join(locate("yosys-witness").argv),
        }
        for name, command in commands.items():
            (shims / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (shims / name).chmod(0o755)
        path = f"{shims}:{Path(locate('yices-smt2').program).parent}:/usr/bin:/bin"
        done = subprocess.run(
            [*locate("sby").argv, "-f", "formal.sby", "prove"], cwd=again, check=False, timeout=120,
            env={"PATH": path, "HOME": str(Path.home())}, capture_output=True, text=True,
        )  # fmt: skip
        outcomes[kind] = (result.status, re.search(r"DONE \((\w+)", done.stdout + done.stderr), done)
    assert [(status, found[1]) for status, found, _ in outcomes.values() if found] == [
        (StageStatus.PASSED, "PASS"),
        (StageStatus.FAILED, "FAIL"),
    ], outcomes
