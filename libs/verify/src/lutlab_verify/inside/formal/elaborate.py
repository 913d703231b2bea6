"""From lowered sources to a flat netlist and a model for SMT solvers, with yosys and its slang front end.

The model has one step per edge of the one clock. Asynchronous resets act within a step. Undriven and unknown values
may be anything at any time, which can only make proofs harder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyosys import libyosys

from lutlab_verify.inside.formal.emit import Place
from lutlab_verify.inside.formal.lower import INIT_ATTRIBUTE
from lutlab_verify.inside.formal.refuse import Refused

MEMORY_BITS_MAX = 65_536
"""Of memories that can be written, which become registers."""
TABLE_BITS_MAX = 4 << 20
"""Of tables, `case` statements among them, which become multiplexers."""
_SOURCE_LINE = re.compile(r"[^|]*?:(\d+)")
CONSTANT = "$anyconst"
CHOICES = {INIT_ATTRIBUTE: "$initstate", "anyconst": CONSTANT, "allconst": None, "allseq": None}
"""Attributes of wires and the cells that drive them; None where there is no answer to what is asked."""
LATCHES = {"$dlatch", "$adlatch", "$dlatchsr", "$sr"}
CLOCK_PORTS = ("CLK", "RD_CLK", "WR_CLK")
LOG = "yosys.log"

Json = dict[str, Any]


class Yosys:
    """One design in yosys. An error ends the process with status 1, its words stand last in the log."""

    def __init__(self, log: Path) -> None:
        self._design = libyosys.Design()
        self._log = log

    def run(self, *commands: str) -> None:
        """Run passes one after the other."""
        for command in commands:
            self._design.run_pass(f"tee -q -a {self._log} {command}")

    def read(self, print_: Path, top: str) -> None:
        """Read a print into the empty design."""
        self.run(f"read_slang --threads 1 --top {top} {print_}")

    def flatten(self, netlist: Path) -> Json:
        """Flatten, and leave the netlist as JSON. Returns: the top module in it."""
        self._mark_choices()
        self.run(
            "hierarchy -check",
            "proc",
            "flatten",
            "delete t:$print",
            # Registers that may start with anything may start with different things.
            "opt_merge -keepdc t:$check %n",
            "opt_muxtree",
            "opt_clean",
        )
        self.run("memory_collect", "opt_clean")
        self.run(f"write_json {netlist}")
        modules = json.loads(netlist.read_text())["modules"]
        top: Json = next(module for module in modules.values() if "top" in module["attributes"])
        return top

    def model(self, output: Path, rtlil: Path) -> None:
        """Write the SMT model of the flattened design, and the design as SymbiYosys can read it."""
        self._check_in_every_step()
        self.run("chformal -lower", "memory_map", "opt_expr -keepdc", "async2sync", "dffunmap", "opt_clean")
        self.run("setundef -undriven -anyseq", "setundef -anyseq", "opt_expr -keepdc", "opt_clean")
        self.run(f"write_rtlil {rtlil}", f"write_smt2 -wires {output}")

    def _check_in_every_step(self) -> None:
        """Checks at the one clock's edge are checks in every step: registers then still hold what they held before."""
        nothing = libyosys.Const(0, 0)
        for module in self._design.modules_.values():
            for cell in list(module.cells_.values()):
                if cell.type.str() == "$check":
                    cell.setParam(libyosys.IdString("\\TRG_ENABLE"), libyosys.Const(0, 1))
                    cell.setParam(libyosys.IdString("\\TRG_WIDTH"), libyosys.Const(0, 32))
                    cell.setParam(libyosys.IdString("\\TRG_POLARITY"), nothing)
                    cell.setPort(libyosys.IdString("\\TRG"), libyosys.SigSpec())

    def _mark_choices(self) -> None:
        """Give wires that mark the first step, and those that are any constant, their cells. Raises: Refused."""
        for module in self._design.modules_.values():
            for wire in list(module.wires_.values()):
                for attribute, kind in CHOICES.items():
                    if wire.has_attribute(libyosys.IdString(f"\\{attribute}")):
                        name = wire.name.str().removeprefix("\\")
                        if kind is None:
                            raise Refused(
                                "unsupported", f"the attribute `{attribute}` of {name}; `anyconst` is supported"
                            )
                        cell = module.addCell(libyosys.IdString(f"{kind}${name}"), libyosys.IdString(kind))
                        if kind == CONSTANT:
                            cell.setParam(libyosys.IdString("\\WIDTH"), libyosys.Const(wire.width, 32))
                        cell.setPort(libyosys.IdString("\\Y"), libyosys.SigSpec(wire))


