"""Serial line to Wishbone: a UART around the bridge's core. Protocol: docs/bus-protocol.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal

from lutlab_gateware.core import BUS_TIMEOUT_CYCLES, QUEUE_BYTES, SILENCE_CYCLES, BridgeCore
from lutlab_gateware.uart import UartRx, UartTx

SILENCE_BITS_MIN = 20
"""Silence must outlast two bytes, or the receiver would give up between the bytes of a frame."""


class Bridge(Elaboratable):
    """A Wishbone initiator (classic, single transfers, 32 bits) controlled over a serial line.

    Args:
        divider: clock cycles a serial bit, 4 to 65535.
        address_bits: width of `adr`, 1 to 24; words beyond are answered with a bus error.
        build_id: 32 bits, reported by hello.
        clk_hz: frequency of the `sync` domain, reported by hello.
        bus_timeout_cycles: cycles a transfer may take before it is given up with status BUS_TIMEOUT.
        queue_bytes: request bytes that may be unanswered at a time; a power of two, 16 to 32768. A write frame carries
            at most an eighth of this in words.
        silence_cycles: silence that ends a broken frame; a power of two, longer than two bytes.

    Attributes:
        rx: in. tx: out. The serial line; the bridge synchronises `rx`.
        cyc, stb, we, adr, dat_w, sel: out, Wishbone; `adr` counts words.
        dat_r, ack, err: in, Wishbone; `ack` may be registered or combinational.
        receiving, executing: out, for LEDs.
        status: out, 2 bits, status of the latest frame.

    Raises:
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        *,
        divider: int,
        address_bits: int = 9,
        build_id: int = 0,
        clk_hz: int = 0,
        bus_timeout_cycles: int = BUS_TIMEOUT_CYCLES,
        queue_bytes: int = QUEUE_BYTES,
        silence_cycles: int = SILENCE_CYCLES,
    ) -> None:
        self._uart_rx = UartRx(divider)
        self._uart_tx = UartTx(divider)
        if silence_cycles < SILENCE_BITS_MIN * divider:
            raise ValueError(
                f"silence_cycles {silence_cycles} is shorter than two bytes ({SILENCE_BITS_MIN * divider} cycles)"
            )
        self._core = core = BridgeCore(
            divider=divider,
            address_bits=address_bits,
            build_id=build_id,
            clk_hz=clk_hz,
            bus_timeout_cycles=bus_timeout_cycles,
            queue_bytes=queue_bytes,
            silence_cycles=silence_cycles,
        )
        self.rx = self._uart_rx.rx
        self.tx = self._uart_tx.tx
        self.cyc, self.stb, self.we, self.sel = core.cyc, core.stb, core.we, core.sel
        self.adr, self.dat_w, self.dat_r = core.adr, core.dat_w, core.dat_r
        self.ack, self.err = core.ack, core.err
        self.receiving, self.status = core.receiving, core.status
        self.executing = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.uart_rx = uart_rx = self._uart_rx
        m.submodules.uart_tx = uart_tx = self._uart_tx
        m.submodules.core = core = self._core
        m.d.comb += [
            core.rx_data.eq(uart_rx.data),
            core.rx_stb.eq(uart_rx.stb),
            core.rx_err.eq(uart_rx.err),
            uart_tx.data.eq(core.tx_data),
            uart_tx.stb.eq(core.tx_stb),
            core.tx_ready.eq(uart_tx.ready),
            self.executing.eq(core.executing | uart_tx.busy),
        ]
        return m
