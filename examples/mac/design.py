"""Multiply-accumulate: one 18 x 18 DSP multiplier and a 48-bit accumulator.

Write a pair of signed 16-bit factors to word 0 and their product is added; stream a whole vector with a fixed-address
write. The multiplier has registers on its inputs and its output, so it runs at the DSP's full speed.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Signal, signed


class MultiplyAccumulate(Elaboratable):
    """Register map (word addresses): see README.md."""

    PAIR, CONTROL, LOW, HIGH, COUNT = range(5)

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
        a, b = Signal(signed(16)), Signal(signed(16))
        product = Signal(signed(32))
        total = Signal(signed(48))
        count = Signal(32)
        have_pair, have_product = Signal(), Signal()

        request = self.wb_cyc & self.wb_stb & ~self.wb_ack
        m.d.sync += [
            self.wb_ack.eq(request),
            have_pair.eq(0),
            have_product.eq(have_pair),
            product.eq(a * b),
        ]
        with m.If(have_product):
            m.d.sync += [total.eq(total + product), count.eq(count + 1)]
        with m.If(request & self.wb_we & (self.wb_adr == self.PAIR)):
            m.d.sync += [Cat(a, b).eq(self.wb_dat_w), have_pair.eq(1)]
        with m.If(request & self.wb_we & (self.wb_adr == self.CONTROL) & self.wb_dat_w[0]):
            m.d.sync += [total.eq(0), count.eq(0)]
        with m.If(request), m.Switch(self.wb_adr):
            with m.Case(self.PAIR):
                m.d.sync += self.wb_dat_r.eq(Cat(a, b))
            with m.Case(self.LOW):
                m.d.sync += self.wb_dat_r.eq(total[:32])
            with m.Case(self.HIGH):
                m.d.sync += self.wb_dat_r.eq(total[32:].as_signed())
            with m.Case(self.COUNT):
                m.d.sync += self.wb_dat_r.eq(count)
            with m.Default():
                m.d.sync += self.wb_dat_r.eq(0)
        return m
