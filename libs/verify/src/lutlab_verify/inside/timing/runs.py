"""Two runs side by side: the same public inputs, secrets of their own, from the same state of the registers.

`Divergence` searches for a step in which an observer sees a difference. `Invariants` proves that there is none: it
starts from "every signal is the same in both runs", drops what a step can break until nothing does (Houdini), and
asks whether what is left keeps the observable outputs the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lutlab_verify.inside.formal.solver import Model, Solver

BITS_MAX = 20_000
"""Candidates for an invariant: registers are split into bits as long as there are fewer."""

Json = dict[str, Any]
Registers = Mapping[str, Sequence[int] | None]
"""Registers by name: which of their bits are meant, None for all. A name may stand for other things beside."""


class Pair:
    """States of two runs in one solver."""

    def __init__(self, solver: Solver, secrets: Iterable[str]) -> None:
        """`secrets`: inputs that may differ."""
        self.solver = solver
        self.model: Model = solver.model
        free = set(secrets)
        self._public = [name for name in self.model.inputs if name not in free]

    def states(self, step: int, *, first: bool | None, same_choices: bool) -> tuple[str, str]:
        """Declare both runs' states of a step.

        Args:
            step: its number.
            first: whether it is the first one, None for either.
            same_choices: unknown and undriven values are the same in both runs.
        """
        a, b = (self.solver.state(f"{run}{step}", first=first) for run in "ab")
        same = [self.same(name, a, b) for name in self._public]
        same.append(f"(= {self.model.fact('is', a)} {self.model.fact('is', b)})")
        if same_choices:
            same += [f"(= (|{name}| {a}) (|{name}| {b}))" for name in self.model.choices]
        self.solver.tell(*(f"(assert {formula})" for formula in same))
        return a, b

    def same(self, signal: str, a: str, b: str, bit: int | None = None) -> str:
        """A signal, or one of its bits, is the same in both states."""
        one, other = self.model.of(signal, a), self.model.of(signal, b)
        if bit is None or self.model.registers.get(signal) == 1:
            return f"(= {one} {other})"
        return f"(= ((_ extract {bit} {bit}) {one}) ((_ extract {bit} {bit}) {other}))"


class Divergence:
    """A bounded search for a visible difference."""

    def __init__(self, pair: Pair, equal: Registers, observed: list[str]) -> None:
        """`equal`: registers that both runs start with."""
        self._pair = pair
        self._equal = equal
        self._observed = observed
        self._states: list[tuple[str, str]] = []

    def run(self, depth: int, each: Callable[[int], None]) -> Json | None:
        """The first visible difference in `depth` steps: the step, the outputs, both runs; None if there is none.

        Raises: Contradiction, if the assumptions exclude every run.
        """
        solver, pair = self._pair.solver, self._pair
        for step in range(depth):
            a, b = pair.states(step, first=step == 0, same_choices=True)
            if step == 0:
                solver.tell(*(f"(assert {pair.model.fact('i', state)})" for state in (a, b)))
                for name, bits in self._equal.items():
                    solver.tell(
                        *(f"(assert {pair.same(name, a, b, bit)})" for bit in ([None] if bits is None else bits))
                    )
            else:
                for before, after in zip(self._states[-1], (a, b), strict=True):
                    solver.step(before, after)
            self._states.append((a, b))
            if not solver.satisfiable():
                raise Contradiction(step)
            solver.forget()
            found = self._difference(step)
            if found is not None:
                return found
            each(step)
        return None

    def _difference(self, step: int) -> Json | None:
        solver = self._pair.solver
        a, b = self._states[step]
        same = [self._pair.same(name, a, b) for name in self._observed]
        if not solver.satisfiable(f"(not (and true {' '.join(same)}))"):
            return None
        truth = solver.values(same)
        outputs = [name for name, value in zip(self._observed, truth, strict=True) if value == "0"]
        signals = sorted(name for name in self._pair.model.wires if "lutlab_" not in name)
        runs: list[list[dict[str, str]]] = [[], []]
        for states in self._states:
            for run, state in zip(runs, states, strict=True):
                values = solver.values(self._pair.model.of(signal, state) for signal in signals)
                run.append(dict(zip(signals, values, strict=True)))
        solver.forget()
        return {"step": step, "outputs": outputs, "runs": runs}


class Contradiction(Exception):
    """The assumptions exclude every run of so many steps."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the assumptions exclude every run of {step + 1} steps")
        self.step = step


class Invariants:
    """A proof for all times."""

    def __init__(self, pair: Pair, equal: Registers, observed: list[str]) -> None:
        """`equal`: registers that both runs start with; of nothing else is it known that the first state has it."""
        self._pair = pair
        self._observed = observed
        self._before = pair.states(0, first=None, same_choices=False)
        self._after = pair.states(1, first=False, same_choices=False)
        for one, other in zip(self._before, self._after, strict=True):
            pair.solver.step(one, other)
        self._candidates = self._all(equal)
        self.rounds = 0

    def run(self) -> Json:
        """What stays the same, and whether that keeps the observable outputs the same."""
        kept = self._candidates
        while kept:
            self.rounds += 1
            before = [self._same(one, self._before) for one in kept]
            after = [self._same(one, self._after) for one in kept]
            solver = self._pair.solver
            if not solver.satisfiable(*before, f"(not (and true {' '.join(after)}))"):
                break
            values = solver.values(after)
            solver.forget()
            kept = [one for one, value in zip(kept, values, strict=True) if value == "1"]
        proven = not self._pair.solver.satisfiable(
            *(self._same(one, self._before) for one in kept),
            f"(not (and true {' '.join(self._pair.same(name, *self._before) for name in self._observed)}))",
        )
        return {"proven": proven, "rounds": self.rounds, "kept": len(kept), "candidates": len(self._candidates)}

    def _all(self, equal: Registers) -> list[tuple[str, int | None]]:
        """Registers, by bits if they are few."""
        widths = self._pair.model.registers
        split = sum(widths[name] for name in equal) <= BITS_MAX
        found: list[tuple[str, int | None]] = []
        for name, bits in equal.items():
            if bits is None and not split:
                found.append((name, None))
            else:
                found += [(name, bit) for bit in (range(widths[name]) if bits is None else bits)]
        return found

    def _same(self, candidate: tuple[str, int | None], states: tuple[str, str]) -> str:
        return self._pair.same(candidate[0], *states, candidate[1])
