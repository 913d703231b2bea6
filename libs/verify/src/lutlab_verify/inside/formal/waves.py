"""Writes runs as Value Change Dump files (IEEE 1800-2017, 21.7), with the clock drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

STEP_NS = 10


def write_vcd(path: Path, runs: Mapping[str, Sequence[Mapping[str, str]]], clock: str | None, edge: str) -> None:
    """Write runs side by side.

    Args:
        path: of the file.
        runs: scope -> per step: signal (with `.` between scopes) -> binary digits.
        clock: the input that is drawn as a clock whose edge ends each step.
        edge: `posedge` or `negedge`.
    """
    with path.open("w", encoding="utf-8") as out:
        out.write("$version lutlab $end\n$timescale 1ns $end\n")
        codes: dict[tuple[str, str], str] = {}
        for scope, steps in runs.items():
            _declare(out, scope, steps[0] if steps else {}, codes)
        out.write("$enddefinitions $end\n")
        before: dict[str, str] = {}
        for number in range(max(map(len, runs.values()))):
            out.write(f"#{number * STEP_NS}\n")
            for scope, steps in runs.items():
                for signal, value in steps[number].items() if number < len(steps) else ():
                    code = codes[scope, signal]
                    shown = ("0" if edge == "posedge" else "1") if signal == clock else value
                    if before.get(code) != shown:
                        before[code] = shown
                        out.write(f"b{shown} {code}\n" if len(shown) > 1 else f"{shown}{code}\n")
            out.write(f"#{number * STEP_NS + STEP_NS // 2}\n")
            for scope in runs:
                if clock is not None and (scope, clock) in codes:
                    shown = "1" if edge == "posedge" else "0"
                    before[codes[scope, clock]] = shown
                    out.write(f"{shown}{codes[scope, clock]}\n")
        out.write(f"#{max(map(len, runs.values())) * STEP_NS}\n")


def _declare(out: TextIO, scope: str, step: Mapping[str, str], codes: dict[tuple[str, str], str]) -> None:
    out.write(f"$scope module {scope} $end\n")
    opened: list[str] = []
    for signal in sorted(step, key=lambda name: (name.split(".")[:-1], name)):
        *scopes, name = signal.split(".")
        common = 0
        while common < min(len(scopes), len(opened)) and scopes[common] == opened[common]:
            common += 1
        out.write("$upscope $end\n" * (len(opened) - common))
        out.write("".join(f"$scope module {one} $end\n" for one in scopes[common:]))
        opened = scopes
        code = _code(len(codes))
        codes[scope, signal] = code
        out.write(f"$var wire {len(step[signal])} {code} {name} $end\n")
    out.write("$upscope $end\n" * (len(opened) + 1))


def _code(number: int) -> str:
    """A short identifier of printable characters."""
    digits = ""
    while True:
        number, digit = divmod(number, 94)
        digits += chr(33 + digit)
        if number == 0:
            return digits
