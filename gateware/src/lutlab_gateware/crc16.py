"""CRC-16 over bytes: polynomial 0x1021, start value 0xffff, not reflected (CRC-16/IBM-3740)."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal

from lutlab_bus import wire


class Crc16(Elaboratable):
    """A running CRC, one byte a cycle.

    The byte-wise form needs 24 LUTs: with t = high byte ^ data and t ^= t >> 4, the next value is
    low byte << 8 ^ t << 12 ^ t << 5 ^ t. Two things follow. Over a frame with its CRC behind it, high byte first, the
    result is zero. And a byte equal to `high` only shifts the register, so who sends `high` twice has sent the CRC.

    Attributes:
        data: in, 8 bits. valid: in, take `data` into account.
        restart: in, go back to the start value; `valid` wins over it.
        high: out, the high byte. zero: out, the whole register is zero.
    """

    def __init__(self) -> None:
        self.data = Signal(8)
        self.valid = Signal()
        self.restart = Signal()
        self.high = Signal(8)
        self.zero = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        crc = Signal(16, init=wire.CRC_INIT)
        folded, t = Signal(8), Signal(8)
        m.d.comb += [
            self.high.eq(crc[8:]),
            self.zero.eq(crc == 0),
            folded.eq(self.high ^ self.data),
            t.eq(folded ^ folded[4:]),
        ]
        with m.If(self.valid):
            m.d.sync += crc.eq(Cat(t ^ (t << 5)[:8], crc[:8] ^ (t << 4)[:8] ^ t[3:]))
        with m.Elif(self.restart):
            m.d.sync += crc.eq(wire.CRC_INIT)
        return m
