"""Turns a trace into a Verilog test bench that fails in simulation as the proof failed. One file, ready to run.

The design in it is the user's after the preprocessor, properties rewritten as plain Verilog on the lines they stood on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lutlab_verify.inside.formal.emit import REPLAY

_NAME = re.compile(r"[A-Za-z_]\w*(?:\[\d+\])*(?:\.[A-Za-z_]\w*(?:\[\d+\])*)*$")
_SLICE = re.compile(r"(?P<base>.*)\[(?P<high>\d+):(?P<low>\d+)\]$")


@dataclass(frozen=True)
class Design:
    """What a test bench must know of a design.

    Attributes:
        top: its module.
        ports: name -> (`input` or `output`, width in bits).
        clock: the clock's input, None if there is none.
        edge: `posedge` or `negedge`.
        variables: registers and memory words, by their hierarchical names.
        constants: what may be any constant (`anyconst`).
        text: the design, as `prepare` prints it for replays.
    """

    top: str
    ports: Mapping[str, tuple[str, int]]
    clock: str | None
    edge: str
    variables: Sequence[str]
    constants: Sequence[str]
    text: str


def bench(design: Design, number: int, title: str, steps: Sequence[Mapping[str, str]]) -> str | None:
    """The test bench of one failing property.

    Args:
        design: the design.
        number: the property's.
        title: for people: its name and place.
        steps: per step: signal -> binary digits.

    Returns: the file's text; None if a port has a name that plain Verilog does not allow.
    """
    if not all(re.fullmatch(r"[A-Za-z_]\w*", port) for port in design.ports):
        return None
    lines = [
        f"// {_line(title)}",
        "// It fails in this run, which a solver found. Run it with Icarus Verilog:",
        "//   iverilog -g2012 -o replay.vvp THIS_FILE && vvp -n replay.vvp",
        "// It ends with $fatal if the property fails as it did in the proof. Waveform: replay.vcd.",
        "`timescale 1ns / 1ns",
        f"module {REPLAY};",
        f"  integer target = {number};",
        "  reg failed = 0, first = 1, settled = 0, ticking = 0;",
        *_declarations(design),
        "  initial begin",
        f'    $dumpfile("replay.vcd"); $dumpvars(0, {REPLAY});',
        *(line for step, values in enumerate(steps) for line in _step(design, step, values)),
        '    if (failed) $fatal(1, "the property fails, as in the proof");',
        '    $display("the property does not fail in this simulator");',
        "    $finish;",
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n" + design.text


def _declarations(design: Design) -> list[str]:
    lines = []
    for port, (direction, width) in design.ports.items():
        what = "reg" if direction == "input" else "wire"
        start = f" = {_idle(design)}" if port == design.clock else ""
        lines.append(f"  {what} [{width - 1}:0] {port}{start};")
    ports = ", ".join(f".{port}({port})" for port in design.ports)
    return [*lines, f"  {design.top} dut ({ports});"]


def _idle(design: Design) -> str:
    return "0" if design.edge == "posedge" else "1"


def _step(design: Design, step: int, values: Mapping[str, str]) -> list[str]:
    """Set inputs; let them settle; look at what must always hold; tick, and look at what holds at ticks."""
    lines = [f"    // step {step}"]
    for port, (direction, width) in design.ports.items():
        if direction == "input" and port != design.clock and port in values:
            lines.append(f"    {port} = {width}'b{values[port]};")
    lines.append("    #1;")
    if step == 0:
        constants = _first_values(design.constants, values)
        lines += [f"    force dut.{name} = {len(bits)}'b{bits};" for name, bits in constants]
        lines += [f"    dut.{name} = {len(bits)}'b{bits};" for name, bits in _first_values(design.variables, values)]
    lines += ["    #1 settled = 1;", "    #1 settled = 0;"]
    if design.clock is not None:
        active = "1" if design.edge == "posedge" else "0"
        lines += [f"    ticking = 1; {design.clock} = {active};", "    #1 ticking = 0; first = 0;"]
        lines.append(f"    #4 {design.clock} = {_idle(design)};")
    return [*lines, "    #2;"]


def _first_values(names: Sequence[str], values: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        sliced = _SLICE.match(name)
        base = sliced["base"] if sliced else name
        bits = values.get(base)
        if bits is None or not _NAME.match(base):
            continue
        if sliced:
            high, low = int(sliced["high"]), int(sliced["low"])
            if high >= len(bits):
                continue
            bits = bits[len(bits) - 1 - high : len(bits) - low]
        found.append((name, bits))
    return found


def _line(title: str) -> str:
    return re.sub(r"[\r\n]", " ", title)
