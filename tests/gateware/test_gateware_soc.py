"""Whole SoCs, pin to pin, driven by the host's framer: base design and examples."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, ResetSignal, Signal
from amaranth.sim import Simulator
from bus_sim import load_example, run_soc

from lutlab_bus import Read, Status, Write
from lutlab_gateware.base import BASE_ID, BASE_VERSION, SCRATCH_ADDRESS, SCRATCH_WORDS, BaseTarget
from lutlab_gateware.pll import Pll
from lutlab_gateware.soc import RESET_CYCLES, Panel, Soc


def test_base_design():
    pattern = [1 << bit for bit in range(SCRATCH_WORDS)]
    ((identity, _, scratch, _, unchanged, beyond),) = run_soc(
        BaseTarget(),
        [
            [
                Read(0, 3),
                Write(SCRATCH_ADDRESS, pattern),
                Read(SCRATCH_ADDRESS, SCRATCH_WORDS),
                Write(0, [0xFFFF_FFFF]),
                Read(0, 1),
                Read(512),
            ]
        ],
    )
    assert list(identity.words) == [BASE_ID, BASE_VERSION, 0]
    assert list(scratch.words) == pattern
    assert list(unchanged.words) == [BASE_ID]
    assert beyond.status is Status.BUS_ERROR


def test_echo_memory():
    words = array("I", [0x0101_0101 * i for i in range(160)])
    (write, read, last), (fixed, first) = run_soc(
        load_example("echo_memory").EchoMemory(),
        [[Write(100, words), Read(100, 160), Read(511)], [Write(7, [1, 2, 3], fixed=True), Read(7)]],
    )
    assert write.ok and fixed.ok
    assert read.words == words
    assert list(last.words) == [0]
    assert list(first.words) == [3]


def test_multiply_accumulate():
    mac = load_example("mac").MultiplyAccumulate
    pairs = [(3, 4), (-5, 7), (32767, 32767), (-32768, 32767), (-32768, -32768)] * 3
    words = [(b & 0xFFFF) << 16 | a & 0xFFFF for a, b in pairs]
    total = sum(a * b for a, b in pairs)
    (_, _, accumulated, _, cleared), (_, _, negative) = run_soc(
        mac(),
        [
            [
                Write(mac.CONTROL, [1]),
                Write(mac.PAIR, words, fixed=True),
                Read(mac.LOW, 3),
                Write(mac.CONTROL, [1]),
                Read(mac.LOW, 3),
            ],
            [Write(mac.CONTROL, [1]), Write(mac.PAIR, [0xFFFF_0002]), Read(mac.LOW, 3)],
        ],
    )
    low, high, count = accumulated.words
    assert (high << 32 | low) == total % (1 << 64)
    assert count == len(pairs)
    assert list(cleared.words) == [0, 0, 0]
    assert list(negative.words) == [0xFFFF_FFFE, 0xFFFF_FFFF, 1]


def test_any_divider():
    ((write, read),) = run_soc(BaseTarget(), [[Write(16, [0xA5A5_5A5A]), Read(16)]], divider=7)
    assert write.ok and list(read.words) == [0xA5A5_5A5A]


class Observer(BaseTarget):
    """Counts the clock edges it spends in reset."""

    def __init__(self):
        super().__init__()
        self.cycles_in_reset = Signal(8, reset_less=True)

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(ResetSignal()):
            m.d.sync += self.cycles_in_reset.eq(self.cycles_in_reset + 1)
        return m


class StandInPll(Elaboratable):
    """The PLL's interface; a simulator has no EHXPLLL."""

    def __init__(self):
        self.clk_in, self.clk_out, self.locked = Signal(), Signal(), Signal()
        self.output_hz = Fraction(50_000_000)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.clk_out.eq(self.clk_in)
        return m


def clocked(soc, bench):
    """Run a testbench on an SoC whose `clk` pin is the domain `pin`."""
    m = Module()
    m.domains.pin = ClockDomain()
    m.d.comb += soc.clk.eq(ClockSignal("pin"))
    m.submodules.soc = soc
    simulator = Simulator(m)
    simulator.add_clock(20e-9, domain="pin")
    simulator.add_testbench(bench)
    simulator.run()


def test_reset_lasts_some_cycles_after_configuration():
    target = Observer()
    soc = Soc(target, divider=4, build_id=0, clk_hz=50_000_000)

    async def bench(ctx):
        assert not ctx.get(soc.leds[0])
        await ctx.tick("pin").repeat(100)
        assert ctx.get(soc.leds[0])
        assert ctx.get(target.cycles_in_reset) == RESET_CYCLES

    clocked(soc, bench)


@pytest.mark.parametrize("inverted", [False, True])
def test_ones_are_lit_and_pressed_whatever_the_wiring(inverted):
    target = Observer()
    target.io_leds, target.io_buttons, target.io_switches = Signal(2, init=0b01), Signal(2), Signal()
    panel = Panel(leds=3, buttons=4, switches=2, leds_inverted=inverted, buttons_inverted=inverted)
    soc = Soc(target, divider=4, build_id=0, clk_hz=50_000_000, panel=panel)

    async def bench(ctx):
        ctx.set(soc.buttons, 0b0110 ^ (0b1111 if inverted else 0))
        ctx.set(soc.switches, 0b11)
        await ctx.tick("pin").repeat(4)
        assert ctx.get(soc.leds) == (0b110 if inverted else 0b001)
        assert ctx.get(target.io_buttons) == 0b10
        assert ctx.get(target.io_switches) == 1

    clocked(soc, bench)


def test_reset_lasts_until_the_pll_has_locked_and_returns_when_it_loses_lock():
    target, pll = Observer(), StandInPll()
    soc = Soc(target, divider=4, build_id=0, clk_hz=50_000_000, pll=pll)

    async def bench(ctx):
        await ctx.tick("pin").repeat(100)
        assert not ctx.get(soc.leds[0])
        ctx.set(pll.locked, 1)
        await ctx.tick("pin").repeat(RESET_CYCLES // 2)
        assert not ctx.get(soc.leds[0])
        await ctx.tick("pin").repeat(RESET_CYCLES)
        assert ctx.get(soc.leds[0])
        ctx.set(pll.locked, 0)
        await ctx.tick("pin").repeat(4)
        assert not ctx.get(soc.leds[0])

    clocked(soc, bench)


def test_the_pll_must_make_the_announced_clock():
    with pytest.raises(ValueError, match="the PLL makes 100000000 Hz, but the design's clk_hz is 50000000"):
        Soc(BaseTarget(), divider=4, build_id=0, clk_hz=50_000_000, pll=Pll(50_000_000, 100_000_000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divider": 3}, "UART divider 3 is outside 4..65535"),
        ({"receive_ring_bytes": 8}, "receive_ring_bytes 8 is not a power of two from 16 to 32768"),
        ({"receive_ring_bytes": 48}, "receive_ring_bytes 48 is not a power of two"),
        ({"reply_ring_bytes": 65536}, "reply_ring_bytes 65536 is not a power of two from 16"),
        ({"bus_timeout_cycles": 1}, "a bus timeout of 1 cycles"),
        ({"build_id": 1 << 32}, "expected 8 information words of 32 bits"),
    ],
)
def test_parameters_out_of_range(changes, message):
    parameters = {"divider": 4, "build_id": 0, "clk_hz": 50_000_000} | changes
    with pytest.raises(ValueError, match=message):
        Soc(BaseTarget(), **parameters)
