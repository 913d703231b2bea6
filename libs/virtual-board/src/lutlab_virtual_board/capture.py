"""Levels of chosen signals of a running design over some cycles, as a value change dump (IEEE 1364, "VCD")."""

from __future__ import annotations

import difflib
import time
from typing import Protocol

import msgspec

from lutlab_virtual_board.errors import VirtualBoardError
from lutlab_virtual_board.fabric import Fabric, Signal

CYCLES_MAX = 100_000
SIGNALS_MAX = 256
WAIT_S_MAX = 30.0
"""How long a trigger is waited for."""

BITS_MAX = 1024
"""Of all signals of a recording together."""
NEAR_NAMES = 5

Bits = tuple[Signal | None, ...]
"""A signal, least significant bit first; None for a bit that nothing holds."""

_CHUNK_CYCLES = 5_000
"""Cycles after which the bytes of the serial line are moved, and others at the side door get their turn."""
_NUMBER_CYCLES = 500
"""Likewise where each cycle is looked at."""

_REGISTER = 2
"""The kind of signal that is no pin."""

_FIRST_MARK = 33
_MARKS = 94


class CaptureRefused(VirtualBoardError):
    """A capture asks for what the design does not have, or for too much."""

    code = "capture_refused"


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a capture starts: the first cycle after which a signal has changed to a level, or to a number.

    For a number the design is looked at cycle by cycle, at some ten thousand cycles a second.
    """

    signal: str
    level: int


class Capture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request.

    Attributes:
        cycles: to record.
        signals: names; all pins if none are given. A bit of several is `name[3]`.
        trigger: when to start; at once if not given.
        wait_s: how long to wait for the trigger, in seconds of the host.
    """

    cycles: int
    signals: tuple[str, ...] = ()
    trigger: Trigger | None = None
    wait_s: float = 5.0


class Stage(Protocol):
    """Where a recording takes place."""

    @property
    def fabric(self) -> Fabric | None:
        """What runs now; another object of the same design after a better build."""

    @property
    def runs(self) -> int:
        """Grows whenever another design runs, or the same from its start."""

    def pump(self) -> None:
        """Move the bytes between the serial line and its user."""


class Recording:
    """A recording under way. The design goes on in time by its steps, and must not be run beside them.

    Args:
        stage: where the design runs.
        names: of what can be looked at.
        wanted: the request.

    Raises:
        CaptureRefused: a name is unknown, or a number too large.
    """

    def __init__(self, stage: Stage, names: dict[str, Bits], wanted: Capture) -> None:
        chosen = wanted.signals or tuple(name for name, bits in names.items() if bits[0] and bits[0][0] < _REGISTER)
        if not 1 <= wanted.cycles <= CYCLES_MAX or len(chosen) > SIGNALS_MAX:
            raise CaptureRefused(f"record 1 to {CYCLES_MAX} cycles of at most {SIGNALS_MAX} signals")
        self._stage, self._wanted, self._runs = stage, wanted, stage.runs
        self._shown = {name: _find(names, name) for name in chosen}
        self._signals = [bit for bits in self._shown.values() for bit in bits if bit]
        if len(self._signals) > BITS_MAX:
            raise CaptureRefused(f"the signals have {len(self._signals)} bits together; record {BITS_MAX} at most")
        self._await = _Trigger(_find(names, wanted.trigger.signal), wanted.trigger) if wanted.trigger else None
        self._wait_s = min(max(wanted.wait_s, 0.0), WAIT_S_MAX)
        self._end_s = time.monotonic() + self._wait_s
        self._start: int | None = None
        self._levels = bytearray()
        self._done = 0

    def step(self) -> str | None:
        """Go on for a moment.

        Returns:
            The VCD, whose time unit is a picosecond, once it is complete.

        Raises:
            CaptureRefused: the trigger did not come in time, or the design was taken away.
        """
        fabric = self._stage.fabric
        if fabric is None or self._stage.runs != self._runs:
            raise CaptureRefused("the design was stopped or started again while it was recorded")
        self._stage.pump()
        if self._await is not None:
            if self._await.come(fabric):
                self._await = None
            elif time.monotonic() > self._end_s:
                raise CaptureRefused(f"{self._await.words} within {self._wait_s:g} s")
            return None
        if self._start is None:
            self._start = fabric.cycles
        cycles = min(_CHUNK_CYCLES, self._wanted.cycles - self._done)
        self._levels += fabric.record(self._signals, cycles)
        self._done += cycles
        if self._done < self._wanted.cycles:
            return None
        return _vcd(self._shown, bytes(self._levels), round(1e12 / fabric.clock_hz), self._start)


