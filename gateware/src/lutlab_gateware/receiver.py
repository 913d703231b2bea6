"""The arriving half of the bridge: only whole frames with a good CRC reach the queue; everything else vanishes.

This is the seam of the wire format: the executor reads headers and payloads from the queue and never sees a CRC, a gap
or a bad byte. Rules (docs/bus-protocol.md): a frame that breaks any rule puts the receiver into FLUSH, which swallows
bytes until `wire.SYNC_RUN` sync bytes in a row, or until the line was silent for `silence_cycles`. Silence in the
middle of a frame drops the frame.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib import enum

from lutlab_bus import wire
from lutlab_gateware.crc16 import Crc16
from lutlab_gateware.queue import CommitQueue

_TYPE_NIBBLE = wire.Op.BASE >> 4
_FIELD_BYTES = wire.HEADER_BYTES - 1  # all but op
_WORDS_LOW, _WORDS_HIGH = 1, 2  # index of the count's bytes among the fields, the tag being 0


class _State(enum.Enum, shape=unsigned(3)):
    IDLE = 0
    FIELDS = 1
    PAYLOAD = 2
    CRC = 3
    VERDICT = 4
    FLUSH = 5


class FrameReceiver(Elaboratable):
    """Checks frames as their bytes arrive and commits the good ones to a queue, without their CRC.

    Args:
        queue: where frames go. The receiver drives its `push`, `commit` and `rollback`.
        write_words_max: most words of a write frame; a power of two, at most 65536.
        silence_cycles: cycles without a byte that end a broken frame; a power of two.

    Attributes:
        data, stb, err: in, from `UartRx`; a byte at most every third cycle (a UART's come every 40 or more).
        busy: out, a frame is arriving or being swallowed.
    """

    def __init__(self, queue: CommitQueue, *, write_words_max: int, silence_cycles: int) -> None:
        for name, value in (("write_words_max", write_words_max), ("silence_cycles", silence_cycles)):
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} {value} is not a power of two")
        self.queue = queue
        self.write_words_max = write_words_max
        self.silence_cycles = silence_cycles
        self.data = Signal(8)
        self.stb = Signal()
        self.err = Signal()
        self.busy = Signal()

        self._state = Signal(_State)
        self._is_write = Signal()
        self._index = Signal(range(_FIELD_BYTES))  # of a header byte after op
        self._left = Signal(range(write_words_max))  # words of payload to come, minus one
        self._too_long = Signal()
        self._byte = Signal(2)  # of a word, or of the CRC
        self._run = Signal(range(wire.SYNC_RUN))  # sync bytes in a row while ignoring

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        queue = self.queue
        m.submodules.crc = crc = Crc16()
        m.d.comb += [
            queue.push_data.eq(self.data),
            crc.data.eq(self.data),
            crc.valid.eq(self.stb),
            self.busy.eq(self._state != _State.IDLE),
        ]
        with m.Switch(self._state):
            with m.Case(_State.IDLE):
                m.d.comb += crc.restart.eq(1)
                self._first_byte(m)
            with m.Case(_State.FIELDS), m.If(self.stb):
                self._field(m)
            with m.Case(_State.PAYLOAD), m.If(self.stb):
                self._payload(m)
            with m.Case(_State.CRC), m.If(self.stb):
                m.d.sync += self._byte.eq(self._byte + 1)
                with m.If(self._byte == wire.CRC_BYTES - 1):
                    m.d.sync += self._state.eq(_State.VERDICT)
            with m.Case(_State.VERDICT):  # the CRC register is up to date one cycle after the last byte
                m.d.comb += queue.commit.eq(crc.zero)
                m.d.sync += self._state.eq(Mux(crc.zero, _State.IDLE, _State.FLUSH))
            with m.Case(_State.FLUSH):
                m.d.comb += queue.rollback.eq(1)
                with m.If(self.stb):
                    m.d.sync += self._run.eq(Mux(self.data == wire.SYNC, self._run + 1, 0))
                    with m.If((self.data == wire.SYNC) & (self._run == wire.SYNC_RUN - 1)):
                        m.d.sync += self._state.eq(_State.IDLE)
        silent = self._silence(m)
        with m.If(self.err | (queue.push & queue.full)):
            m.d.sync += [self._state.eq(_State.FLUSH), self._run.eq(0)]
        with m.Elif(silent):
            m.d.comb += queue.rollback.eq(1)
            m.d.sync += self._state.eq(_State.IDLE)
        return m

    def _first_byte(self, m: Module) -> None:
        m.d.sync += [self._index.eq(0), self._byte.eq(0), self._run.eq(0), self._too_long.eq(0)]
        with m.If(self.stb & (self.data != wire.SYNC)):
            m.d.comb += self.queue.push.eq(1)
            m.d.sync += [self._is_write.eq(self.data[0]), self._state.eq(_State.FIELDS)]
            # Information words cannot be written, and any other first byte is noise.
            with m.If((self.data[4:] != _TYPE_NIBBLE) | (self.data[0] & self.data[3])):
                m.d.sync += self._state.eq(_State.FLUSH)

    def _field(self, m: Module) -> None:
        """A byte of the header. The word count's low bits go into `_left`, anything above makes the frame too long."""
        low_bits, high_bits = min(len(self._left), 8), max(len(self._left) - 8, 0)
        m.d.comb += self.queue.push.eq(1)
        m.d.sync += self._index.eq(self._index + 1)
        with m.If(self._index == _WORDS_LOW):
            m.d.sync += [self._left[:low_bits].eq(self.data), self._too_long.eq(self.data[low_bits:].any())]
        with m.If(self._index == _WORDS_HIGH):
            m.d.sync += self._too_long.eq(self._too_long | self.data[high_bits:].any())
            if high_bits:
                m.d.sync += self._left[8:].eq(self.data)
        with m.If(self._index == _FIELD_BYTES - 1):
            with m.If(~self._is_write):
                m.d.sync += self._state.eq(_State.CRC)
            with m.Else():
                m.d.sync += self._state.eq(Mux(self._too_long, _State.FLUSH, _State.PAYLOAD))

    def _payload(self, m: Module) -> None:
        m.d.comb += self.queue.push.eq(1)
        m.d.sync += self._byte.eq(self._byte + 1)
        with m.If(self._byte == wire.WORD_BYTES - 1):
            m.d.sync += self._left.eq(self._left - 1)
            with m.If(self._left == 0):
                m.d.sync += self._state.eq(_State.CRC)

    def _silence(self, m: Module) -> Value:
        """High in the cycle that ends `silence_cycles` without a byte; its timer stands still while idle."""
        timer = Signal(range(self.silence_cycles + 1))
        restart = self.stb | self.err | ~self.busy
        m.d.sync += timer.eq(Mux(restart | timer[-1], 0, timer + 1))
        silent: Value = timer[-1] & ~restart
        return silent
