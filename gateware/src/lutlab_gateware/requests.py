"""The arriving half of the bus device: only whole frames with a right check reach the ring; all others vanish."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib.memory import Memory

from lutlab_bus import wire
from lutlab_gateware.cobs import CobsDecoder
from lutlab_gateware.crc import SerialCrc

CYCLES_BETWEEN_BYTES_MIN = 12
"""What the receiver needs for a byte: nine for its CRC, and some to hand over a frame. A UART takes 40."""
RING_BYTES_MIN = 16
RING_BYTES_MAX = 32_768
_LONG_BIT, _CONTROL_BIT = wire.Head.LONG.bit_length() - 1, wire.Head.CONTROL.bit_length() - 1
_SEQUENCE_BITS = wire.SEQUENCE_MASK.bit_length()
_XOR_HIGH, _XOR_LOW = divmod(wire.BRIEF_CHECK_XOR, 256)


def check_ring(name: str, depth: int) -> int:
    """Return `depth`.

    Raises:
        ValueError: it is no power of two between `RING_BYTES_MIN` and `RING_BYTES_MAX`.
    """
    if not RING_BYTES_MIN <= depth <= RING_BYTES_MAX or depth & (depth - 1):
        raise ValueError(f"{name} {depth} is not a power of two from {RING_BYTES_MIN} to {RING_BYTES_MAX}")
    return depth


class RequestRing(Elaboratable):
    """A ring of frames in block RAM whose newest part is provisional until its frame is committed.

    Each entry has a bit beside it that marks the end of a frame. An entry takes three cycles to read, ample at a serial
    line's speed. Entries behind the mark are kept, so that a reader can go back to it.

    Args:
        depth: entries, a power of two. One stays free, so `depth - 1` fit.

    Attributes:
        push: in, store `push_data` (8 bits); ignored while `full`. Not in two cycles in a row.
        push_end: in, with `push`: this is the end of a frame. Always fits behind `strip`; else only while not `full`.
        full: out, a cycle late, and wrong in the cycle after `strip`.
        strip: in, take back the check at the frame's end: four entries if `long`, else two.
        commit: in, make everything pushed so far readable.
        rollback: in, forget everything pushed since the last commit. `push`, `strip`, `commit` and `rollback` come one
            at a time.
        data: out, 8 bits, the oldest entry. end: out, it is the end of a frame. Both valid while `valid`.
        take: in, remove it; only while `valid`.
        mark: in, remember this place, and give up what is older. rewind: in, go back there.
        empty: out, nothing is readable.
    """

    def __init__(self, depth: int) -> None:
        self.depth = check_ring("receive_ring_bytes", depth)
        self.push = Signal()
        self.push_data = Signal(8)
        self.push_end = Signal()
        self.full = Signal()
        self.strip = Signal()
        self.long = Signal()
        self.commit = Signal()
        self.rollback = Signal()
        self.data = Signal(8, reset_less=True)
        self.end = Signal(reset_less=True)
        self.valid = Signal()
        self.take = Signal()
        self.mark = Signal()
        self.rewind = Signal()
        self.empty = Signal()
        self._head = Signal(range(depth))  # next entry to read
        self._marked = Signal(range(depth))  # oldest entry that must be kept
        self._committed = Signal(range(depth))  # end of the readable entries
        self._tail = Signal(range(depth))  # end of the provisional ones

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # The marks have a memory of their own: nine bits would not divide evenly among block RAMs.
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        m.submodules.marks = marks = Memory(shape=1, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        write_port, mark_port = memory.write_port(), marks.write_port()
        read_port, is_mark_port = memory.read_port(domain="comb"), marks.read_port(domain="comb")

        head, marked, committed, tail = self._head, self._marked, self._committed, self._tail
        step = Signal(range(self.depth))
        after = Signal(range(self.depth))
        stores = Signal()
        m.d.comb += [
            # 1, or -2 or -4
            step.eq(Cat(~self.strip, self.strip & ~self.long, self.strip.replicate(len(step) - 2))),
            stores.eq(self.push & (~self.full | self.push_end)),
            self.empty.eq(head == committed),
            after.eq(tail + step),
            write_port.addr.eq(tail),
            write_port.data.eq(self.push_data),
            write_port.en.eq(stores),
            mark_port.addr.eq(tail),
            mark_port.data.eq(self.push_end),
            mark_port.en.eq(stores),
        ]
        m.d.sync += self.full.eq(after == marked)
        with m.If(self.rollback):
            m.d.sync += tail.eq(committed)
        with m.Elif(self.strip | stores):
            m.d.sync += tail.eq(after)
        with m.If(self.commit):
            m.d.sync += committed.eq(tail)

        # A block RAM shows its output late (5.8 ns in speed grade 6), so a register follows; `valid` waits for both.
        fetched = Signal(9, reset_less=True)
        is_fetched = Signal()
        moves = Signal()
        m.d.comb += [moves.eq(self.take | self.rewind), read_port.addr.eq(head), is_mark_port.addr.eq(head)]
        m.d.sync += [
            fetched.eq(Cat(read_port.data, is_mark_port.data)),
            is_fetched.eq(~self.empty & ~moves),
            Cat(self.data, self.end).eq(fetched),
            self.valid.eq(is_fetched & ~moves),
        ]
        with m.If(self.rewind):
            m.d.sync += head.eq(marked)
        with m.Elif(self.take):
            m.d.sync += head.eq(head + 1)
        with m.If(self.mark):
            m.d.sync += marked.eq(head)
        return m


class FrameReceiver(Elaboratable):
    """Decodes and checks frames as their bytes arrive, and commits the good ones to a ring, without their check.

    A brief request is committed at its third byte, as the ordinary frame that it stands for: a head with CONTROL and
    the sequence number, and its first byte as the operation. The number is what is left of its check.

    Args:
        ring: where frames go. The receiver drives its writing side.

    Attributes:
        data, stb, err: in, from `UartRx`; a byte at most every `CYCLES_BETWEEN_BYTES_MIN` cycles.
        damaged: out, one cycle for each frame dropped.
        busy: out, a frame is arriving.
    """

    def __init__(self, ring: RequestRing) -> None:
        self.ring = ring
        self.data = Signal(8)
        self.stb = Signal()
        self.err = Signal()
        self.damaged = Signal()
        self.busy = Signal()
        self._decoder = CobsDecoder()
        self._crc = SerialCrc()
        self._count = Signal(range(2 * wire.SHORT_BYTES_MAX))  # of bytes; stops one above the longest short frame
        self._summing = Signal()
        self._overflow = Signal()
        self._is_control = Signal()
        self._armed = Signal()  # the frame before was undamaged and without LONG
        self._matches = Signal()  # all of a brief request so far
        self._taken = Signal()  # it was, and nothing came behind it
        self._first = Signal(_CONTROL_BIT)
        self._left = Signal(8)  # of the brief request's byte when the CRC is taken out of it
        self._fsm: Any = None

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.decoder = decoder = self._decoder
        m.submodules.crc = crc = self._crc
        m.d.comb += [
            decoder.data.eq(self.data),
            decoder.stb.eq(self.stb),
            decoder.err.eq(self.err),
            self.busy.eq(decoder.busy),
            crc.data.eq(decoder.byte),
            crc.run.eq(self._summing),
            self.ring.long.eq(crc.long),
            self.ring.push_data.eq(decoder.byte),
            # At the third byte of a brief request the lower half's turn has come.
            self._left.eq(decoder.byte ^ Mux(self._count[1], crc.low ^ _XOR_LOW, crc.high ^ _XOR_HIGH)),
        ]
        with m.FSM() as self._fsm:
            self._ordinary(m)
            self._brief(m)
        self._bytes(m)
        return m

    def _ordinary(self, m: Module) -> None:
        """TAKE: bytes go to the ring as they come. JUDGE, MARK, COMMIT: the end of a frame."""
        ring, decoder, crc, count = self.ring, self._decoder, self._crc, self._count
        is_good, is_damaged, is_third = Signal(), Signal(), Signal()
        m.d.comb += is_third.eq(decoder.byte_stb & self._matches & count[1])
        m.d.sync += [
            is_good.eq(decoder.whole & crc.good & ~self._overflow & self._has_good_length(count) & ~decoder.brief),
            is_damaged.eq(~((count == 0) | self._taken) | ~decoder.whole),
        ]
        with m.State("TAKE"):
            m.d.comb += ring.push.eq(decoder.byte_stb & ~decoder.brief)
            with m.If(decoder.end):
                m.d.sync += [count.eq(0), self._overflow.eq(0)]
                m.next = "JUDGE"
            with m.If(is_third & (self._left[_SEQUENCE_BITS:] == 0) & ~decoder.broken):
                m.next = "HEAD"
        with m.State("JUDGE"):
            with m.If(is_good | is_damaged):
                m.d.sync += self._armed.eq(is_good & ~crc.long)
            with m.If(is_good):
                m.d.comb += ring.strip.eq(1)
                m.next = "MARK"
            with m.Else():  # an empty frame is no damage
                m.d.comb += [ring.rollback.eq(1), self.damaged.eq(is_damaged)]
                m.next = "TAKE"
        with m.State("MARK"):  # the check made room for the mark, so it fits
            m.d.comb += [ring.push.eq(1), ring.push_end.eq(1)]
            m.next = "COMMIT"
        with m.State("COMMIT"):
            m.d.comb += ring.commit.eq(1)
            m.next = "TAKE"

    def _brief(self, m: Module) -> None:
        """HEAD, OPERATION, ROOM: the frame it stands for. HEADED, OPERATED: wait until the ring knows if it is full."""
        ring, overflow = self.ring, self._overflow
        with m.State("HEAD"):
            m.d.comb += [ring.push.eq(1), ring.push_data.eq(Cat(self._left[:_SEQUENCE_BITS], Const(0b10, 2)))]
            m.d.sync += overflow.eq(overflow | ring.full)
            m.next = "HEADED"
        with m.State("HEADED"):
            m.next = "OPERATION"
        with m.State("OPERATION"):
            m.d.comb += [ring.push.eq(1), ring.push_data.eq(Cat(self._first, 1))]
            m.d.sync += overflow.eq(overflow | ring.full)
            m.next = "OPERATED"
        with m.State("OPERATED"):
            m.next = "ROOM"
        with m.State("ROOM"):  # there is no check to make room for the mark
            with m.If(overflow | ring.full):
                m.d.comb += ring.rollback.eq(1)
                m.next = "TAKE"
            with m.Else():
                m.d.comb += [ring.push.eq(1), ring.push_end.eq(1)]
                m.d.sync += self._taken.eq(1)
                m.next = "COMMIT"

    def _bytes(self, m: Module) -> None:
        """What each byte of a frame does, beside going to the ring."""
        decoder, crc, count, matches = self._decoder, self._crc, self._count, self._matches
        is_first = count == 0
        with m.If(decoder.byte_stb):
            m.d.comb += crc.restart.eq(is_first)
            m.d.sync += [
                count.eq(count + (count <= wire.SHORT_BYTES_MAX)),
                self._summing.eq(is_first | ~decoder.brief),
                self._overflow.eq(self._overflow | self.ring.full),
                matches.eq(matches & (self._left == 0) & ~count[1]),
                self._taken.eq(0),
            ]
            with m.If(is_first):
                m.d.sync += [
                    crc.long.eq(decoder.byte[_LONG_BIT] & ~decoder.brief),
                    self._is_control.eq(decoder.byte[_CONTROL_BIT]),
                    self._first.eq(decoder.byte),
                    matches.eq(self._armed & decoder.brief),
                ]
        with m.Elif(crc.done):
            m.d.sync += self._summing.eq(0)

    def _has_good_length(self, count: Signal) -> Any:
        is_short = (count >= wire.FRAME_BYTES_MIN) & (count <= wire.SHORT_BYTES_MAX) & ~self._is_control
        return Mux(self._crc.long, count >= wire.LONG_BYTES_MIN, is_short)
