"""Coverage: read from Verilator's records and from traces, merged over tests, and written as Cobertura.

What is counted, of the design's own files:

- line: lines that hold statements; hit if one of them ran.
- branch: the ways out of `if`, `case` and `?:`; hit if it was taken.
- toggle: for every bit of every signal its rise and its fall.
- fsm: the states of registers that hold an enum and are assigned by a clocked process; hit if a trace shows the state.

Hits of the same place in several instances and tests are added.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

from lutlab_verify.share import percent

KINDS = ("line", "toggle", "branch", "fsm")
LINES_MAX = 200_000
"""Lines with data in one result."""
POINTS_MAX = 2_000_000
SPANNED_MAX = 5_000_000
"""Lines of all points together, each point's counted."""
_RECORD = re.compile(r"C '(.*)' (\d+)$")
_CODE_PAGES = {"v_line": "line", "v_branch": "branch", "v_toggle": "toggle"}


class CoverageTooLarge(ValueError):
    """A record holds more than the limits allow; no simulator writes such for a design of allowed size."""


PointKey = tuple[str, int, str, str]
"""(file, line, kind, the point's own name). Variants of a module with other parameters have the same points."""


@dataclass(frozen=True)
class Point:
    """A place whose executions are counted: file, line, what kind, and which lines it covers."""

    file: str
    line: int
    kind: str
    lines: tuple[int, ...]


