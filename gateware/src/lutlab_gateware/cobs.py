"""Consistent overhead byte stuffing, the receiving half. The sending half is where replies are stored (`replies`)."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from lutlab_bus import wire

CODE_MAX = 255
"""The code of a block of 254 bytes that no zero follows."""
_BRIEF_BIT = wire.BRIEF.bit_length() - 1


class CobsDecoder(Elaboratable):
    """Turns bytes of the line into bytes of frames, each at most one for one, a cycle later.

    A zero always ends a frame, so whatever came before, the byte after it is the first of a frame. If its highest bit
    is set, the frame is a brief one, whose bytes are handed on as they are.

    Attributes:
        data, stb, err: in, from `UartRx`.
        byte: out, 8 bits, decoded; held until the next. byte_stb: out, it is new.
        end: out, a zero came. whole: out, valid with `end`: the frame is well-formed and the line had no error in it.
        busy: out, in the middle of a frame.
        brief: out, with its bytes and at its end: the frame is a brief one. broken: out, the line had an error in it.
    """

    def __init__(self) -> None:
        self.data = Signal(8)
        self.stb = Signal()
        self.err = Signal()
        self.byte = Signal(8)
        self.byte_stb = Signal()
        self.end = Signal()
        self.whole = Signal()
        self.busy = Signal()
        self.brief = Signal()
        self.broken = Signal()
        self._left = Signal(8)  # bytes of the block to come
        self._zero_follows = Signal()  # a zero follows the block, unless the frame ends there

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        left, zero_follows, broken = self._left, self._zero_follows, self.broken
        is_raw, is_code, is_zero = Signal(), Signal(), Signal()
        m.d.comb += [
            is_raw.eq(Mux(self.busy, self.brief, self.data[_BRIEF_BIT])),
            is_code.eq((left == 0) & ~is_raw),
            is_zero.eq(self.data == 0),
        ]
        m.d.sync += [self.byte_stb.eq(0), self.end.eq(0)]
        with m.If(self.err):
            m.d.sync += [broken.eq(1), self.busy.eq(1)]
        with m.Elif(self.stb & is_zero):
            m.d.sync += [
                self.end.eq(1),
                self.whole.eq((left == 0) & ~broken),
                left.eq(0),
                zero_follows.eq(0),
                broken.eq(0),
                self.busy.eq(0),
            ]
        with m.Elif(self.stb):
            m.d.sync += [
                self.busy.eq(1),
                self.brief.eq(is_raw),
                self.byte.eq(Mux(is_code, 0, self.data)),
                self.byte_stb.eq(~is_code | zero_follows),
            ]
            with m.If(~is_raw):
                m.d.sync += left.eq(Mux(is_code, self.data, left) - 1)
            with m.If(is_code):
                m.d.sync += zero_follows.eq(self.data != CODE_MAX)
        return m
