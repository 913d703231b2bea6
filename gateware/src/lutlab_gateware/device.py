"""The bus device without its UART: bytes in, bytes out, Wishbone beside it. Protocol: docs/bus-protocol.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module

from lutlab_bus import wire
from lutlab_gateware.engine import WINDOW, FrameEngine
from lutlab_gateware.replies import ReplyRing
from lutlab_gateware.requests import FrameReceiver, RequestRing

BUS_TIMEOUT_CYCLES = 65_536
"""Default patience with a target: 1.3 ms at 50 MHz. Nothing is lost while a target stretches `ack`, since requests wait
in their ring, so this only bounds how long a dead design keeps its user waiting."""
RING_BYTES = 4096
"""Default of both rings: what 12 Mbaud carry in 3.4 ms."""


def info_words(
    *,
    build_id: int,
    clk_hz: int,
    bus_timeout_cycles: int,
    divider: int,
    address_bits: int,
    receive_ring_bytes: int,
    reply_ring_bytes: int,
) -> list[int]:
    """The `wire.INFO_WORDS` words that hello tells; their layout stands there."""
    return [
        wire.PROTOCOL_MAGIC << 16 | wire.PROTOCOL_VERSION,
        build_id,
        clk_hz,
        bus_timeout_cycles,
        divider | address_bits << 16 | 32 << 24,
        receive_ring_bytes,
        reply_ring_bytes,
        WINDOW,
    ]


class BusDevice(Elaboratable):
    """Receiver, engine and the rings between them and the line. Parameters: see `Bridge`.

    Attributes:
        rx_data, rx_stb, rx_err: in, as `UartRx` gives them; a byte at most every 12 cycles.
        tx_data, tx_stb: out, tx_ready: in, as `UartTx` takes them.
        cyc, stb, we, adr, dat_w, sel: out, dat_r, ack, err: in; Wishbone.
        receiving, executing: out. status: out, 2 bits, of the latest operation.
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
        self._requests = RequestRing(receive_ring_bytes)
        self._replies = replies = ReplyRing(reply_ring_bytes)
        self._receiver = receiver = FrameReceiver(self._requests)
        self._engine = engine = FrameEngine(
            self._requests,
            replies,
            address_bits=address_bits,
            bus_timeout_cycles=bus_timeout_cycles,
            info=info_words(
                build_id=build_id,
                clk_hz=clk_hz,
                bus_timeout_cycles=bus_timeout_cycles,
                divider=divider,
                address_bits=address_bits,
                receive_ring_bytes=receive_ring_bytes,
                reply_ring_bytes=reply_ring_bytes,
            ),
        )
        self.rx_data, self.rx_stb, self.rx_err = receiver.data, receiver.stb, receiver.err
        self.tx_data, self.tx_stb, self.tx_ready = replies.tx_data, replies.tx_stb, replies.tx_ready
        self.cyc, self.stb, self.we, self.sel = engine.cyc, engine.stb, engine.we, engine.sel
        self.adr, self.dat_w, self.dat_r = engine.adr, engine.dat_w, engine.dat_r
        self.ack, self.err = engine.ack, engine.err
        self.receiving, self.executing, self.status = receiver.busy, engine.busy, engine.status

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.requests = self._requests
        m.submodules.replies = self._replies
        m.submodules.receiver = receiver = self._receiver
        m.submodules.engine = engine = self._engine
        m.d.comb += engine.damaged.eq(receiver.damaged)
        return m
