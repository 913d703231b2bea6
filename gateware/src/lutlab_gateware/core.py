"""The bridge without its UART: bytes in, bytes out, Wishbone beside it. Protocol: docs/bus-protocol.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module

from lutlab_bus import wire
from lutlab_gateware.executor import Executor
from lutlab_gateware.queue import CommitQueue
from lutlab_gateware.receiver import FrameReceiver

BUS_TIMEOUT_CYCLES = 65_536
"""Default patience with a target: 1.3 ms at 50 MHz. Nothing is lost while a target stretches `ack`, since requests wait
in the queue, so this only bounds how long a dead design keeps its user waiting."""
QUEUE_BYTES = 4096
"""Default queue: two block RAMs; room for a write frame of 512 words while the next one arrives."""
QUEUE_BYTES_MIN = 16
SILENCE_CYCLES = 1 << 20
"""Default silence that ends a broken frame: 21 ms at 50 MHz. Far longer than the gaps a USB serial adapter or a busy
host leaves inside a frame, because a frame with a longer gap is lost."""


def info_words(
    *,
    build_id: int,
    clk_hz: int,
    bus_timeout_cycles: int,
    silence_cycles: int,
    divider: int,
    address_bits: int,
    queue_bytes: int,
) -> list[int]:
    """The `wire.INFO_WORDS` words a hello reads; their layout stands there."""
    return [
        wire.PROTOCOL_MAGIC << 16 | wire.PROTOCOL_VERSION,
        build_id,
        clk_hz,
        bus_timeout_cycles,
        silence_cycles,
        divider | address_bits << 16 | 32 << 24,
        queue_bytes | queue_bytes // wire.QUEUE_BYTES_PER_WRITE_WORD << 16,
        0,
    ]


class BridgeCore(Elaboratable):
    """Receiver, queue and executor. Parameters: see `Bridge`.

    Attributes:
        rx_data, rx_stb, rx_err: in, as `UartRx` gives them.
        tx_data, tx_stb: out, tx_ready: in, as `UartTx` takes them.
        cyc, stb, we, adr, dat_w, sel: out, dat_r, ack, err: in; Wishbone.
        receiving, executing: out. status: out, 2 bits, of the latest frame.
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
        if not QUEUE_BYTES_MIN <= queue_bytes <= wire.QUEUE_BYTES_MAX:
            raise ValueError(f"queue_bytes {queue_bytes} is outside {QUEUE_BYTES_MIN}..{wire.QUEUE_BYTES_MAX}")
        self._queue = CommitQueue(queue_bytes)
        self._receiver = receiver = FrameReceiver(
            self._queue, write_words_max=queue_bytes // wire.QUEUE_BYTES_PER_WRITE_WORD, silence_cycles=silence_cycles
        )
        self._executor = executor = Executor(
            self._queue,
            address_bits=address_bits,
            bus_timeout_cycles=bus_timeout_cycles,
            info=info_words(
                build_id=build_id,
                clk_hz=clk_hz,
                bus_timeout_cycles=bus_timeout_cycles,
                silence_cycles=silence_cycles,
                divider=divider,
                address_bits=address_bits,
                queue_bytes=queue_bytes,
            ),
        )
        self.rx_data, self.rx_stb, self.rx_err = receiver.data, receiver.stb, receiver.err
        self.tx_data, self.tx_stb, self.tx_ready = executor.tx_data, executor.tx_stb, executor.tx_ready
        self.cyc, self.stb, self.we, self.sel = executor.cyc, executor.stb, executor.we, executor.sel
        self.adr, self.dat_w, self.dat_r = executor.adr, executor.dat_w, executor.dat_r
        self.ack, self.err = executor.ack, executor.err
        self.receiving, self.executing, self.status = receiver.busy, executor.busy, executor.status

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.queue = self._queue
        m.submodules.receiver = self._receiver
        m.submodules.executor = self._executor
        return m
