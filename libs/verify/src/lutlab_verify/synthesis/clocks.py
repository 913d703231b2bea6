"""Which clocks a design must run at: from constraint files, or one for all."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lutlab_verify.stage import Unsupported

LINES_MAX = 5_000
_PORTS = re.compile(r"\[\s*get_(?:ports|nets)\s+\{?\s*([A-Za-z_][\w.\[\]]*)\s*\}?\s*\]")
_PASSED_OVER = ("current_design", "set_hierarchy_separator")
_TIME_UNIT = re.compile(r"-time\s+(\S+)")


@dataclass(frozen=True)
class Clock:
    """A clock that must be reached: the port or net, and its period."""

    port: str
    period_ns: float

    @property
    def mhz(self) -> float:
        """Its frequency."""
        return 1000.0 / self.period_ns


def clocks_of(files: Mapping[str, str]) -> list[Clock]:
    """The clocks that SDC files create.

    Args:
        files: name to text.

    Raises:
        Unsupported: any command beside `create_clock`, because leaving it out would change what is promised; other
            units of time than ns.
    """
    return [
        clock for name, text in files.items() for number, line in _lines(text) for clock in _clock(name, number, line)
    ]


def _lines(text: str) -> Iterable[tuple[int, str]]:
    """Commands with the line they begin in; a backslash joins lines."""
    joined, begin = "", 0
    for number, line in enumerate(text.splitlines()[:LINES_MAX], start=1):
        begin = begin if joined else number
        joined += line.removesuffix("\\") + " "
        if not line.endswith("\\"):
            commands = joined.split("#", 1)[0].split(";")
            joined = ""
            yield from ((begin, command.strip()) for command in commands if command.strip())


def _clock(file: str, line: int, command: str) -> list[Clock]:
    name = command.split(maxsplit=1)[0]
    if name in _PASSED_OVER:
        return []
    if name == "set_units":
        unit = _TIME_UNIT.search(command)
        if unit is not None and unit[1].strip('"{}').lower() not in ("ns", "1ns", "1.0ns"):
            raise Unsupported(f"times are in ns here, not in {unit[1]}", file=file, line=line)
        return []
    if name != "create_clock":
        raise Unsupported(f"SDC command {name!r} is not understood here, only create_clock", file=file, line=line)
    port = _PORTS.search(command)
    try:
        words = shlex.split(_PORTS.sub(" ", command))
        period_ns = float(words[words.index("-period") + 1])
    except (ValueError, IndexError):
        raise Unsupported(f"create_clock without a -period in ns: {command}", file=file, line=line) from None
    if port is None:
        raise Unsupported(f"create_clock without [get_ports ...]: {command}", file=file, line=line)
    if not period_ns > 0:
        raise Unsupported(f"a period of {period_ns:g} ns", file=file, line=line)
    return [Clock(port[1], period_ns)]


def as_lpf(clocks: Iterable[Clock]) -> str:
    """The clocks as nextpnr's constraint file has them."""
    return "".join(f'FREQUENCY PORT "{clock.port}" {clock.mhz:.6f} MHZ;\n' for clock in clocks)