def clock_of(top: Json) -> tuple[str | None, str]:
    """The one clock: the name of its input and its edge; None for a design without registers.

    Raises: Refused, if there are several, or if it is made inside the design.
    """
    used: dict[tuple[Any, str], str] = {}
    for name, cell in top["cells"].items():
        for bit, edge in _clocks(cell):
            if not isinstance(bit, int):  # in the model it would tick like all others
                signal = net_name(top, cell["connections"].get("Q", [name])[0])
                raise Refused("unsupported", f"the clock of {signal} is the constant {bit}: it never ticks; connect it")
            used.setdefault((bit, edge), f"{name} ({cell['attributes'].get('src', '?')})")
    if not used:
        _checks_at(top, None)
        return None, "posedge"
    if len(used) > 1:
        said = sorted(f"{edge} {net_name(top, bit)}" for bit, edge in used)
        raise Refused("unsupported", f"a design with several clocks ({', '.join(said)}); one clock and one edge are")
    bit, edge = next(iter(used))
    _checks_at(top, bit)
    _latches_apart(top, bit)
    for port, facts in top["ports"].items():
        if facts["direction"] == "input" and facts["bits"] == [bit]:
            return port, edge
    raise Refused("unsupported", f"the clock {net_name(top, bit)} is made inside the design; it must be an input")


def _clocks(cell: Json) -> Iterable[tuple[Any, str]]:
    parameters, connections = cell["parameters"], cell["connections"]
    if cell["type"] in ("$check", "$print"):
        bits = connections.get("TRG", [])
        if len(bits) == 1:
            yield bits[0], "posedge" if parameters["TRG_POLARITY"].endswith("1") else "negedge"
        return
    for port in CLOCK_PORTS:
        prefix = port.removesuffix("CLK")
        polarity = parameters.get(f"{prefix}CLK_POLARITY", "1")
        enabled = parameters.get(f"{prefix}CLK_ENABLE", "1" * len(polarity))
        for place, bit in enumerate(connections.get(port, [])):
            if enabled[::-1][place : place + 1] == "1":
                yield bit, "posedge" if polarity[::-1][place : place + 1] == "1" else "negedge"


def _checks_at(top: Json, clock: Any) -> None:
    """Checks of procedures with several events: the clock must be among them. Raises: Refused."""
    for name, cell in top["cells"].items():
        bits = cell["connections"].get("TRG", []) if cell["type"] == "$check" else []
        if len(bits) > 1 and clock not in bits:
            said = ", ".join(net_name(top, bit) for bit in bits)
            raise Refused("unsupported", f"the check {name} waits for {said}, none of which is the design's clock")


def _latches_apart(top: Json, clock: Any) -> None:
    """Latches follow other signals than the clock, whose level no step can tell. Raises: Refused."""
    drivers = {
        bit: cell
        for cell in top["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"].get(port) == "output" and not _holds(cell)
        for bit in bits
    }
    for latch in top["cells"].values():
        ahead = list(latch["connections"].get("EN", [])) if latch["type"] in LATCHES else []
        seen = set(ahead)
        while ahead:
            driver = drivers.get(ahead.pop(), {"connections": {}})
            more = {bit for bits in driver["connections"].values() for bit in bits} - seen
            seen |= more
            ahead += more
        if clock in seen:
            name = net_name(top, latch["connections"]["Q"][0])
            raise Refused(
                "unsupported", f"the latch {name}, which the clock's level opens; describe it by a clock edge"
            )


def _holds(cell: Json) -> bool:
    return "dff" in cell["type"] or cell["type"] in LATCHES or cell["type"].startswith("$mem")


def net_name(top: Json, bit: Any) -> str:
    """A user's name of a bit, the shortest; else any."""
    names = [name for name, net in top["netnames"].items() if bit in net["bits"]]
    return min(names, key=lambda name: (name.startswith("$"), len(name)), default=str(bit))


def check_memories(top: Json, places: list[Place | None]) -> None:
    """Raises: Refused, if memories or tables are too large to be taken apart."""
    totals = {MEMORY_BITS_MAX: 0, TABLE_BITS_MAX: 0}
    for name, cell in top["cells"].items():
        if cell["type"].startswith("$mem"):
            size = int(cell["parameters"]["SIZE"], 2) * int(cell["parameters"]["WIDTH"], 2)
            limit = MEMORY_BITS_MAX if int(cell["parameters"]["WR_PORTS"], 2) else TABLE_BITS_MAX
            totals[limit] += size
            if totals[limit] > limit:
                found = _SOURCE_LINE.match(cell["attributes"].get("src", ""))
                place = places[int(found[1]) - 1] if found and 0 < int(found[1]) <= len(places) else None
                said = f"memories of more than {limit} bits are not supported here; {name} has {size}"
                raise Refused("unsupported", said, *((place.file, place.line) if place else (None, None)))


def constants(top: Json) -> list[str]:
    """Names of what is any constant, as a replay must set it."""
    return [name.removeprefix(f"{CONSTANT}$") for name, cell in top["cells"].items() if cell["type"] == CONSTANT]


def variables(top: Json) -> list[str]:
    """Names of the variables that are registers or memories, as a replay must set them."""
    names = []
    for name, cell in top["cells"].items():
        if cell["type"].startswith("$mem"):
            memory = cell["parameters"]["MEMID"].removeprefix("\\")
            size, offset = (int(cell["parameters"][key], 2) for key in ("SIZE", "OFFSET"))
            names += [f"{memory}[{index + offset}]" for index in range(size)]
        elif "$driver$" in name:
            names.append(name.replace("$driver$", "", 1).removeprefix("\\"))
    return names
