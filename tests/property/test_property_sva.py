"""The lowering of assertions against their definition, evaluated attempt by attempt on random traces.

The reference knows nothing of words, registers or Verilog: it looks at an attempt's ticks so far and says whether the
property has failed, can still go either way, or holds. The lowered check is asked of the solver with the trace as
input.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lutlab_verify.catalogue import locate
from lutlab_verify.inside.formal.solver import Model, Solver

SIGNALS = ("a", "b", "c")
TICKS = 8
PROPERTIES = 10
Trace = list[dict[str, int]]
Before = dict[str, tuple[int, int]] | None
"""Values before the first tick; None where what is unknown does not count."""


@dataclass(frozen=True)
class Boolean:
    """`function(signal)`; `look` ticks back."""

    function: str
    signal: str
    look: int = 0

    def text(self) -> str:
        if self.function == "$past" and self.look > 1:
            return f"$past({self.signal}, {self.look})"
        return f"{self.function}({self.signal})" if self.function.startswith("$") else f"{self.function}{self.signal}"

    def value(self, trace: Trace, tick: int, before: Before) -> bool:
        now = trace[tick][self.signal]
        if not self.look:
            return not now if self.function == "!" else bool(now)
        if tick >= self.look:
            then = trace[tick - self.look][self.signal]
        elif before is None:
            return False
        else:
            then = before[self.signal][tick - self.look]
        return {
            "$past": bool(then), "$rose": bool(now and not then), "$fell": bool(then and not now),
            "$stable": now == then, "$changed": now != then,
        }[self.function]  # fmt: skip


@dataclass(frozen=True)
class Delay:
    """`first ##[low:high] second`, without first if that is None."""

    first: Any
    low: int
    high: int
    second: Any

    def text(self) -> str:
        delay = f"##{self.low}" if self.low == self.high else f"##[{self.low}:{self.high}]"
        return f"({self.first.text() if self.first else ''} {delay} {self.second.text()})"


@dataclass(frozen=True)
class Implies:
    """`antecedent |-> consequent`, or `|=>`."""

    antecedent: Any
    gap: int
    consequent: Any

    def text(self) -> str:
        return f"({self.antecedent.text()} {'|=>' if self.gap else '|->'} {self.consequent.text()})"


def ends(sequence: Any, start: int, now: int, trace: Trace, before: Before) -> tuple[set[int], bool]:
    """Ticks where it has matched, and whether it may match later, seen from `now`."""
    if isinstance(sequence, Boolean):
        if start > now:
            return set(), True
        return ({start} if sequence.value(trace, start, before) else set()), False
    found, later = ({start}, False) if sequence.first is None else ends(sequence.first, start, now, trace, before)
    matched: set[int] = set()
    for end in found:
        for delay in range(sequence.low, sequence.high + 1):
            more, open_ = ends(sequence.second, end + delay, now, trace, before)
            matched |= more
            later = later or open_
    return matched, later


def status(property_: Any, start: int, now: int, trace: Trace, before: Before) -> str:
    """`fail`, `open` or `pass` of the attempt that begins at `start`, seen from `now`."""
    if not isinstance(property_, Implies):
        matched, later = ends(property_, start, now, trace, before)
        return "pass" if matched else "open" if later else "fail"
    matched, later = ends(property_.antecedent, start, now, trace, before)
    each = {status(property_.consequent, end + property_.gap, now, trace, before) for end in matched}
    return "fail" if "fail" in each else "open" if later or "open" in each else "pass"


def booleans(node: Any) -> Iterator[Boolean]:
    if isinstance(node, Boolean):
        yield node
    else:
        parts = (node.first, node.second) if isinstance(node, Delay) else (node.antecedent, node.consequent)
        for part in parts:
            if part is not None:
                yield from booleans(part)


def befores(*nodes: Any) -> Iterator[Before]:
    """Every way values before the first tick can be."""
    signals = sorted({one.signal for node in nodes for one in booleans(node) if one.look})
    for bits in itertools.product(itertools.product((0, 1), repeat=2), repeat=len(signals)):
        yield dict(zip(signals, bits, strict=True))


def disabled(off: Boolean | None, start: int, now: int, trace: Trace) -> bool:
    return off is not None and any(off.value(trace, tick, {}) for tick in range(start, now + 1))


def expected(property_: Any, off: Boolean | None, trace: Trace, now: int) -> tuple[bool, bool]:
    """Whether an attempt may fail at this tick, and whether one may have failed by now without being excused since."""
    fresh = ever = False
    for before in befores(property_):
        for start in range(now + 1):
            if not disabled(off, start, now, trace) and status(property_, start, now, trace, before) == "fail":
                ever = True
                fresh = fresh or now == start or status(property_, start, now - 1, trace, before) != "fail"
    return fresh, ever


def covered(sequence: Any, off: Boolean | None, trace: Trace, now: int) -> bool:
    return any(
        not disabled(off, start, now, trace) and now in ends(sequence, start, now, trace, None)[0]
        for start in range(now + 1)
    )


plain = st.builds(Boolean, st.sampled_from(["", "!"]), st.sampled_from(SIGNALS))
past = st.builds(Boolean, st.just("$past"), st.sampled_from(SIGNALS), st.integers(1, 2))
edge = st.builds(
    Boolean, st.sampled_from(["$rose", "$fell", "$stable", "$changed"]), st.sampled_from(SIGNALS), st.just(1)
)
boolean = st.one_of(plain, plain, past, edge)


def delayed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Delay]:
    ranges = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    return st.builds(lambda first, low, second: Delay(first, *low, second), st.one_of(st.none(), inner), ranges, inner)


sequence = st.recursive(boolean, delayed, max_leaves=3)
property_ = st.one_of(
    sequence,
    st.builds(Implies, sequence, st.integers(0, 1), sequence),
    st.builds(Implies, sequence, st.integers(0, 1), st.builds(Implies, boolean, st.integers(0, 1), sequence)),
)
case = st.tuples(property_, sequence, st.one_of(st.none(), plain))
trace_ = st.lists(st.fixed_dictionaries({name: st.integers(0, 1) for name in SIGNALS}), min_size=TICKS, max_size=TICKS)


def lowered(
    cases: list[tuple[Any, Any, Boolean | None]], folder: Path
) -> tuple[Model, dict[str, list[dict[str, Any]]]]:
    """The model of a module with all properties: assertions have even numbers, covers odd ones."""
    lines = ["module top(input logic clk, a, b, c);"]
    for asserted, cover, off in cases:
        excuse = f"disable iff ({off.text()}) " if off else ""
        lines.append(f"assert property (@(posedge clk) {excuse}{asserted.text()});")
        lines.append(f"cover property (@(posedge clk) {excuse}{cover.text()});")
    (folder / "src").mkdir()
    (folder / "src" / "top.sv").write_text("\n".join([*lines, "endmodule"]))
    request = {"files": ["src/top.sv"], "includes": [], "defines": [], "top": "top", "out": "."}
    (folder / "request.json").write_text(json.dumps(request))
    subprocess.run(
        [sys.executable, "-m", "lutlab_verify.inside.formal.prepare", "request.json"],
        cwd=folder,
        check=True,
        timeout=60,
    )
    checks = json.loads((folder / "design.json").read_text())["checks"]
    return Model.read(folder / "model.smt2"), checks


# Shrinking would take minutes: every example is a run of yosys. The message names the property and the trace anyway.
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(case, min_size=PROPERTIES, max_size=PROPERTIES), trace_)
def test_lowered_properties_fail_when_their_definition_says(
    cases: list[tuple[Any, Any, Boolean | None]], trace: Trace
) -> None:
    with TemporaryDirectory() as name:
        model, checks = lowered(cases, Path(name))
        solver = Solver([*locate("yices-smt2").argv, "--incremental"], model)
        try:
            asserts = {one["property"]: one["number"] for one in checks["assert"]}
            covers = {one["property"]: one["number"] for one in checks["cover"] if not one["antecedent"]}
            states: list[str] = []
            for now in range(TICKS):
                state = solver.state(f"s{now}", first=now == 0)
                solver.tell(f"(assert {model.fact('i', state)})") if now == 0 else solver.step(states[-1], state)
                states.append(state)
                for signal in SIGNALS:
                    bit = model.of(signal, state)
                    solver.tell(f"(assert {bit})" if trace[now][signal] else f"(assert (not {bit}))")
                for number, (asserted, cover, off) in enumerate(cases):
                    flagged = may(solver, f"(not {model.check('a', asserts[2 * number], state)})")
                    fresh, ever = expected(asserted, off, trace, now)
                    assert not fresh or flagged, f"missed at {now}: {asserted.text()} off {off} on {trace}"
                    assert not flagged or ever, f"false at {now}: {asserted.text()} off {off} on {trace}"
                    reached = may(solver, model.check("c", covers[2 * number + 1], state))
                    assert reached == covered(cover, off, trace, now), (
                        f"cover at {now}: {cover.text()} off {off} on {trace}"
                    )
        finally:
            solver.close()


def may(solver: Solver, formula: str) -> bool:
    answer = solver.satisfiable(formula)
    if answer:
        solver.forget()
    return answer
