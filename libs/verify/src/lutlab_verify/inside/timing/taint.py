"""Where secrets can flow in a flat netlist. Forward from secret bits through every cell, control and data alike.

An output that is not reached cannot depend on a secret, in any cycle. Unknown values (`x`) and undriven nets count as
secret: synthesis may make of them what it likes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
PATH_MAX = 200
BITWISE = {"$and", "$or", "$xor", "$xnor", "$not", "$pos", "$buf"}
SELECTS = {"$mux": "S", "$pmux": "S", "$bwmux": "S"}
REGISTER_CONTROLS = {"EN", "SRST", "ARST", "ALOAD", "CLR", "SET"}
ASYNCHRONOUS = {"ARST", "ALOAD", "CLR", "SET"}
INDEXED = {"$shift", "$shiftx", "$shl", "$shr", "$sshl", "$sshr", "$bmux", "$demux"}
COMPARES = {"$lt", "$le", "$gt", "$ge", "$eq", "$ne", "$eqx", "$nex"}
IGNORED = {"$check", "$print", "$scopeinfo", "$assert", "$assume", "$cover"}
CHOICES = {"$anyseq", "$anyconst", "$allseq", "$allconst"}
UNKNOWN = "x"
_SOURCE = re.compile(r"[^|]*?:(\d+)(?:\.\d+)?")


@dataclass(frozen=True)
class Edge:
    """One way a bit depends on another: through which port of which cell."""

    cell: str
    port: str
    target: int


@dataclass
class Taint:
    """What is tainted, and from where each tainted bit got it first (breadth first)."""

    bits: set[Any] = field(default_factory=set)
    origin: dict[Any, tuple[Any, Edge]] = field(default_factory=dict)


class Netlist:
    """A flat module of yosys' JSON."""

    def __init__(self, module: Json, places: Sequence[Sequence[Any] | None]) -> None:
        self.module = module
        self._places = places
        self._fan: dict[Any, list[Edge]] = {}
        self._names: dict[Any, str] = {}
        self._drivers = {
            bit: cell
            for cell in module["cells"].values()
            for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) == "output"
            for bit in bits
        }
        for name, cell in module["cells"].items():
            if cell["type"] not in IGNORED:
                unused = ("A",) if self._always_selects(cell) else ()
                for source, port, target in _dependencies(cell, unused):
                    self._fan.setdefault(source, []).append(Edge(name, port, target))
        for name in sorted(module["netnames"], key=lambda one: (_hidden(one), one.count("."), len(one))):
            for bit in module["netnames"][name]["bits"]:
                self._names.setdefault(bit, name)

    def bits(self, signal: str) -> list[Any]:
        """The bits of a port or net; empty if there is none of that name."""
        net = self.module["ports"].get(signal) or self.module["netnames"].get(signal)
        return list(net["bits"]) if net else []

    def held_bits(self) -> set[Any]:
        """Bits that registers hold from one clock edge to the next, whatever happens between."""
        return {
            bit
            for cell in self.module["cells"].values()
            if "dff" in cell["type"] and not ASYNCHRONOUS & cell["connections"].keys()
            for bit in cell["connections"]["Q"]
        }

    def signals(self) -> list[str]:
        """The user's names."""
        return [name for name in self.module["netnames"] if not _hidden(name)]

    def unknown_bits(self) -> set[Any]:
        """Undriven nets, and the mark of unknown constants."""
        driven: set[Any] = set()
        used: set[Any] = {UNKNOWN}
        for port in self.module["ports"].values():
            (driven if port["direction"] == "input" else used).update(port["bits"])
        for cell in self.module["cells"].values():
            if cell["type"] in CHOICES:
                used.update(cell["connections"]["Y"])
                continue
            for port, bits in cell["connections"].items():
                (driven if cell["port_directions"].get(port) == "output" else used).update(bits)
        return {bit for bit in used - driven if bit == UNKNOWN or isinstance(bit, int)}

    def spread(self, sources: Iterable[Any]) -> Taint:
        """Everything that depends on the sources."""
        taint = Taint(set(sources))
        queue = deque(taint.bits)
        while queue:
            bit = queue.popleft()
            for edge in self._fan.get(bit, ()):
                if edge.target not in taint.bits:
                    taint.bits.add(edge.target)
                    taint.origin[edge.target] = (bit, edge)
                    queue.append(edge.target)
        return taint

    def path(self, taint: Taint, bit: Any) -> list[Json]:
        """From a secret to a bit: the named signals on the way, with file and line."""
        steps: list[Json] = []
        while len(steps) < PATH_MAX:
            step = self._step(bit)
            if not steps or steps[-1]["signal"] != step["signal"]:
                steps.append(step)
            if bit not in taint.origin:
                break
            bit, _edge = taint.origin[bit]
        named = [
            step for number, step in enumerate(steps) if not _hidden(step["signal"]) or number in (0, len(steps) - 1)
        ]
        return named[::-1]

    def kind(self, taint: Taint, bit: Any) -> str:
        """How the secret gets to a bit: the first control it takes on the shortest way."""
        crossings: list[Edge] = []
        while bit in taint.origin and len(crossings) < PATH_MAX * 10:
            bit, edge = taint.origin[bit]
            crossings.append(edge)
        loop = decided = False
        for edge in reversed(crossings):
            cell = self.module["cells"][edge.cell]
            kind = cell["type"]
            width = len(cell["connections"].get("Y", ()))
            decided = decided or (width == 1 and len(cell["connections"][edge.port]) > 1)
            loop = loop or (kind in COMPARES and self._against_counter(edge))
            if kind in INDEXED and edge.port in ("B", "S"):
                return "SECRET_INDEX"
            if kind.startswith("$mem") and edge.port.endswith("ADDR"):
                return "SECRET_INDEX"
            if SELECTS.get(kind) == edge.port or (edge.port in REGISTER_CONTROLS and "dff" in kind):
                return "SECRET_LOOP_BOUND" if loop else "SECRET_BRANCH"
        if loop or decided:  # a comparison or reduction of a secret that is then used as a flag
            return "SECRET_LOOP_BOUND" if loop else "SECRET_BRANCH"
        return "SECRET_OUTPUT"

    def branches(self, taint: Taint) -> tuple[int, int]:
        """Choices in the netlist (multiplexers and enables): all, and those that a secret controls."""
        total = tainted = 0
        for cell in self.module["cells"].values():
            ports = [SELECTS[cell["type"]]] if cell["type"] in SELECTS else []
            if "dff" in cell["type"]:
                ports = [port for port in REGISTER_CONTROLS if port in cell["connections"]]
            for port in ports:
                total += 1
                tainted += any(bit in taint.bits for bit in cell["connections"][port])
        return total, tainted

    def place(self, signal: str) -> tuple[str | None, int | None]:
        """File and line where a signal is declared."""
        net = self.module["netnames"].get(signal)
        found = _SOURCE.match(net["attributes"].get("src", "")) if net else None
        number = int(found[1]) if found else 0
        place = self._places[number - 1] if 0 < number <= len(self._places) else None
        return (str(place[0]), int(place[1])) if place else (None, None)

    def _always_selects(self, cell: Json) -> bool:
        """Whether a multiplexer's default is never taken: it compares one signal with each of its values."""
        if cell["type"] != "$pmux" or UNKNOWN not in cell["connections"]["A"]:
            return False
        compared: set[tuple[Any, ...]] = set()
        values: set[str] = set()
        for bit in cell["connections"]["S"]:
            driver = self._drivers.get(bit, {"type": None})
            if driver["type"] == "$logic_not":
                signal, constant = driver["connections"]["A"], ["0"] * len(driver["connections"]["A"])
            elif driver["type"] == "$eq":
                signal, constant = driver["connections"]["A"], driver["connections"]["B"]
            else:
                return False
            if len(signal) != len(constant) or not set(constant) <= {"0", "1"}:
                return False
            compared.add(tuple(signal))
            values.add("".join(constant))
        return len(compared) == 1 and len(values) == 2 ** len(next(iter(compared)))

    def _step(self, bit: Any) -> Json:
        name = self._names.get(bit, "an unknown value" if bit == UNKNOWN else f"net {bit}")
        file, line = self.place(name)
        return {"signal": name, "file": file, "line": line}

    def _against_counter(self, edge: Edge) -> bool:
        """Whether the other side of a comparison is a register that an adder feeds."""
        cell = self.module["cells"][edge.cell]
        other = set(cell["connections"]["A" if edge.port == "B" else "B"])
        for one in self.module["cells"].values():
            if one["type"] in ("$add", "$sub") and other & set(one["connections"]["A"]):
                return any(
                    other & set(register["connections"]["Q"]) for register in self.module["cells"].values()
                    if "dff" in register["type"]
                )  # fmt: skip
        return False


def _hidden(name: str) -> bool:
    return name.startswith("$") or "lutlab_" in name or "$" in name


def _dependencies(cell: Json, unused: Sequence[str]) -> Iterator[tuple[Any, str, int]]:
    """(bit, port, bit that depends on it), `unused` ports left out."""
    directions, connections = cell["port_directions"], cell["connections"]
    inputs = {
        port: bits for port, bits in connections.items() if directions.get(port) == "input" and port not in unused
    }
    outputs = [bit for port, bits in connections.items() if directions.get(port) == "output" for bit in bits]
    lanes = _lanes(cell)
    for port, bits in inputs.items():
        if port in lanes and len(bits) == len(outputs):
            yield from ((bit, port, target) for bit, target in zip(bits, outputs, strict=True))
        else:
            yield from ((bit, port, target) for bit in set(bits) for target in outputs)


def _lanes(cell: Json) -> tuple[str, ...]:
    """Ports whose bit n reaches the output's bit n only."""
    kind = cell["type"]
    if "dff" in kind or kind == "$ff":
        return ("D", "AD")
    if kind in ("$mux", "$bwmux"):
        return ("A", "B")
    return ("A", "B") if kind in BITWISE else ()
