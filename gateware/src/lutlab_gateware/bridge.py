"""Serial line to Wishbone: UART, checked frames, a queue and an executor. Protocol: docs/bus-protocol.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal

from lutlab_bus import wire
from lutlab_gateware.executor import Executor
from lutlab_gateware.queue import CommitQueue
from lutlab_gateware.receiver import FrameReceiver
from lutlab_gateware.uart import UartRx, UartTx

BUS_TIMEOUT_CYCLES = 65_536
"""Default patience with a target: 1.3 ms at 50 MHz. Nothing is lost while a target stretches `ack`, since requests wait in
the queue, so this only bounds how long a dead design keeps its user waiting."""
QUEUE_BYTES = 4096
"""Default queue: two block RAMs; room for a write frame of 512 words while the next one arrives."""
SILENCE_CYCLES = 1 << 20
"""Default silence that ends a broken frame: 21 ms at 50 MHz. Far longer than the gaps a USB serial adapter or a busy host
leaves inside a frame, because a frame with a longer gap is lost."""


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
        queue_bytes | queue_bytes // 8 << 16,
        0,
    ]


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
        silence_cycles: silence that ends a broken frame; a power of two, longer than a byte.

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
        if not 16 <= queue_bytes <= 32_768:
            raise ValueError(f"queue_bytes {queue_bytes} is outside 16..32768")
        if silence_cycles < 20 * divider:
            raise ValueError(f"silence_cycles {silence_cycles} is shorter than two bytes ({20 * divider} cycles)")
        self._uart_rx = UartRx(divider)
        self._uart_tx = UartTx(divider)
        self._queue = CommitQueue(queue_bytes)
        self._receiver = FrameReceiver(self._queue, write_words_max=queue_bytes // 8, silence_cycles=silence_cycles)
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
        self.rx = self._uart_rx.rx
        self.tx = self._uart_tx.tx
        self.cyc, self.stb, self.we, self.sel = executor.cyc, executor.stb, executor.we, executor.sel
        self.adr, self.dat_w, self.dat_r = executor.adr, executor.dat_w, executor.dat_r
        self.ack, self.err = executor.ack, executor.err
        self.status = executor.status
        self.receiving = Signal()
        self.executing = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.uart_rx = uart_rx = self._uart_rx
        m.submodules.uart_tx = uart_tx = self._uart_tx
        m.submodules.queue = self._queue
        m.submodules.receiver = receiver = self._receiver
        m.submodules.executor = executor = self._executor
        m.d.comb += [
            receiver.data.eq(uart_rx.data),
            receiver.stb.eq(uart_rx.stb),
            receiver.err.eq(uart_rx.err),
            uart_tx.data.eq(executor.tx_data),
            uart_tx.stb.eq(executor.tx_stb),
            executor.tx_ready.eq(uart_tx.ready),
            self.receiving.eq(receiver.busy),
            self.executing.eq(executor.busy | uart_tx.busy),
        ]
        return m
