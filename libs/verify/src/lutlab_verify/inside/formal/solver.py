"""A dialogue with an SMT solver in SMT-LIB 2, and the model that yosys writes for it.

The model's functions all take a state: `NAME_n signal` is a signal's value in it, `NAME_t` relates a state with the
next one, `NAME_i` holds in initial ones, `NAME_u` are the assumptions, `NAME_a 3` the fourth assertion (yosys' manual,
`write_smt2`).
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ANSWER_CHARS_MAX = 256 << 20
VALUES_AT_ONCE = 2000
_NUMBERED = re.compile(r"(assert|assume|cover) (\d+) (\S+)(?: (.*))?$")
_VALUE = re.compile(r"#b([01]+)\)|#x([0-9a-fA-F]+)\)|\b(true|false)\)")


class SolverFailed(Exception):
    """The solver said something else than an answer, or ended."""


@dataclass(frozen=True)
class Check:
    """One assertion, assumption or cover of the model: its number there, its cell, its place in the print."""

    number: int
    cell: str
    source: str


@dataclass
class Model:
    """What the comments of the model say about it; widths in bits, `choices` are functions for unknown values."""

    name: str
    text: str
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    wires: dict[str, int] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    asserts: list[Check] = field(default_factory=list)
    assumes: list[Check] = field(default_factory=list)
    covers: list[Check] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Model:
        """Read a model file."""
        text = path.read_text(encoding="utf-8")
        model = cls("", text)
        tables = {
            "input": model.inputs, "output": model.outputs, "register": model.registers, "wire": model.wires,
        }  # fmt: skip
        lists = {"assert": model.asserts, "assume": model.assumes, "cover": model.covers}
        for line in text.splitlines():
            if not line.startswith("; yosys-smt2-"):
                continue
            what, _, rest = line.removeprefix("; yosys-smt2-").partition(" ")
            if what in tables:
                name, _, width = rest.rpartition(" ")
                tables[what][name] = int(width)
            elif what in ("anyseq", "anyconst"):
                model.choices.append(rest.split()[0])
            elif what == "topmod":
                model.name = rest
            elif what in lists and (found := _NUMBERED.match(f"{what} {rest}")):
                lists[what].append(Check(int(found[2]), found[3], found[4] or ""))
        return model

    def of(self, signal: str, state: str) -> str:
        """A signal's value in a state."""
        return f"(|{self.name}_n {signal}| {state})"

    def check(self, letter: str, number: int, state: str) -> str:
        """An assertion (`a`), assumption (`u`) or cover (`c`) in a state."""
        return f"(|{self.name}_{letter} {number}| {state})"

    def fact(self, letters: str, *states: str) -> str:
        """A predicate of the model over states: `i`, `h`, `u`, `t`, `is`."""
        return f"(|{self.name}_{letters}| {' '.join(states)})"


class Solver:
    """A solver process."""

    def __init__(self, argv: Sequence[str], model: Model) -> None:
        self._process = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.model = model
        self.questions = 0
        self.tell("(set-option :produce-models true)", "(set-logic QF_UFBV)", model.text)

    def tell(self, *commands: str) -> None:
        """Send commands that have no answer."""
        assert self._process.stdin is not None
        for command in commands:
            self._process.stdin.write(command + "\n")

    def state(self, name: str, *, first: bool | None) -> str:
        """Declare a state in which the assumptions hold; `first`: whether it is the first one, None for either."""
        model = self.model
        self.tell(f"(declare-fun {name} () |{model.name}_s|)")
        self.tell(f"(assert {model.fact('h', name)})", f"(assert {model.fact('u', name)})")
        if first is not None:
            start = model.fact("is", name)
            self.tell(f"(assert {start})" if first else f"(assert (not {start}))")
        return name

    def step(self, before: str, after: str) -> None:
        """One state follows the other."""
        self.tell(f"(assert {self.model.fact('t', before, after)})")

    def satisfiable(self, *formulas: str) -> bool:
        """Whether everything told and the formulas can be true together. A model is then kept until `forget`.

        Raises: SolverFailed.
        """
        self.tell("(push 1)", *(f"(assert {formula})" for formula in formulas), "(check-sat)")
        self.questions += 1
        answer = self._line()
        if answer == "unsat":
            self.tell("(pop 1)")
            return False
        if answer != "sat":
            raise SolverFailed(answer)
        return True

    def forget(self) -> None:
        """Drop the formulas of the last question that was answered with yes."""
        self.tell("(pop 1)")

    def values(self, terms: Iterable[str]) -> list[str]:
        """Values of terms in the model: binary digits, the most significant first. Raises: SolverFailed."""
        wanted = list(terms)
        found: list[str] = []
        for start in range(0, len(wanted), VALUES_AT_ONCE):
            part = wanted[start : start + VALUES_AT_ONCE]
            self.tell(f"(get-value ({' '.join(part)}))")
            answer = self._balanced()
            values = [
                bits or _bits(digits) or str(int(truth == "true")) for bits, digits, truth in _VALUE.findall(answer)
            ]
            if len(values) != len(part):
                raise SolverFailed(answer[:500])
            found += values
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SolverFailed(f"the solver ended with status {self._process.wait()}")
        return line.strip()

    def _balanced(self) -> str:
        text, depth, quoted = [], 0, False
        size = 0
        while True:
            line = self._line()
            size += len(line)
            if line.startswith("(error") or size > ANSWER_CHARS_MAX:
                raise SolverFailed(line[:500])
            for part in re.findall(r"[()|]", line):
                if part == "|":
                    quoted = not quoted
                elif not quoted:
                    depth += 1 if part == "(" else -1
            text.append(line)
            if depth == 0:
                return " ".join(text)


def _bits(digits: str) -> str:
    return "".join(f"{int(digit, 16):04b}" for digit in digits)
