"""Boards without hardware: look at their pins, press their buttons, record their signals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, BoardId, note, out, out_json, out_table, parse_number, with_lab
from lutlab.ui import screen

LEVEL_MAX = (1 << 63) - 1
REGISTER = " register "
"""Part of the name of a register by its place, of which there are too many to list."""


@with_lab
def pins(
    lab: Client,
    *,
    board: BoardId,
    levels: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=LEVEL", help="Inputs to set first, e.g. button0=1; the board must be yours."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a board's LEDs, buttons, switches; or set some first."""
    wanted = dict(_assignment(text, 1) for text in levels or ())
    found = lab.set_pins(board, wanted) if wanted else lab.pins(board)
    if as_json:
        out_json(found)
        return
    out_table(("name", "pin", "way", "level"), [(p.name, p.pin, p.way, p.level) for p in found])


@with_lab
def signals(
    lab: Client,
    *,
    board: BoardId,
    registers: Annotated[bool, typer.Option("--registers", help="Also list registers by their place.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what `capture` can record: pins and named registers."""
    found = [signal for signal in lab.signals(board) if registers or REGISTER not in signal.name]
    if as_json:
        out_json(found)
        return
    bits = {signal.name for signal in found if signal.bits > 1}
    rows = [(s.name, s.bits) for s in found if not (s.name.endswith("]") and s.name.rpartition("[")[0] in bits)]
    out_table(("signal", "bits"), rows)


@with_lab
def capture(
    lab: Client,
    *,
    board: BoardId,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="SIGNAL", help="What to record, as `lutlab signals` names it. Default: all pins."),
    ] = None,
    cycles: Annotated[int, typer.Option("--cycles", help="Clock cycles to record.", min=1, max=100_000)] = 1000,
    trigger: Annotated[
        str | None, typer.Option("--trigger", metavar="SIGNAL=LEVEL", help="Start when a signal changes to this.")
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait-s", help="How long to wait for that.", min=0, max=30)] = 5.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: standard output.")
    ] = None,
) -> None:
    """Record signals of the design on your board, as a VCD."""
    start = _assignment(trigger, LEVEL_MAX) if trigger else None
    with screen(sys.stderr) as live:
        if start is not None:
            live.doing(f"waiting for {trigger}, {wait_s:g} s at most")
        text = lab.capture(board, cycles, names or (), trigger=start, wait_s=wait_s)
    if output is None:
        out(text.rstrip("\n"))
        return
    output.write_text(text, encoding="utf-8")
    note(f"{cycles} cycles in {output}")


def _assignment(text: str, largest: int) -> tuple[str, int]:
    """A name and its level. Raises: typer.BadParameter."""
    name, equals, level = text.rpartition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is no NAME=LEVEL, e.g. button0=1")
    return name, parse_number(level, f"the level of {name}", largest)
