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
