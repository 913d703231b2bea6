"""The arriving half of the bridge: only whole frames with a good CRC reach the queue; everything else vanishes.

This is the seam of the wire format: the executor reads headers and payloads from the queue and never sees a CRC, a gap
or a bad byte. Rules (docs/bus-protocol.md): a frame that breaks any rule puts the receiver into FLUSH, which swallows
bytes until the line was silent for `silence_cycles`; silence in the middle of a frame drops the frame.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib import enum
from amaranth.lib.crc.catalog import CRC16_IBM_3740

from lutlab_bus import wire
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
        data, stb, err: in, from `UartRx`.
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

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        queue = self.queue
        m.submodules.crc = crc = CRC16_IBM_3740(data_width=8).create()
        m.d.comb += [queue.push_data.eq(self.data), crc.data.eq(self.data), crc.valid.eq(self.stb)]

        state = Signal(_State)
        is_write = Signal()
        field = Signal(range(_FIELD_BYTES))
        left = Signal(range(self.write_words_max))  # words of payload to come, minus one
        too_long = Signal()
        byte = Signal(2)
        m.d.comb += self.busy.eq(state != _State.IDLE)
        with m.Switch(state):
            with m.Case(_State.IDLE):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [field.eq(0), byte.eq(0), too_long.eq(0)]
                with m.If(self.stb):
                    m.d.comb += queue.push.eq(1)
                    m.d.sync += [is_write.eq(self.data[0]), state.eq(_State.FIELDS)]
                    # Information words cannot be written, and any other first byte is noise.
                    with m.If((self.data[4:] != _TYPE_NIBBLE) | (self.data[0] & self.data[3])):
                        m.d.sync += state.eq(_State.FLUSH)
            with m.Case(_State.FIELDS), m.If(self.stb):
                m.d.comb += queue.push.eq(1)
                m.d.sync += field.eq(field + 1)
                self._count(m, field, left, too_long)
                with m.If(field == _FIELD_BYTES - 1):
                    m.d.sync += state.eq(_State.CRC)
                    with m.If(is_write):
                        m.d.sync += state.eq(_State.PAYLOAD)
                        with m.If(too_long):
                            m.d.sync += state.eq(_State.FLUSH)
            with m.Case(_State.PAYLOAD), m.If(self.stb):
                m.d.comb += queue.push.eq(1)
                m.d.sync += byte.eq(byte + 1)
                with m.If(byte == wire.WORD_BYTES - 1):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.sync += state.eq(_State.CRC)
            with m.Case(_State.CRC), m.If(self.stb):
                m.d.sync += byte.eq(byte + 1)
                with m.If(byte == wire.CRC_BYTES - 1):
                    m.d.sync += state.eq(_State.VERDICT)
            with m.Case(_State.VERDICT):  # the CRC register is up to date one cycle after the last byte
                m.d.comb += queue.commit.eq(crc.match_detected)
                m.d.sync += state.eq(Mux(crc.match_detected, _State.IDLE, _State.FLUSH))
            with m.Case(_State.FLUSH):
                m.d.comb += queue.rollback.eq(1)
        silent = self._silence(m)
        with m.If(self.err | (queue.push & queue.full)):
            m.d.sync += state.eq(_State.FLUSH)
        with m.Elif(silent):
            m.d.comb += queue.rollback.eq(1)
            m.d.sync += state.eq(_State.IDLE)
        return m

    def _silence(self, m: Module) -> Value:
        """High in the cycle that ends `silence_cycles` without a byte; its timer stands still while idle."""
        timer = Signal(range(self.silence_cycles + 1))
        restart = self.stb | self.err | ~self.busy
        m.d.sync += timer.eq(Mux(restart | timer[-1], 0, timer + 1))
        silent: Value = timer[-1] & ~restart
        return silent

    def _count(self, m: Module, field: Signal, left: Signal, too_long: Signal) -> None:
        """Pick the word count out of the header: its low bits into `left`, anything above into `too_long`."""
        low_bits, high_bits = min(len(left), 8), max(len(left) - 8, 0)
        with m.If(field == _WORDS_LOW):
            m.d.sync += [left[:low_bits].eq(self.data), too_long.eq(self.data[low_bits:].any())]
        with m.If(field == _WORDS_HIGH):
            m.d.sync += too_long.eq(too_long | self.data[high_bits:].any())
            if high_bits:
                m.d.sync += left[8:].eq(self.data)
