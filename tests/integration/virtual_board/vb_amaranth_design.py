"""Unusual designs in Amaranth: its memories, queues and checksums, on both edges of one clock."""

from __future__ import annotations

from amaranth import Cat, ClockDomain, ClockSignal, Elaboratable, Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.lib import crc, data, memory
from amaranth.lib.fifo import AsyncFIFO, SyncFIFOBuffered


class Kitchen(Elaboratable):
    """A bit of everything that Amaranth's library has, fed by noise and a serial input.

    Attributes:
        clk, rx: inputs.
        o: sixteen bits of what it computes.
    """

    def __init__(self) -> None:
        self.clk, self.rx, self.o = Signal(name="clk"), Signal(name="rx"), Signal(16, name="o")

    def elaborate(self, platform):  # type: ignore[no-untyped-def]  # the platform's types are Amaranth's own
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.domains.fall = ClockDomain(clk_edge="neg", reset_less=True)
        m.d.comb += [ClockSignal("sync").eq(self.clk), ClockSignal("fall").eq(self.clk)]
        noise = Signal(32, init=0x2545F491)
        a = noise ^ (noise << 13)[:32]
        b = a ^ (a >> 17)
        m.d.sync += noise.eq(b ^ (b << 5)[:32])
        words = self._memory(m, noise)
        numbers = self._queues(m, noise)
        sums = self._checksum(m, noise)
        m.d.comb += self.o.eq(Cat(words ^ numbers, sums))
        return m

    def _memory(self, m: Module, noise: Signal) -> Signal:
        """Structures of a byte and a flag field, written in part, read transparently and on the other edge."""
        shape = data.ArrayLayout(7, 3)
        m.submodules.memory = store = memory.Memory(
            shape=shape, depth=50, init=[[i, 2 * i, 127 - i] for i in range(50)]
        )
        write = store.write_port(granularity=1)
        shown = store.read_port(transparent_for=(write,))
        late = store.read_port(domain="fall")
        m.d.comb += [
            write.addr.eq(noise[:6] % 50),
            write.data.eq(noise[6:27]),
            write.en.eq(noise[27:30] & self.rx.replicate(3)),
            shown.addr.eq(Mux(noise[30], write.addr, noise[10:16] % 50)),
            shown.en.eq(noise[31]),
            late.addr.eq(noise[16:22] % 50),
        ]
        out = Signal(8)
        m.d.sync += out.eq((shown.data[0] ^ shown.data[2]) + late.data[1])
        return out

    def _queues(self, m: Module, noise: Signal) -> Signal:
        """Words through two queues: one between the edges of the clock, one behind it."""
        m.submodules.across = across = AsyncFIFO(width=9, depth=8, r_domain="sync", w_domain="fall")
        m.submodules.behind = behind = SyncFIFOBuffered(width=9, depth=11)
        fed = Signal(9)
        m.d.fall += fed.eq(noise[3:12] ^ self.rx.replicate(9))
        ready = Signal()
        m.d.fall += ready.eq(noise[0])
        m.d.comb += [
            across.w_data.eq(fed),
            across.w_en.eq(ready),
            behind.w_data.eq(across.r_data),
            behind.w_en.eq(across.r_rdy),
            across.r_en.eq(behind.w_rdy),
            behind.r_en.eq(noise[1] | noise[2]),
        ]
        last = Signal(8)
        with m.If(behind.r_rdy & behind.r_en):
            m.d.sync += last.eq(behind.r_data[:8] + behind.level)
        return last

    def _checksum(self, m: Module, noise: Signal) -> Signal:
        m.submodules.crc = check = crc.catalog.CRC16_XMODEM(data_width=8).create()
        m.d.comb += [check.data.eq(noise[8:16]), check.valid.eq(noise[5]), check.start.eq(noise[20:26] == 0)]
        return check.crc[:8]


def kitchen() -> str:
    """Its RTLIL; the top is `kitchen`."""
    top = Kitchen()
    return str(rtlil.convert(top, name="kitchen", ports=[top.clk, top.rx, top.o], emit_src=False))
