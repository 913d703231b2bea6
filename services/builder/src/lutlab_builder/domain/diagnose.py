"""Turn what a tool said before it gave up into a failure a design's author can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lutlab_builder.domain.errors import BuildFailure, Code

_YOSYS_ERROR = re.compile(r"^(?P<where>[^\s:]+:\d[\d.-]*): ERROR: ?(?P<what>.*)$|^ERROR: ?(?P<plain>.*)$")
_NEXTPNR_ERROR = re.compile(r"^ERROR: ?(?P<what>.*)$")
_UTILISATION = re.compile(r"^Info:\s+(?P<cell>\w+):\s+(?P<used>\d+)\s*/\s*(?P<available>\d+)\s+\d+%")
_NO_BEL = re.compile(
    r"no (?:more )?BELs remaining|[Uu]nable to find (?:a )?(?:legal )?placement|failed to (?:find|expand)"
)
_WARNING = re.compile(r"^(?:\S+:\d[\d.-]*: )?Warning: (?P<what>.*)$")
_OUT_OF_MEMORY = re.compile(r"std::bad_alloc|MemoryError|Cannot allocate memory|[Oo]ut of memory")
WARNINGS_MAX = 50
RESOURCE_NAMES = {
    "TRELLIS_COMB": "logic cells (LUTs)",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_RAMW": "distributed RAM write ports",
    "DP16KD": "block RAMs",
    "MULT18X18D": "multipliers (DSP)",
    "ALU54B": "DSP adders",
    "EHXPLLL": "PLLs",
    "TRELLIS_IO": "pins",
    "DCCA": "global clock buffers",
}


def out_of_memory(lines: Iterable[str]) -> bool:
    """Whether a tool said that it could not get memory."""
    return any(_OUT_OF_MEMORY.search(line) for line in lines)


def has_yosys_error(lines: Iterable[str]) -> bool:
    """Whether yosys reported an error."""
    return any(_YOSYS_ERROR.match(line) for line in lines)


def yosys_failure(lines: Sequence[str], code: Code) -> BuildFailure:
    """The failure yosys reported: its last ERROR line, as `file:line: message` where it gave a place."""
    for line in reversed(lines):
        if match := _YOSYS_ERROR.match(line):
            where, what = match["where"], match["what"] or match["plain"]
            if what.startswith("syntax error"):
                code = Code.SYNTAX_ERROR
            return BuildFailure(code, f"{where.removeprefix('./')}: {what}" if where else what)
    return BuildFailure(code, last_words(lines, "yosys"))


def nextpnr_failure(lines: Sequence[str]) -> BuildFailure:
    """The failure nextpnr reported; a design too large for the device names every resource it exceeds."""
    errors = [match["what"] for line in lines if (match := _NEXTPNR_ERROR.match(line))]
    exceeded = _exceeded(lines)
    if exceeded:
        return BuildFailure(Code.DOES_NOT_FIT, f"the design does not fit: {'; '.join(exceeded)}")
    if errors and _NO_BEL.search(errors[-1]):
        return BuildFailure(Code.DOES_NOT_FIT, f"the design does not fit: {errors[-1]}")
    message = errors[-1] if errors else last_words(lines, "nextpnr")
    return BuildFailure(Code.PLACE_AND_ROUTE_FAILED, message)


def _exceeded(lines: Sequence[str]) -> list[str]:
    found: dict[str, str] = {}
    for line in lines:
        match = _UTILISATION.match(line)
        if match and int(match["used"]) > int(match["available"]):
            cell = match["cell"]
            title = RESOURCE_NAMES.get(cell, cell)
            found[cell] = f"it uses {match['used']} {title}, the device has {match['available']}"
    return list(found.values())


def pack_failure(lines: Sequence[str]) -> BuildFailure:
    """The failure ecppack reported."""
    return BuildFailure(Code.PACK_FAILED, last_words(lines, "ecppack"))


def last_words(lines: Sequence[str], tool: str) -> str:
    """A tool's last three lines, for want of an error of a known form."""
    words = [line.strip() for line in lines if line.strip()][-3:]
    return " / ".join(words) if words else f"{tool} stopped without a word"


def warnings(lines: Iterable[str]) -> list[str]:
    """The tools' distinct warnings in order, at most `WARNINGS_MAX`."""
    found = dict.fromkeys(match["what"] for line in lines if (match := _WARNING.match(line)))
    return list(found)[:WARNINGS_MAX]
