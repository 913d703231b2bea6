"""Proofs about gateware: yosys models a bench with assertions for SMT, yices searches for a way to break them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from pyosys import libyosys

SOLVER = shutil.which("yices-smt2", path=str(Path(sys.executable).parent)) or shutil.which("yices-smt2")
SOLVER_TIMEOUT_S = 1800


class Bench(Protocol):
    """A design with free inputs, assumptions about them, and assertions.

    Attributes:
        ports: inputs, which may do as they like, and what `is_reachable` looks at; known once `build` was called.
    """

    ports: list[Any]

    def build(self) -> Module:
        """Make the module."""
        ...


def opened(part: Any) -> Module:
    """A part's module, made early, so that the bench can look at its state machine."""
    part._MustUse__silence = True  # the module is used instead
    module: Module = part.elaborate(None)
    return module


def model(bench: Bench) -> str:
    """The bench in SMT-LIB; memories become flip-flops."""
    m = bench.build()
    m.domains.sync = sync = ClockDomain(reset_less=True)
    text = rtlil.convert(m, name="top", ports=[sync.clk, *bench.ports], emit_src=False)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.il").write_text(text)
        design = libyosys.Design()
        for command in (
            f"read_rtlil {folder}/bench.il",
            "hierarchy -top top",
            "proc",
            "flatten",
            "memory -nordff",
            "opt -full",
            "async2sync",
            "dffunmap",
            "chformal -lower",
            "formalff -clk2ff",
            "opt_clean",
            f"write_smt2 -wires {folder}/bench.smt2",
        ):
            libyosys.run_pass(f"tee -q {command}", design)
        return (Path(folder) / "bench.smt2").read_text()


def _ask(lines: list[str]) -> list[str]:
    assert SOLVER is not None
    done = subprocess.run(
        [SOLVER, "--incremental"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=SOLVER_TIMEOUT_S,
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line]
    errors = [line for line in answers if line not in ("sat", "unsat")]
    assert not errors and not done.stderr, (errors, done.stderr)
    return answers


def _step(index: int) -> list[str]:
    lines = [f"(declare-fun s{index} () |top_s|)", f"(assert (|top_u| s{index}))", f"(assert (|top_h| s{index}))"]
    if index:
        lines.append(f"(assert (|top_t| s{index - 1} s{index}))")
    return lines


def holds_from_reset(smt: str, depth: int) -> int | None:
    """Check the assertions in the first `depth` cycles after configuration; returns the first that fails, or None."""
    lines = ["(set-logic QF_UFBV)", smt]
    for index in range(depth):
        lines += _step(index)
        if index == 0:
            lines.append("(assert (|top_i| s0))")
        lines += ["(push 1)", f"(assert (not (|top_a| s{index})))", "(check-sat)", "(pop 1)"]
        lines.append(f"(assert (|top_a| s{index}))")
    answers = _ask(lines)
    assert len(answers) == depth
    return answers.index("sat") if "sat" in answers else None


def holds_onwards(smt: str, depth: int) -> bool:
    """Induction: if the assertions held for `depth` cycles, from any state at all, they hold in the next."""
    lines = ["(set-logic QF_UFBV)", smt]
    for index in range(depth + 1):
        lines += _step(index)
        if index < depth:
            lines.append(f"(assert (|top_a| s{index}))")
    lines += [f"(assert (not (|top_a| s{depth})))", "(check-sat)"]
    return _ask(lines) == ["unsat"]


def is_reachable(smt: str, depth: int, signal: str, *, from_reset: bool = True) -> bool:
    """A port of the bench can become true, so that the assertions are not about nothing.

    Without `from_reset` the search begins in any state that fits the assertions.
    """
    lines = ["(set-logic QF_UFBV)", smt]
    for index in range(depth):
        lines += [*_step(index), f"(assert (|top_a| s{index}))"]
        if index == 0 and from_reset:
            lines.append("(assert (|top_i| s0))")
    some = " ".join(f"(|top_n {signal}| s{index})" for index in range(depth))
    return _ask([*lines, f"(assert (or {some}))", "(check-sat)"]) == ["sat"]
