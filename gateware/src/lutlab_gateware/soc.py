"""The top of every bitstream: clock, power-on reset, the bridge and one target."""

from __future__ import annotations

from typing import Any, Protocol, cast

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib.cdc import FFSynchronizer

from lutlab_gateware.bridge import Bridge
from lutlab_gateware.device import BUS_TIMEOUT_CYCLES, RING_BYTES
from lutlab_gateware.pll import Pll

RESET_CYCLES = 16
"""Cycles the design is held in reset after configuration, or after the PLL locked; a power of two."""
LED_COUNT = 4


class WishboneTarget(Protocol):
    """What a user's design must offer (docs/board-api; `lutlab_gateware.contract` checks it).

    Each attribute is a Signal seen from the target: `cyc stb we adr dat_w sel` come in, `dat_r ack` and the optional
    `wb_err` go out. `wb_adr` counts 32-bit words and may have 1 to 24 bits.
    """

    wb_cyc: Signal
    wb_stb: Signal
    wb_we: Signal
    wb_adr: Signal
    wb_dat_w: Signal
    wb_sel: Signal
    wb_dat_r: Signal
    wb_ack: Signal


class VerilogTarget(Elaboratable):
    """A target written in Verilog: an instance of a module that the builder reads into the same yosys design.

    Args:
        module_name: the module. Its ports are `clk`, `rst` (active high) and the `wb_*` ports.
        address_bits: width of its `wb_adr`.
        has_err: it has an output `wb_err`.
    """

    def __init__(self, module_name: str, *, address_bits: int = 9, has_err: bool = False) -> None:
        self.module_name = module_name
        self.wb_cyc = Signal()
        self.wb_stb = Signal()
        self.wb_we = Signal()
        self.wb_adr = Signal(address_bits)
        self.wb_dat_w = Signal(32)
        self.wb_sel = Signal(4)
        self.wb_dat_r = Signal(32)
        self.wb_ack = Signal()
        if has_err:
            self.wb_err = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for name in ("wb_cyc", "wb_stb", "wb_we", "wb_adr", "wb_dat_w", "wb_sel"):
            ports[f"i_{name}"] = getattr(self, name)
        for name in ("wb_dat_r", "wb_ack", "wb_err"):
            if hasattr(self, name):
                ports[f"o_{name}"] = getattr(self, name)
        m.submodules.design = Instance(self.module_name, **ports)
        return m


class Soc(Elaboratable):
    """Clock, reset, bridge and target behind four ports.

    Args:
        target: the design; see `WishboneTarget`. The bridge's address width is that of its `wb_adr`.
        divider: clock cycles a serial bit; the baud rate is `clk_hz` over it.
        build_id: 32 bits that hello reports, so that a host can tell which bitstream runs.
        clk_hz: frequency of the design's clock, for hello (the frequency itself is the oscillator's or the PLL's).
        bus_timeout_cycles: cycles a transfer may take.
        pll: makes the design's clock from `clk`; without it `clk` is the design's clock.
        receive_ring_bytes, reply_ring_bytes: see `Bridge`.

    Attributes:
        clk, rx: in. tx, leds: out. LED 0: out of reset, 1: receiving, 2: executing, 3: the latest operation failed.

    Raises:
        ValueError: a parameter is out of range, or the PLL's output is not `clk_hz` within 0.1 %.
    """

    def __init__(
        self,
        target: WishboneTarget,
        *,
        divider: int,
        build_id: int,
        clk_hz: int,
        bus_timeout_cycles: int = BUS_TIMEOUT_CYCLES,
        pll: Pll | None = None,
        receive_ring_bytes: int = RING_BYTES,
        reply_ring_bytes: int = RING_BYTES,
    ) -> None:
        if pll is not None and abs(pll.output_hz - clk_hz) * 1000 > clk_hz:
            raise ValueError(f"the PLL makes {float(pll.output_hz):.0f} Hz, but the design's clk_hz is {clk_hz}")
        self.target = target
        self.pll = pll
        self._bridge = Bridge(
            divider=divider,
            address_bits=len(target.wb_adr),
            build_id=build_id,
            clk_hz=clk_hz,
            bus_timeout_cycles=bus_timeout_cycles,
            receive_ring_bytes=receive_ring_bytes,
            reply_ring_bytes=reply_ring_bytes,
        )
        self.clk = Signal()
        self.rx = Signal(init=1)
        self.tx = Signal()
        self.leds = Signal(LED_COUNT)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        released = self._clocking(m)
        m.submodules.bridge = bridge = self._bridge
        m.submodules.target = target = cast(Any, self.target)
        m.d.comb += [
            bridge.rx.eq(self.rx),
            self.tx.eq(bridge.tx),
            self.leds.eq(released | bridge.receiving << 1 | bridge.executing << 2 | (bridge.status != 0) << 3),
            target.wb_cyc.eq(bridge.cyc),
            target.wb_stb.eq(bridge.stb),
            target.wb_we.eq(bridge.we),
            target.wb_adr.eq(bridge.adr),
            target.wb_dat_w.eq(bridge.dat_w),
            target.wb_sel.eq(bridge.sel),
            bridge.dat_r.eq(target.wb_dat_r),
            bridge.ack.eq(target.wb_ack),
        ]
        if hasattr(target, "wb_err"):
            m.d.comb += bridge.err.eq(target.wb_err)
        return m

    def _clocking(self, m: Module) -> Signal:
        """Make the `sync` domain; returns a signal that is high once the reset is released.

        The counter lives in a domain without reset and starts from the flip-flops' initial values, which configuration
        loads. It stops at its end.
        """
        sync: Any = ClockDomain()
        power_on: Any = ClockDomain(reset_less=True, local=True)
        m.domains.sync, m.domains.power_on = sync, power_on
        source = self.clk
        locked = Signal(init=1)
        if self.pll is not None:
            m.submodules.pll = self.pll
            m.d.comb += self.pll.clk_in.eq(self.clk)
            source = self.pll.clk_out
            m.submodules.locked_sync = FFSynchronizer(self.pll.locked, locked, init=0, o_domain="power_on")
        m.d.comb += [sync.clk.eq(source), power_on.clk.eq(source)]
        waited = Signal(range(RESET_CYCLES + 1))
        released = Signal()
        m.d.comb += [released.eq(waited[-1]), sync.rst.eq(~released)]
        with m.If(~locked):
            m.d.power_on += waited.eq(0)
        with m.Elif(~released):
            m.d.power_on += waited.eq(waited + 1)
        return released
