"""The top of every bitstream: clock, power-on reset, the bridge and one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast

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
IO_BITS_MAX = 32
"""Width of the largest group of LEDs, buttons or switches."""


class TooManyPins(ValueError):
    """A design asks for more LEDs, buttons or switches than the board has."""

    code = "wrong_ports"


@dataclass(frozen=True)
class Panel:
    """What a board has for people.

    Attributes:
        leds, buttons, switches: how many, 0 to 32 each.
        leds_inverted: an LED is lit by a low level.
        buttons_inverted: a pressed button gives a low level.
    """

    leds: int = LED_COUNT
    buttons: int = 0
    switches: int = 0
    leds_inverted: bool = False
    buttons_inverted: bool = False

    def check(self, target: object) -> None:
        """Raises: TooManyPins: a target has more bits of `io_leds`, `io_buttons` or `io_switches` than the board."""
        for kind in ("leds", "buttons", "switches"):
            signal, has = getattr(target, f"io_{kind}", None), getattr(self, kind)
            if signal is not None and len(signal) > has:
                raise TooManyPins(f"io_{kind} has {len(signal)} bits, but the board has {has} {kind}")


class WishboneTarget(Protocol):
    """What a user's design must offer (docs/board-api; `lutlab_gateware.contract` checks it).

    Each attribute is a Signal seen from the target: `cyc stb we adr dat_w sel` come in, `dat_r ack` and the optional
    `wb_err` go out. `wb_adr` counts 32-bit words and may have 1 to 24 bits. Also optional: `io_leds` out, `io_buttons`
    and `io_switches` in, ones for lit, pressed and on; inputs are synchronized to the design's clock.
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
        io_bits: widths of its `io_leds`, `io_buttons` and `io_switches`, by these names, as far as it has them.
    """

    def __init__(
        self,
        module_name: str,
        *,
        address_bits: int = 9,
        has_err: bool = False,
        io_bits: Mapping[str, int] | None = None,
    ) -> None:
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
        for name, bits in (io_bits or {}).items():
            setattr(self, name, Signal(bits, name=name))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for name in ("wb_cyc", "wb_stb", "wb_we", "wb_adr", "wb_dat_w", "wb_sel"):
            ports[f"i_{name}"] = getattr(self, name)
        for name in ("io_buttons", "io_switches"):
            if hasattr(self, name):
                ports[f"i_{name}"] = getattr(self, name)
        for name in ("wb_dat_r", "wb_ack", "wb_err", "io_leds"):
            if hasattr(self, name):
                ports[f"o_{name}"] = getattr(self, name)
        m.submodules.design = Instance(self.module_name, **ports)
        return m


class Soc(Elaboratable):
    """Clock, reset, bridge and target behind the board's pins.

    Args:
        target: the design; see `WishboneTarget`. The bridge's address width is that of its `wb_adr`.
        divider: clock cycles a serial bit; the baud rate is `clk_hz` over it.
        build_id: 32 bits that hello reports, so that a host can tell which bitstream runs.
        clk_hz: frequency of the design's clock, for hello (the frequency itself is the oscillator's or the PLL's).
        bus_timeout_cycles: cycles a transfer may take.
        pll: makes the design's clock from `clk`; without it `clk` is the design's clock.
        panel: the board's LEDs, buttons and switches.
        receive_ring_bytes, reply_ring_bytes: see `Bridge`.

    Attributes:
        clk, rx: in. tx, leds: out. LED 0: out of reset, 1: receiving, 2: executing, 3: the latest operation failed;
            those of a target with `io_leds` show these instead.
        buttons, switches: in; None unless the target wants them.

    Raises:
        ValueError: a parameter is out of range, or the PLL's output is not `clk_hz` within 0.1 %.
        TooManyPins: the target has more bits for LEDs, buttons or switches than the board.
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
        panel: Panel = Panel(),
        receive_ring_bytes: int = RING_BYTES,
        reply_ring_bytes: int = RING_BYTES,
    ) -> None:
        if pll is not None and abs(pll.output_hz - clk_hz) * 1000 > clk_hz:
            raise ValueError(f"the PLL makes {float(pll.output_hz):.0f} Hz, but the design's clk_hz is {clk_hz}")
        panel.check(target)
        self.target = target
        self.pll = pll
        self._panel = panel
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
        self.leds = Signal(panel.leds)
        self.buttons = Signal(panel.buttons, name="buttons") if hasattr(target, "io_buttons") else None
        self.switches = Signal(panel.switches, name="switches") if hasattr(target, "io_switches") else None

    @property
    def ports(self) -> list[Signal]:
        """Those that the board has pins for."""
        return [
            port for port in (self.clk, self.rx, self.tx, self.leds, self.buttons, self.switches) if _is_there(port)
        ]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        released = self._clocking(m)
        m.submodules.bridge = bridge = self._bridge
        m.submodules.target = target = cast(Any, self.target)
        m.d.comb += [
            bridge.rx.eq(self.rx),
            self.tx.eq(bridge.tx),
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
        status = released | bridge.receiving << 1 | bridge.executing << 2 | (bridge.status != 0) << 3
        self._panel_logic(m, target, status)
        return m

    def _panel_logic(self, m: Module, target: Any, status: Value) -> None:
        """LEDs, buttons and switches, as ones for lit, pressed and on inside."""
        lit = Signal(self._panel.leds)
        m.d.comb += [
            lit.eq(target.io_leds if hasattr(target, "io_leds") else status),
            self.leds.eq(~lit if self._panel.leds_inverted else lit),
        ]
        if self.buttons is not None:
            pressed = ~self.buttons if self._panel.buttons_inverted else self.buttons
            m.submodules.buttons_sync = FFSynchronizer(pressed[: len(target.io_buttons)], target.io_buttons)
        if self.switches is not None:
            m.submodules.switches_sync = FFSynchronizer(self.switches[: len(target.io_switches)], target.io_switches)

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


def _is_there(port: Signal | None) -> TypeGuard[Signal]:
    return port is not None and len(port) > 0
