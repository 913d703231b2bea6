"""The yosys library, loaded on first use."""

from __future__ import annotations

import importlib
from typing import Any


class Yosys:
    """One yosys design.

    On an error the library prints `ERROR: ...` and ends the process with status 1; no exception can be caught.
    """

    def __init__(self) -> None:
        self._library: Any = importlib.import_module("pyosys.libyosys")
        self._design: Any = self._library.Design()

    def run(self, command: str) -> None:
        """Run one yosys command on the design."""
        self._library.run_pass(command, self._design)

    def multiplications(self) -> list[str]:
        """Names of the top module's cells that multiply, the smallest first."""
        width = {side: self._library.IdString(f"\\{side}_WIDTH") for side in "AB"}
        found = [
            (cell.getParam(width["A"]).as_int() * cell.getParam(width["B"]).as_int(), str(name))
            for name, cell in self._design.top_module().cells_.items()
            if str(cell.type) == "$mul"
        ]
        return [name for _, name in sorted(found)]

    def mark(self, cells: list[str], attribute: str) -> None:
        """Give cells of the top module an attribute, by which commands can select them."""
        for name in cells:
            cell = self._design.top_module().cell(self._library.IdString(name))
            cell.set_bool_attribute(self._library.IdString(f"\\{attribute}"))

    def ports(self) -> dict[str, dict[str, tuple[str, int]]]:
        """Module -> port -> (`in`, `out` or `inout`, width)."""
        return {_plain(name): _ports(module) for name, module in self._design.modules_.items()}


def _ports(module: Any) -> dict[str, tuple[str, int]]:
    found = {}
    for port in module.ports:
        wire = module.wire(port)
        both = wire.port_input and wire.port_output
        direction = "inout" if both else "in" if wire.port_input else "out"
        found[_plain(port)] = (direction, int(wire.width))
    return found


def _plain(name: Any) -> str:
    """A name without yosys' mark of public names."""
    return str(name).removeprefix("\\")
