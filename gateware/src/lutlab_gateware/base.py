"""The base design: what a board runs while nobody uses it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory

BASE_ID = 0x4C55_5442
"""Word 0 ("LUTB"): tells the base design from a user's."""
BASE_VERSION = 1
"""Word 1; rises when the register map changes."""
SCRATCH_WORDS = 16
SCRATCH_ADDRESS = 16
"""First word of the scratch RAM."""


class BaseTarget(Elaboratable):
    """Word 0: `BASE_ID`, word 1: `BASE_VERSION`, words 16..31: scratch RAM, all others: zero, writes ignored.

    The scratch RAM lets a self-test check every data line of the path to the board. `wb_sel` picks bytes.
    """

    def __init__(self) -> None:
        self.wb_cyc = Signal()
        self.wb_stb = Signal()
        self.wb_we = Signal()
        self.wb_adr = Signal(9)
        self.wb_dat_w = Signal(32)
        self.wb_sel = Signal(4)
        self.wb_dat_r = Signal(32)
        self.wb_ack = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.scratch = scratch = Memory(shape=32, depth=SCRATCH_WORDS, init=[])
        write_port = scratch.write_port(granularity=8)
        read_port = scratch.read_port(domain="comb")
        request = Signal()
        is_scratch = Signal()
        m.d.comb += [
            request.eq(self.wb_cyc & self.wb_stb & ~self.wb_ack),
            is_scratch.eq(self.wb_adr[4:] == SCRATCH_ADDRESS // SCRATCH_WORDS),
            write_port.addr.eq(self.wb_adr),
            write_port.data.eq(self.wb_dat_w),
            write_port.en.eq(self.wb_sel & (request & self.wb_we & is_scratch).replicate(4)),
            read_port.addr.eq(self.wb_adr),
        ]
        m.d.sync += self.wb_ack.eq(request)
        with m.If(request):
            m.d.sync += self.wb_dat_r.eq(0)
            with m.If(is_scratch):
                m.d.sync += self.wb_dat_r.eq(read_port.data)
            with m.Elif(self.wb_adr == 0):
                m.d.sync += self.wb_dat_r.eq(BASE_ID)
            with m.Elif(self.wb_adr == 1):
                m.d.sync += self.wb_dat_r.eq(BASE_VERSION)
        return m