def _find(names: dict[str, Bits], name: str) -> Bits:
    try:
        return names[name]
    except KeyError:
        near = difflib.get_close_matches(name, names, NEAR_NAMES)
        hint = f"; near to it are {', '.join(near)}" if near else ""
        raise CaptureRefused(f"the design has no signal {name!r}{hint}; GET .../signals names those it has") from None


class _Trigger:
    """Waits for a signal to come to a level, or, cycle by cycle, to a number."""

    def __init__(self, bits: Bits, wanted: Trigger) -> None:
        if wanted.level < 0 or wanted.level >> len(bits):
            raise CaptureRefused(f"{wanted.signal} has {len(bits)} bits, and never is {wanted.level}")
        if any(wanted.level >> index & 1 for index, bit in enumerate(bits) if bit is None):
            raise CaptureRefused(f"{wanted.signal} never is {wanted.level}: nothing holds some of these bits")
        self.words = f"{wanted.signal} did not come to {wanted.level}"
        self._level = wanted.level
        self._bits = [bit for bit in bits if bit]
        self._levels = _held(bits, wanted.level)
        self._was = True

    def come(self, fabric: Fabric) -> bool:
        """Whether it came within some cycles; the design then stands right after it."""
        if len(self._bits) == 1:
            return fabric.run_until(self._bits[0], self._level, _CHUNK_CYCLES)
        for _ in range(_NUMBER_CYCLES):
            is_now = fabric.record(self._bits, 1) == self._levels
            if is_now and not self._was:
                return True
            self._was = is_now
        return False


def _held(bits: Bits, level: int) -> bytes:
    """A number as the levels of those bits that something holds."""
    return bytes(level >> index & 1 for index, bit in enumerate(bits) if bit)


def _mark(number: int) -> str:
    text = ""
    while True:
        text += chr(_FIRST_MARK + number % _MARKS)
        number //= _MARKS
        if not number:
            return text


def _vcd(shown: dict[str, Bits], levels: bytes, period_ps: int, start: int) -> str:
    marks = dict(zip(shown, map(_mark, range(len(shown))), strict=True))
    lines = [
        f"$comment cycles from {start} of the board's clock, {period_ps} ps each $end",
        "$timescale 1 ps $end",
        "$scope module board $end",
        *(f"$var wire {len(bits)} {marks[name]} {_identifier(name, bits)} $end" for name, bits in shown.items()),
        "$upscope $end",
        "$enddefinitions $end",
    ]
    width, before = sum(bit is not None for bits in shown.values() for bit in bits), b""
    for cycle in range(len(levels) // width):
        row = levels[cycle * width : (cycle + 1) * width]
        if row != before:
            lines.append(f"#{cycle * period_ps}")
            lines += _changes(shown, marks, row, before)
            before = row
    return "\n".join([*lines, f"#{len(levels) // width * period_ps}", ""])


def _identifier(name: str, bits: Bits) -> str:
    """A name without spaces; a vector's has its range behind it, apart."""
    plain = name.replace(" ", "_")
    return f"{plain} [{len(bits) - 1}:0]" if len(bits) > 1 else plain


def _changes(shown: dict[str, Bits], marks: dict[str, str], row: bytes, before: bytes) -> list[str]:
    """The signals that differ between two rows of levels."""
    lines, at = [], 0
    for name, bits in shown.items():
        held = sum(bit is not None for bit in bits)
        now = row[at : at + held]
        if now != before[at : at + held]:
            digits = iter(now)
            text = "".join(str(next(digits)) if bit else "x" for bit in bits)[::-1]
            lines.append(f"b{text} {marks[name]}" if len(bits) > 1 else f"{text}{marks[name]}")
        at += held
    return lines
