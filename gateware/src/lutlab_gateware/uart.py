"""A serial line, 8 data bits, no parity, one stop bit; `divider` clock cycles a bit.

Both halves come to a complete stop on an idle line (no flip-flop changes), so that a simulator can skip idle time.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal

DIVIDER_MIN = 4
"""Below four samples a bit the two synchroniser stages leave no middle of the bit to sample."""
DIVIDER_MAX = 65_535
"""The information word that reports the divider has 16 bits for it."""

_LAST_BIT = 9
"""Index of the stop bit when the start bit is 0."""


def check_divider(divider: int) -> int:
    """Return `divider` (clock cycles a bit).

    Raises:
        ValueError: it is outside `DIVIDER_MIN`..`DIVIDER_MAX`.
    """
    if not DIVIDER_MIN <= divider <= DIVIDER_MAX:
        raise ValueError(
            f"UART divider {divider} is outside {DIVIDER_MIN}..{DIVIDER_MAX} clock cycles a bit; "
            "choose another baud rate or clock"
        )
    return divider


class UartRx(Elaboratable):
    """Serial receiver.

    The line passes two flip-flops. A start bit that is no longer low in its middle is taken for a glitch and forgotten;
    a low stop bit is a framing error, after which the line must go high before the next start bit counts. With 4 cycles
    a bit the sender may be 2 % off, with 16 or more 3 %.

    Args:
        divider: clock cycles a bit, at least 4.

    Attributes:
        rx: in, the line.
        data: out, 8 bits, the byte received; valid while `stb`.
        stb: out, one cycle for each byte with a good stop bit.
        err: out, one cycle for each framing error.
    """

    def __init__(self, divider: int) -> None:
        self.divider = check_divider(divider)
        self.rx = Signal(init=1)
        self.data = Signal(8)
        self.stb = Signal()
        self.err = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        meta = Signal(init=1)
        line = Signal(init=1)
        m.d.sync += [meta.eq(self.rx), line.eq(meta)]

        timer = Signal(range(self.divider))
        bit = Signal(range(_LAST_BIT + 1))
        m.d.sync += [self.stb.eq(0), self.err.eq(0)]
        with m.FSM():
            with m.State("IDLE"), m.If(~line):
                m.d.sync += [timer.eq(self.divider // 2 - 1), bit.eq(0)]
                m.next = "BITS"
            with m.State("BITS"):
                with m.If(timer != 0):
                    m.d.sync += timer.eq(timer - 1)
                with m.Else():
                    m.d.sync += [timer.eq(self.divider - 1), bit.eq(bit + 1)]
                    with m.If(bit == _LAST_BIT):
                        m.d.sync += [self.stb.eq(line), self.err.eq(~line)]
                        # Straight to the next start bit: a sender slightly faster than us leaves no cycle to spare.
                        m.next = "IDLE"
                        with m.If(~line):
                            m.next = "RELEASE"
                    with m.Elif((bit == 0) & line):
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += self.data.eq(Cat(self.data[1:], line))
            with m.State("RELEASE"), m.If(line):
                m.next = "IDLE"
        return m


class UartTx(Elaboratable):
    """Serial transmitter with one byte of buffer, so that bytes follow each other without a gap.

    Args:
        divider: clock cycles a bit, at least 4.

    Attributes:
        tx: out, the line.
        data: in, 8 bits, taken in a cycle where `stb` and `ready` are both high.
        stb: in, `data` is valid.
        ready: out, the buffer is empty.
        busy: out, a byte is on the line or in the buffer.
    """

    def __init__(self, divider: int) -> None:
        self.divider = check_divider(divider)
        self.tx = Signal(init=1)
        self.data = Signal(8)
        self.stb = Signal()
        self.ready = Signal()
        self.busy = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(8)
        full = Signal()
        m.d.comb += self.ready.eq(~full)
        with m.If(self.stb & ~full):
            m.d.sync += [held.eq(self.data), full.eq(1)]

        timer = Signal(range(self.divider))
        left = Signal(range(_LAST_BIT + 1))
        # The line is a flip-flop of its own: a glitch on it would be a start bit for the other side.
        shift = Signal(_LAST_BIT, init=(1 << _LAST_BIT) - 1)
        m.d.comb += [self.tx.eq(shift[0]), self.busy.eq(full | (left != 0) | (timer != 0))]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [timer.eq(self.divider - 1), left.eq(left - 1), shift.eq(Cat(shift[1:], 1))]
        with m.Elif(full):
            m.d.sync += [timer.eq(self.divider - 1), left.eq(_LAST_BIT), shift.eq(Cat(0, held)), full.eq(0)]
        return m
