"""The longest path of a placed design in the names of its sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

STEPS_MAX = 200
PLACES_MAX = 4
KINDS = {
    "LUT4": "LUT", "PFUMX": "multiplexer", "L6MUX21": "multiplexer", "CCU2C": "carry", "MULT18X18D": "multiplier",
    "ALU54B": "accumulator", "TRELLIS_DPR16X4": "distributed RAM", "DP16KD": "block RAM", "PDPW16KD": "block RAM",
    "TRELLIS_FF": "flip-flop", "TRELLIS_IO": "pin",
}  # fmt: skip
_MADE = re.compile(r"(?:_(?:LUT4|PFUMX|L6MUX21|CCU2C|MULT18X18D|ALU54B|TRELLIS_\w+?|PDPW16KD|DP16KD)_|\$).*")
"""What synthesis adds to a source's name when it names a cell after the net it drives."""
_PLACE = re.compile(r"^(.+?):(\d+)")


class Names:
    """Names of a synthesized netlist, back to the sources'.

    Attributes:
        all: of ports and nets.
    """

    def __init__(self, netlist: Mapping[str, Any], top: str, roots: Sequence[str] = ("src",)) -> None:
        """
        Args:
            netlist: yosys' JSON.
            top: the module.
            roots: how the folder of the sources is spelled in it.
        """
        self._roots = tuple(f"{root}/" for root in roots)
        module = netlist["modules"][top]
        self._cells: Mapping[str, Any] = module["cells"]
        self.all = frozenset(module["netnames"])
        self._bits: dict[int, str] = {}
        for name, net in module["netnames"].items():
            if "hdlname" in net["attributes"]:  # a signal of the source; synthesis' own have none
                self._add(name, net)

    def _add(self, name: str, net: Mapping[str, Any]) -> None:
        offset = int(net.get("offset", 0))
        wide = len(net["bits"]) > 1
        for at, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                self._bits.setdefault(bit, f"{name}[{offset + at}]" if wide else name)

    def kind(self, cell: str) -> str:
        """What a cell is, in words."""
        own = self._cells.get(_base(cell))
        if own is None:
            return "pin" if cell.endswith("$tr_io") else "logic"
        return KINDS.get(own["type"], str(own["type"]))

    def signal(self, cell: str) -> str:
        """The source's signal that a cell computes, or computes a part of."""
        own = self._cells.get(_base(cell))
        for port in ("Q", "Z", "F"):
            bits = own["connections"].get(port, []) if own else []
            if bits and bits[0] in self._bits:
                return self._bits[bits[0]]
        return _MADE.sub("", cell) or cell

    def places(self, cell: str, nets: Sequence[str]) -> list[str]:
        """Lines of the sources: the cell's own, then those of its nets."""
        own = self._cells.get(_base(cell))
        said = [own["attributes"].get("src", "")] if own else []
        found = [place for text in (*said, *nets) for place in self._places(text)]
        return list(dict.fromkeys(found))[:PLACES_MAX]

    def _places(self, text: str) -> list[str]:
        """Places in the project's files of a `src` attribute."""
        places = [found for part in text.split("|") if (found := _PLACE.match(part))]
        return [
            f"{found[1].removeprefix(root)}:{found[2]}"
            for found in places
            for root in self._roots
            if found[1].startswith(root)
        ]


def _base(cell: str) -> str:
    """The netlist's cell, of which the packer may have made several."""
    return cell.split("$", 1)[0]


def longest(report: Mapping[str, Any], names: Names) -> Json | None:
    """The slowest path between two registers of the same clock; None if there is none.

    Returns:
        `delay_ns`, and `steps`: `kind`, `from`, `to`, `delay_ns`, `at_ns` and `sources`, one for each cell it goes
        through; carry chains and such are one step.
    """
    paths = [path for path in report.get("critical_paths", []) if path["from"] == path["to"] != "<async>"]
    if not paths:
        return None
    slowest = max(paths, key=lambda path: sum(part["delay"] for part in path["path"]))
    steps = _joined(_steps(slowest["path"], names))
    at = 0.0
    for step in steps:
        at += step["delay_ns"]
        step["at_ns"] = round(at, 3)
        step["delay_ns"] = round(step["delay_ns"], 3)
    return {"delay_ns": round(at, 3), "clock": clean_clock(slowest["from"]), "steps": steps[:STEPS_MAX]}


def _steps(parts: Sequence[Mapping[str, Any]], names: Names) -> list[Json]:
    """A step for each cell, with the wire to it."""
    steps: list[Json] = []
    wire_ns = 0.0
    last = names.signal(parts[0]["from"]["cell"])
    nets: list[str] = []
    for part in parts:
        cell = part["to"]["cell"]
        if part["type"] == "routing":
            wire_ns += part["delay"]
            nets = part.get("sources", [])
            continue
        signal = names.signal(cell)
        kind = {"clk-to-q": "clock to output", "setup": "setup"}.get(part["type"], names.kind(cell))
        steps.append(
            {
                "kind": kind,
                "from": last,
                "to": signal,
                "delay_ns": wire_ns + part["delay"],
                "wire_ns": round(wire_ns, 3),
                "sources": names.places(cell, nets),
            }
        )
        wire_ns, last, nets = 0.0, signal, []
    return steps


def _joined(steps: Sequence[Json]) -> list[Json]:
    """Steps of the same kind for the same signal as one."""
    out: list[Json] = []
    for step in steps:
        if out and (out[-1]["kind"], out[-1]["to"]) == (step["kind"], step["to"]):
            last = out[-1]
            last["delay_ns"] += step["delay_ns"]
            last["wire_ns"] = round(last["wire_ns"] + step["wire_ns"], 3)
            last["sources"] = list(dict.fromkeys([*last["sources"], *step["sources"]]))[:PLACES_MAX]
        else:
            out.append(dict(step))
    return out


def clean_clock(net: str) -> str:
    """A clock's name without what packing made of it: `$glbnet$clk$TRELLIS_IO_IN` is `clk`."""
    name = net.removeprefix("posedge ").removeprefix("negedge ").removeprefix("$glbnet$")
    return name.split("$", 1)[0]
