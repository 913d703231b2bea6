"""Which states of enum registers a trace visits.

usage: python -m lutlab_verify.inside.fsm_trace OUTPUT REGISTERS.json TRACE...

REGISTERS.json is what `describe` wrote. A state is hit each time the register takes its value. What is in no trace,
or in a trace that cannot be read, counts nothing.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pywellen

CHANGES_MAX = 5_000_000


def visits(changes: Any, states: dict[int, str]) -> tuple[Counter[str], Counter[str]]:
    """(entries per state, transitions `A -> B`) of one register's changes."""
    entries: Counter[str] = Counter()
    transitions: Counter[str] = Counter()
    last: str | None = None
    for count, (_time, value) in enumerate(changes):
        if count >= CHANGES_MAX:
            break
        state = states.get(value) if isinstance(value, int) else None
        if state is not None and state != last:
            entries[state] += 1
            if last is not None:
                transitions[f"{last} -> {state}"] += 1
        last = state
    return entries, transitions


def main(output: str, registers_file: str, traces: list[str]) -> None:
    """Write entries and transitions per register, in the order of REGISTERS.json."""
    registers = json.loads(Path(registers_file).read_text(encoding="utf-8"))["registers"]
    totals: list[tuple[Counter[str], Counter[str]]] = [(Counter(), Counter()) for _ in registers]
    unread = []
    for trace in traces:
        try:
            wave = pywellen.Waveform(trace)  # type: ignore[attr-defined]  # not in its stubs
        except Exception as error:  # whatever a broken trace does to the reader
            unread.append(f"{trace}: {error}")
            continue
        by_path = {path: index for index, register in enumerate(registers) for path in register["paths"]}
        names = {path.rpartition(".")[2] for path in by_path}
        for variable in wave.all_vars():
            if variable.name not in names:
                continue
            index = _index(variable.full_name, by_path)
            if index is not None:
                states = {state["value"]: state["name"] for state in registers[index]["states"]}
                entries, transitions = visits(variable.tv, states)
                totals[index][0].update(entries)
                totals[index][1].update(transitions)
    report = [{"entries": dict(entries), "transitions": dict(moves)} for entries, moves in totals]
    Path(output).write_text(json.dumps({"registers": report, "unread": unread}), encoding="utf-8")


def _index(name: str, by_path: dict[str, int]) -> int | None:
    """The register of a trace's variable: simulators put scopes of their own above the top module."""
    while name:
        if name in by_path:
            return by_path[name]
        _scope, _dot, name = name.partition(".")
    return None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
