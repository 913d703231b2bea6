"""Ask a solver: which properties fail within some steps, which hold for ever, which covers are reached.

usage: python -m lutlab_verify.inside.formal.check REQUEST

REQUEST is JSON: `model` (of `prepare`), `solver` (argument list), `task`, `name`, `depth`, `out` (a folder),
`clock` and `edge`; for induction `asserts`, `unreached` and `known` (numbers of assertions to prove, of covers to
refute, of proven assertions). What is found goes to `out`/`name`.jsonl line by line, so that what is known survives
a limit. Every line has `event`:

- `bounded`: `step` is through, which is also printed, as `step 1 of 20`; `failed` (assert), `reached` (cover):
  `number`, `step`, `trace` (a `.json` and a `.vcd`, or null); `impossible`: no run has this `step`, because the
  assumptions exclude each other;
- `proven`: `asserts`, `unreachable` (covers), `k`; `tried`: nothing more at `k`; `done`.

`bounded` looks at steps 0 to depth-1 from the initial states. `induction` finds the largest sets that are k-inductive
together, for growing k <= depth; that proves them if no member fails in the first k steps, which is for the engine
to see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lutlab_verify.inside.formal.solver import Model, Solver
from lutlab_verify.inside.formal.waves import write_vcd

TRACES_MAX = 50
"""Failing properties and covers that are given a trace; they share one if they happen in the same run."""
HIDDEN = "lutlab_"

Json = dict[str, Any]
Report = Callable[..., None]


class Bounded:
    """Every run from the initial states, step by step."""

    def __init__(self, solver: Solver, request: Json, report: Report) -> None:
        self._solver = solver
        self._model = solver.model
        self._out = Path(request["out"])
        self._clock: str | None = request["clock"]
        self._edge: str = request["edge"]
        self._report = report
        self._states: list[str] = []
        self._traces = 0

    def run(self, depth: int) -> None:
        """Look at `depth` steps."""
        asserts = [check.number for check in self._model.asserts]
        covers = [check.number for check in self._model.covers]
        for step in range(depth):
            state = self._solver.state(f"s{step}", first=step == 0)
            if step == 0:
                self._solver.tell(f"(assert {self._model.fact('i', state)})")
            else:
                self._solver.step(self._states[-1], state)
            self._states.append(state)
            if not self._solver.satisfiable():
                self._report("impossible", step=step)
                return
            self._solver.forget()
            asserts = self._find(step, asserts, "a", wanted="0", event="failed")
            covers = self._find(step, covers, "c", wanted="1", event="reached")
            for number in asserts:  # known now, and helpful later
                self._solver.tell(f"(assert {self._model.check('a', number, state)})")
            self._report("bounded", step=step)
            sys.stdout.write(f"step {step + 1} of {depth}\n")
            sys.stdout.flush()

    def _find(self, step: int, numbers: list[int], letter: str, wanted: str, event: str) -> list[int]:
        """Report the checks that have the wanted value in some run at this step; returns the others."""
        while numbers:
            terms = {number: self._model.check(letter, number, self._states[step]) for number in numbers}
            parts = [f"(not {term})" if wanted == "0" else term for term in terms.values()]
            if not self._solver.satisfiable(f"(or false {' '.join(parts)})"):
                return numbers
            values = dict(zip(numbers, self._solver.values(terms.values()), strict=True))
            trace = self._trace(step)
            self._solver.forget()
            for number in [number for number, value in values.items() if value == wanted]:
                self._report(event, number=number, step=step, trace=trace)
            numbers = [number for number in numbers if values[number] != wanted]
        return numbers

    def _trace(self, step: int) -> str | None:
        if self._traces >= TRACES_MAX:
            return None
        self._traces += 1
        name = f"trace{self._traces}"
        signals = sorted(self._model.wires)
        steps = []
        for state in self._states[: step + 1]:
            values = self._solver.values(self._model.of(signal, state) for signal in signals)
            steps.append(dict(zip(signals, values, strict=True)))
        (self._out / f"{name}.json").write_text(json.dumps(steps), encoding="utf-8")
        shown = [{key: value for key, value in one.items() if HIDDEN not in key} for one in steps]
        write_vcd(self._out / f"{name}.vcd", {self._model.name: shown}, self._clock, self._edge)
        return name


class Induction:
    """Runs from anywhere: what holds in k steps and then cannot fail in the next."""

    def __init__(self, solver: Solver, known: list[int], report: Report) -> None:
        """`known`: assertions that are proven already."""
        self._solver = solver
        self._model = solver.model
        self._report = report
        self._known = [("a", number) for number in known]
        self._states = [solver.state("s0", first=None)]
        self._hold(self._known, self._states)

    def run(self, depth: int, asserts: list[int], unreached: list[int]) -> None:
        """Try k = 1, 2, 4 ... depth."""
        open_ = [("a", number) for number in asserts] + [("c", number) for number in unreached]
        proven = list(self._known)
        tried = 0
        while open_ and tried < depth:
            tried = min(depth, max(1, 2 * tried))
            while len(self._states) <= tried:
                self._grow(proven)
            kept = self._inductive(open_)
            if kept:
                self._report(
                    "proven",
                    k=tried,
                    asserts=[number for letter, number in kept if letter == "a"],
                    unreachable=[number for letter, number in kept if letter == "c"],
                )
                proven += kept
                open_ = [one for one in open_ if one not in kept]
                for state in self._states:
                    self._hold(kept, [state])
            else:
                self._report("tried", k=tried)

    def _grow(self, proven: list[tuple[str, int]]) -> None:
        state = self._solver.state(f"s{len(self._states)}", first=False)
        self._solver.step(self._states[-1], state)
        self._states.append(state)
        self._hold(proven, [state])

    def _inductive(self, candidates: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """The largest subset that is inductive together: drop whatever fails in the last state until nothing does."""
        kept = candidates
        while kept:
            holds = [self._good(one, state) for state in self._states[:-1] for one in kept]
            last = [self._good(one, self._states[-1]) for one in kept]
            if not self._solver.satisfiable(f"(and true {' '.join(holds)})", f"(not (and true {' '.join(last)}))"):
                return kept
            values = self._solver.values(last)
            self._solver.forget()
            kept = [one for one, value in zip(kept, values, strict=True) if value == "1"]
        return []

    def _hold(self, checks: list[tuple[str, int]], states: list[str]) -> None:
        for state in states:
            for one in checks:
                self._solver.tell(f"(assert {self._good(one, state)})")

    def _good(self, check: tuple[str, int], state: str) -> str:
        letter, number = check
        term = self._model.check(letter, number, state)
        return term if letter == "a" else f"(not {term})"


def main(arguments: list[str]) -> int:
    """See the module. Returns: the exit status."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    out = Path(request["out"])
    with (out / f"{request['name']}.jsonl").open("w", encoding="utf-8") as lines:

        def report(event: str, **facts: Any) -> None:
            lines.write(json.dumps({"event": event, **facts}) + "\n")
            lines.flush()

        solver = Solver(request["solver"], Model.read(Path(request["model"])))
        try:
            if request["task"] == "bounded":
                Bounded(solver, request, report).run(request["depth"])
            else:
                Induction(solver, request["known"], report).run(
                    request["depth"], request["asserts"], request["unreached"]
                )
        finally:
            solver.close()
        report("done", questions=solver.questions)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
