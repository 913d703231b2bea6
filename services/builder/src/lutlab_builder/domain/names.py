"""Which register holds which bit of the design's own signals: from what yosys and nextpnr wrote about the same cells.

Yosys' netlist has every name of a net, nextpnr's the place of every cell. Only registers are found again: a signal
that is the output of logic, or was optimised away, has no place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import repeat

import msgspec

from lutlab_builder.domain.bundle import Language
from lutlab_builder.domain.errors import BuildFailure, Code

BITS_MAX = 100_000
"""Of all names together; a design with more goes without."""
OFFSET_MAX = 1024
_PREFIX = {Language.VERILOG: "target.design."}
"""How yosys calls what is the design's own, after flattening."""
_BEL = re.compile(r"X(\d+)/Y(\d+)/(SLICE[A-D])\.FF(\d)")


class _Cell(msgspec.Struct):
    type: str = ""
    attributes: dict[str, str | int] = {}
    connections: dict[str, list[int | str]] = {}


class _Net(msgspec.Struct):
    bits: list[int | str]
    hide_name: int = 0
    offset: int = 0


class _Module(msgspec.Struct):
    cells: dict[str, _Cell]
    netnames: dict[str, _Net] = {}


class _Netlist(msgspec.Struct):
    modules: dict[str, _Module]


def signal_names(synthesized: bytes, placed: bytes, top: str, language: Language) -> dict[str, list[str | None]]:
    """Places of registers by the names of the design's signals.

    Args:
        synthesized: yosys' JSON.
        placed: nextpnr's JSON of the same cells.
        top: name of the top module.
        language: of the design, which decides what its signals are called in the whole.

    Returns:
        For each signal with at least one register, the place of each bit, least significant first.

    Raises:
        BuildFailure: `bad_tool_output`.
    """
    before, after = _module(synthesized, top), _module(placed, None)
    places = _places(after.cells)
    registers = {
        cell.connections["Q"][0]: place
        for name, cell in before.cells.items()
        if cell.type == "TRELLIS_FF" and cell.connections.get("Q") and (place := places.get(name))
    }
    prefix = _PREFIX.get(language, "target.")
    found: dict[str, list[str | None]] = {}
    bits = 0
    for name, net in before.netnames.items():
        if net.hide_name or not name.startswith(prefix) or net.offset > OFFSET_MAX:
            continue
        held: list[str | None] = [registers.get(bit) for bit in net.bits]
        if any(held):
            found[name.removeprefix(prefix)] = [*repeat(None, net.offset), *held]
            bits += len(held)
            if bits > BITS_MAX:
                return {}
    return found


def _module(data: bytes, top: str | None) -> _Module:
    """One module of a netlist, or its only one: nextpnr gives that another name."""
    try:
        modules = msgspec.json.decode(data, type=_Netlist).modules
        return modules[top or min(modules)]
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, ValueError, RecursionError) as error:
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"a netlist is not understood: {error!r}") from error


def _places(cells: Mapping[str, _Cell]) -> dict[str, str]:
    """Where each register is, in the words of the virtual board."""
    found = {}
    for name, cell in cells.items():
        match = _BEL.match(str(cell.attributes.get("NEXTPNR_BEL", "")))
        if match:
            x, y, part, index = match.groups()
            found[name] = f"R{y}C{x} {part} register {index}"
    return found
