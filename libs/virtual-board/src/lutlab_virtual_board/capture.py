"""Levels of chosen signals of a running design over some cycles, as a value change dump (IEEE 1364, "VCD")."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from lutlab_virtual_board.errors import VirtualBoardError
from lutlab_virtual_board.fabric import Fabric, Signal

CYCLES_MAX = 100_000
SIGNALS_MAX = 256
WAIT_S_MAX = 30.0
"""How long a trigger is waited for."""

_CHUNK_CYCLES = 5_000
"""Cycles after which the bytes of the serial line are moved."""

_FIRST_MARK = 33
_MARKS = 94


class CaptureRefused(VirtualBoardError):
    """A capture asks for what the design does not have, or for too much."""

    code = "capture_refused"


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a capture starts: the first cycle after which a signal has changed to a level."""

    signal: str
    level: int


class Capture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request.

    Attributes:
        cycles: to record.
        signals: names; all pins if none are given.
        trigger: when to start; at once if not given.
        wait_s: how long to wait for the trigger, in seconds of the host.
    """

    cycles: int
    signals: tuple[str, ...] = ()
    trigger: Trigger | None = None
    wait_s: float = 5.0


def capture(fabric: Fabric, names: dict[str, Signal], wanted: Capture, pump: Callable[[], None]) -> str:
    """Run the design for a while and write down what its signals do.

    Args:
        fabric: the running design, which goes on in time.
        names: of what can be looked at.
        wanted: the request.
        pump: moves the bytes between the serial line and its user; called now and then.

    Returns:
        A VCD whose time unit is a clock cycle's period in picoseconds.

    Raises:
        CaptureRefused: a name is unknown, a number too large, or the trigger did not come.
    """
    chosen = wanted.signals or tuple(name for name, (kind, _) in names.items() if kind < 2)
    if not 1 <= wanted.cycles <= CYCLES_MAX or len(chosen) > SIGNALS_MAX:
        raise CaptureRefused(f"record 1 to {CYCLES_MAX} cycles of at most {SIGNALS_MAX} signals")
    signals = [_find(names, name) for name in chosen]
    if wanted.trigger is not None:
        _wait(fabric, _find(names, wanted.trigger.signal), wanted, pump)
    start, levels = fabric.cycles, b""
    for done in range(0, wanted.cycles, _CHUNK_CYCLES):
        levels += fabric.record(signals, min(_CHUNK_CYCLES, wanted.cycles - done))
        pump()
    return _vcd(list(chosen), levels, round(1e12 / fabric.clock_hz), start)


def _find(names: dict[str, Signal], name: str) -> Signal:
    try:
        return names[name]
    except KeyError:
        raise CaptureRefused(f"the design has no signal {name!r}; GET .../pins names those it has") from None


def _wait(fabric: Fabric, signal: Signal, wanted: Capture, pump: Callable[[], None]) -> None:
    """Run until the trigger's signal comes to its level."""
    assert wanted.trigger is not None
    wait_s = min(max(wanted.wait_s, 0.0), WAIT_S_MAX)
    end_s = time.monotonic() + wait_s
    while True:
        pump()
        if fabric.run_until(signal, wanted.trigger.level, _CHUNK_CYCLES):
            return
        if time.monotonic() > end_s:
            raise CaptureRefused(f"{wanted.trigger.signal} did not come to {wanted.trigger.level} within {wait_s:g} s")


def _mark(number: int) -> str:
    text = ""
    while True:
        text += chr(_FIRST_MARK + number % _MARKS)
        number //= _MARKS
        if not number:
            return text


def _vcd(names: list[str], levels: bytes, period_ps: int, start: int) -> str:
    marks = [_mark(number) for number in range(len(names))]
    lines = [
        f"$comment cycles from {start} of the board's clock, {period_ps} ps each $end",
        "$timescale 1 ps $end",
        "$scope module board $end",
        *(f"$var wire 1 {mark} {name.replace(' ', '_')} $end" for mark, name in zip(marks, names, strict=True)),
        "$upscope $end",
        "$enddefinitions $end",
    ]
    width, before = len(names), b"\xff" * len(names)
    for cycle in range(len(levels) // width):
        row = levels[cycle * width : (cycle + 1) * width]
        if row != before:
            lines.append(f"#{cycle * period_ps}")
            lines += [f"{level}{marks[i]}" for i, level in enumerate(row) if level != before[i]]
            before = row
    return "\n".join([*lines, f"#{len(levels) // width * period_ps}", ""])
