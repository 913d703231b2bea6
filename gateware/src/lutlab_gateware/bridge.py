"""Serial line to Wishbone: a UART around the bus device. Protocol: docs/bus-protocol.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal

from lutlab_gateware.device import BUS_TIMEOUT_CYCLES, RING_BYTES, BusDevice
from lutlab_gateware.uart import UartRx, UartTx


class Bridge(Elaboratable):
    """A Wishbone initiator (classic, single transfers, 32 bits) controlled over a serial line.

    Args:
        divider: clock cycles a serial bit, 4 to 65535.
        address_bits: width of `adr`, 1 to 24; words beyond are answered with a bus error.
        build_id: 32 bits, reported by hello.
        clk_hz: frequency of the `sync` domain, reported by hello.
        bus_timeout_cycles: cycles a transfer may take before it is given up with status BUS_TIMEOUT.
        receive_ring_bytes: request bytes that may be unanswered at a time; a power of two, 16 to 32768.
        reply_ring_bytes: bytes of replies that are kept for repetition; likewise.

    Attributes:
        rx: in. tx: out. The serial line; the bridge synchronises `rx`.
        cyc, stb, we, adr, dat_w, sel: out, Wishbone; `adr` counts words.
        dat_r, ack, err: in, Wishbone; `ack` may be registered or combinational.
        receiving, executing: out, for LEDs.
        status: out, 2 bits, status of the latest operation.

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
        receive_ring_bytes: int = RING_BYTES,
        reply_ring_bytes: int = RING_BYTES,
    ) -> None:
        self._uart_rx = UartRx(divider)
        self._uart_tx = UartTx(divider)
        self._device = device = BusDevice(
            divider=divider,
            address_bits=address_bits,
            build_id=build_id,
            clk_hz=clk_hz,
            bus_timeout_cycles=bus_timeout_cycles,
            receive_ring_bytes=receive_ring_bytes,
            reply_ring_bytes=reply_ring_bytes,
        )
        self.rx = self._uart_rx.rx
        self.tx = self._uart_tx.tx
        self.cyc, self.stb, self.we, self.sel = device.cyc, device.stb, device.we, device.sel
        self.adr, self.dat_w, self.dat_r = device.adr, device.dat_w, device.dat_r
        self.ack, self.err = device.ack, device.err
        self.receiving, self.status = device.receiving, device.status
        self.executing = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.uart_rx = uart_rx = self._uart_rx
        m.submodules.uart_tx = uart_tx = self._uart_tx
        m.submodules.device = device = self._device
        m.d.comb += [
            device.rx_data.eq(uart_rx.data),
            device.rx_stb.eq(uart_rx.stb),
            device.rx_err.eq(uart_rx.err),
            uart_tx.data.eq(device.tx_data),
            uart_tx.stb.eq(device.tx_stb),
            device.tx_ready.eq(uart_tx.ready),
            self.executing.eq(device.executing | uart_tx.busy),
        ]
        return m
