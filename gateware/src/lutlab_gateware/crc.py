"""The two checks of a frame in one register: CRC-16 for short frames, CRC-32 for long ones, a bit a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal

CYCLES_PER_BYTE = 9
"""Eight bits, and one to look at the first."""
_POLYNOMIAL_32 = 0xEDB8_8320
"""CRC-32/ISO-HDLC (zlib), reflected: the register shifts right."""
_POLYNOMIAL_16 = 0x8408
"""CRC-16/IBM-3740 (0x1021), reflected as well; feeding it each byte's highest bit first makes up for that."""
_INIT = 0xFFFF_FFFF
_RESIDUE_32 = 0xDEBB_20E3
"""The register after any message with its CRC-32 behind it, low byte first. The CRC-16's is zero."""


class SerialCrc(Elaboratable):
    """A running CRC. Bit-serial, because a serial line leaves 40 cycles for a byte: a third of the byte-wise form.

    Both CRCs share the register. The short one lives in its lower half; the upper half idles along, unheard. Who sends
    the CRC sends `out` while `drain` shifts it out, byte by byte.

    Attributes:
        restart: in, go back to the start value. Not together with `run`.
        long: in, CRC-32 instead of CRC-16; constant within a frame.
        run: in, take a byte of `data` into account; both must be held for `CYCLES_PER_BYTE` cycles.
        data: in, 8 bits.
        drain: in, with `run`: shift a byte out instead.
        first: out, `run` and this is the first cycle. done: out, `run` and it is the last.
        out: out, 8 bits, the next byte of the CRC; valid at `first`.
        good: out, what was fed ends with its CRC.
        high, low: out, 8 bits each, the CRC-16 so far.
    """

    def __init__(self) -> None:
        self.restart = Signal()
        self.long = Signal()
        self.run = Signal()
        self.data = Signal(8)
        self.drain = Signal()
        self.first = Signal()
        self.done = Signal()
        self.out = Signal(8)
        self.good = Signal()
        self.high = Signal(8)
        self.low = Signal(8)
        self._crc = Signal(32, init=_INIT)
        self._index = Signal(range(CYCLES_PER_BYTE))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        crc, index = self._crc, self._index
        bit = Signal()  # of the byte; a register, else its multiplexer would be copied into every bit of the CRC
        feedback_16, feedback_32, passed_down = Signal(), Signal(), Signal()
        m.d.comb += [
            feedback_16.eq((crc[0] ^ bit) & ~self.drain & ~self.long),
            feedback_32.eq((crc[0] ^ bit) & ~self.drain & self.long),
            passed_down.eq(crc[16] & self.long),
            self.first.eq(self.run & (index == 0)),
            self.done.eq(self.run & (index == CYCLES_PER_BYTE - 1)),
            self.high.eq(crc[7::-1]),
            self.low.eq(crc[15:7:-1]),
            self.out.eq(Mux(self.long, ~crc[:8], self.high)),
            self.good.eq(
                (crc[:16] == Mux(self.long, _RESIDUE_32 & 0xFFFF, 0)) & ((crc[16:] == _RESIDUE_32 >> 16) | ~self.long)
            ),
        ]
        above = [*(crc[i + 1] for i in range(15)), passed_down, *(crc[i + 1] for i in range(16, 31)), Const(0, 1)]
        fed_back = [
            (feedback_16 if _POLYNOMIAL_16 >> i & 1 else 0) ^ (feedback_32 if _POLYNOMIAL_32 >> i & 1 else 0)
            for i in range(32)
        ]
        with m.If(self.run):
            m.d.sync += [
                index.eq(Mux(self.done, 0, index + 1)),
                bit.eq(self.data.bit_select(index[:3] ^ (~self.long).replicate(3), 1)),
            ]
        with m.If(self.restart):
            m.d.sync += crc.eq(_INIT)
        with m.Elif(self.run & (index != 0)):
            m.d.sync += crc.eq(Cat(bit_above ^ fed for bit_above, fed in zip(above, fed_back, strict=True)))
        return m
