"""Echo memory: 512 words of 32 bits; what you write is what you read.

The smallest useful design. It shows the contract (eight `wb_*` signals, a class that needs no arguments) and a
registered acknowledge: `wb_ack` rises one cycle after the request, which is when the block RAM's output is valid.
"""

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory


class EchoMemory(Elaboratable):
    """512 x 32 bits at words 0..511; `wb_sel` picks bytes."""

    def __init__(self):
        self.wb_cyc = Signal()
        self.wb_stb = Signal()
        self.wb_we = Signal()
        self.wb_adr = Signal(9)
        self.wb_dat_w = Signal(32)
        self.wb_sel = Signal(4)
        self.wb_dat_r = Signal(32)
        self.wb_ack = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=512, init=[])
        write_port = memory.write_port(granularity=8)
        read_port = memory.read_port()
        request = self.wb_cyc & self.wb_stb & ~self.wb_ack
        m.d.comb += [
            read_port.addr.eq(self.wb_adr),
            write_port.addr.eq(self.wb_adr),
            write_port.data.eq(self.wb_dat_w),
            write_port.en.eq(self.wb_sel & (request & self.wb_we).replicate(4)),
            self.wb_dat_r.eq(read_port.data),
        ]
        m.d.sync += self.wb_ack.eq(request)
        return m