@dataclass
class Coverage:
    """Points and their hits, of any number of runs.

    Attributes:
        points, hits: by the points' keys.
        states: per FSM register, from `describe` and `fsm_trace`.
    """

    points: dict[PointKey, Point] = field(default_factory=dict)
    hits: Counter[PointKey] = field(default_factory=Counter)
    states: list[dict[str, Any]] = field(default_factory=list)
    _spanned: int = 0

    def add_verilator(self, text: str, files: Mapping[str, str]) -> None:
        """Add a `coverage.dat`.

        Args:
            files: names in it to the project's; points elsewhere (test benches) are left out.

        Raises:
            CoverageTooLarge: beyond POINTS_MAX or SPANNED_MAX.
        """
        for line in text.splitlines():
            record = _RECORD.match(line)
            if record is None:
                continue
            fields = dict(part.split("\x02", 1) for part in record[1].split("\x01") if "\x02" in part)
            kind = _CODE_PAGES.get(fields.get("page", "").split("/", 1)[0])
            file = files.get(fields.get("f", ""))
            if kind is None or file is None:
                continue
            number = int(fields.get("l", 0))
            key = (file, number, kind, f"{fields.get('n', '')}:{fields.get('o', '')}")
            if key not in self.points:
                lines = _spanned(fields.get("S", ""), number)
                self._spanned += len(lines)
                if len(self.points) >= POINTS_MAX or self._spanned > SPANNED_MAX:
                    raise CoverageTooLarge(f"more than {POINTS_MAX} points or {SPANNED_MAX} lines in coverage records")
                self.points[key] = Point(file, number, kind, lines)
            self.hits[key] += int(record[2])

    def percentages(self, kinds: Iterable[str]) -> dict[str, float | None]:
        """Per kind, one decimal; None if the design has nothing of the kind."""
        return {kind: self._percentage(kind) for kind in KINDS if kind in kinds}

    def _percentage(self, kind: str) -> float | None:
        if kind == "line":
            hits = [count for lines in self.line_hits().values() for count in lines.values()]
        elif kind == "fsm":
            hits = [count for register in self.states for count in register["states"].values()]
        else:
            hits = [self.hits[key] for key, point in self.points.items() if point.kind == kind]
        return percent(_hit(hits), len(hits))

    def line_hits(self) -> dict[str, dict[int, int]]:
        """Per file and line with statements, how often they ran."""
        lines: dict[str, dict[int, int]] = defaultdict(dict)
        for key, point in self.points.items():
            if point.kind in ("line", "branch"):
                own = lines[point.file]
                # The line a branch stands on ran if any of its ways was taken.
                for number in {point.line, *point.lines}:
                    own[number] = max(own.get(number, 0), self.hits[key])
        return lines

    def per_line(self, kinds: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Everything about each line, for display: `kind` and `hits`, and what of branches, bits and states was hit.

        `kind` is the first of branch, line, fsm, toggle that the line has. `hits` counts executions for branch and
        line, entries for fsm, and covered points for toggle.
        """
        wanted = set(kinds)
        files: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._add_toggles(files, wanted)
        self._add_states(files, wanted)
        if "line" in wanted or "branch" in wanted:
            for file, lines in self.line_hits().items():
                for number, count in lines.items():
                    files[file].setdefault(number, {}).update(kind="line", hits=count)
        self._add_branches(files, wanted)
        left = LINES_MAX
        shown: dict[str, dict[str, dict[str, Any]]] = {}
        for file in sorted(files):
            shown[file] = {str(number): files[file][number] for number in sorted(files[file])[:left]}
            left -= len(shown[file])
        return shown

    def _add_toggles(self, files: dict[str, dict[int, dict[str, Any]]], wanted: set[str]) -> None:
        for key, point in self.points.items():
            if point.kind == "toggle" and "toggle" in wanted:
                entry = files[point.file].setdefault(point.line, {"kind": "toggle", "hits": 0})
                counts = entry.setdefault("toggles", {"hit": 0, "total": 0})
                counts["total"] += 1
                counts["hit"] += self.hits[key] > 0
                entry["hits"] = counts["hit"]

    def _add_states(self, files: dict[str, dict[int, dict[str, Any]]], wanted: set[str]) -> None:
        for register in self.states if "fsm" in wanted else ():
            for name, count in register["states"].items():
                file, line = register["places"][name]
                entry = files[file].setdefault(line, {})
                before = entry["hits"] if entry.get("kind") == "fsm" else 0  # states may share a line
                entry.update(kind="fsm", hits=before + count)
                entry.setdefault("states", {})[f"{register['module']}.{register['register']}: {name}"] = count

    def _add_branches(self, files: dict[str, dict[int, dict[str, Any]]], wanted: set[str]) -> None:
        for key, point in self.points.items():
            if point.kind == "branch" and "branch" in wanted:
                entry = files[point.file].setdefault(point.line, {"hits": 0})
                entry["kind"] = "branch"
                entry["hits"] = max(entry["hits"], self.hits[key])
                counts = entry.setdefault("branches", {"hit": 0, "total": 0})
                counts["total"] += 1
                counts["hit"] += self.hits[key] > 0


def _spanned(text: str, line: int) -> tuple[int, ...]:
    """Lines in Verilator's notation: `12,14-16`."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            numbers += range(int(first), min(int(last or first), int(first) + LINES_MAX) + 1)
    return tuple(numbers) or (line,)


def fsm_states(registers: Sequence[dict[str, Any]], visited: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per register: where it stands, entries per state (0 for those never seen), and transitions seen."""
    result = []
    for register, seen in zip(registers, visited, strict=True):
        result.append(
            {
                "module": register["module"],
                "register": register["register"],
                "file": register["file"],
                "line": register["line"],
                "states": {state["name"]: int(seen["entries"].get(state["name"], 0)) for state in register["states"]},
                "places": {
                    state["name"]: (state["file"] or register["file"], state["line"]) for state in register["states"]
                },
                "transitions": dict(seen["transitions"]),
            }
        )
    return result


def cobertura(coverage: Coverage, version: str) -> str:
    """Line and branch coverage in Cobertura's format; its timestamp is 0, so that the same run gives the same file."""
    lines = coverage.line_hits()
    branches: dict[tuple[str, int], list[int]] = defaultdict(list)
    for key, point in coverage.points.items():
        if point.kind == "branch":
            branches[point.file, point.line].append(coverage.hits[key])
    all_lines = [count for own in lines.values() for count in own.values()]
    all_branches = [count for counts in branches.values() for count in counts]
    head = (
        f'<coverage {_rates(all_lines, all_branches)} lines-covered="{_hit(all_lines)}" lines-valid="{len(all_lines)}"'
        f' branches-covered="{_hit(all_branches)}" branches-valid="{len(all_branches)}" complexity="0"'
        f' version={quoteattr(version)} timestamp="0">'
    )
    out = ['<?xml version="1.0" encoding="UTF-8"?>', head, "  <sources><source>.</source></sources>", "  <packages>"]
    out.append(f'    <package name="design" {_rates(all_lines, all_branches)} complexity="0"><classes>')
    for file in sorted(lines):
        own = [count for (name, _line), counts in branches.items() if name == file for count in counts]
        rates = _rates(list(lines[file].values()), own)
        out.append(f'      <class name={quoteattr(file)} filename={quoteattr(file)} {rates} complexity="0">')
        out.append("        <methods/><lines>")
        for number in sorted(lines[file]):
            ways = branches.get((file, number))
            extra = ' branch="false"'
            if ways:
                covered = f"{100 * _hit(ways) // len(ways)}% ({_hit(ways)}/{len(ways)})"
                extra = f' branch="true" condition-coverage="{covered}"'
            out.append(f'          <line number="{number}" hits="{lines[file][number]}"{extra}/>')
        out += ["        </lines>", "      </class>"]
    return "\n".join([*out, "    </classes></package>", "  </packages>", "</coverage>", ""])


def _hit(counts: Sequence[int]) -> int:
    return sum(count > 0 for count in counts)


def _rates(lines: Sequence[int], branches: Sequence[int]) -> str:
    line = _hit(lines) / len(lines) if lines else 1.0
    branch = _hit(branches) / len(branches) if branches else 1.0
    return f'line-rate="{line:.4f}" branch-rate="{branch:.4f}"'
