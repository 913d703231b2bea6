"""The executing middle of the bus device: takes frames from the ring, runs their operations, stores the replies.

The rules are those of docs/bus-protocol.md, "Sequence, window, repetition" and "Requests". Everything moves byte by
byte: a reply's byte takes as long as its CRC, which is a fifth of its time on the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib import enum

from lutlab_bus import wire
from lutlab_gateware.crc import SerialCrc
from lutlab_gateware.replies import SLOTS, ReplyRing
from lutlab_gateware.requests import RequestRing

WINDOW = SLOTS - 1
_SEQUENCE_BITS = (wire.SEQUENCE_MODULUS - 1).bit_length()
_LONG, _CONTROL = 6, 7  # bits of a head
_FIXED, _CHAIN, _COUNT, _WIDE, _BRIEF = 2, 3, 4, 5, 7  # bits of an operation's first byte
_COUNT_AT, _ADDRESS_AT = 0, wire.COUNT_BYTES  # index of a field's first byte
_NARROW_LAST = _ADDRESS_AT + wire.NARROW_ADDRESS_BYTES - 1
_INFO_BYTES = wire.INFO_WORDS * wire.WORD_BYTES
_WORD_LAST = wire.WORD_BYTES - 1


class _After(enum.Enum, shape=unsigned(2)):
    """What follows when the rest of a request was skipped."""

    IDLE = 0
    REPEAT = 1
    NAK = 2
    TRAILER = 3


class FrameEngine(Elaboratable):
    """Executes frames, one bus transfer per word and per assertion of `cyc` and `stb`.

    `cyc` and `stb` fall in the cycle after `ack`, `err` or the timeout and stay low for several cycles before the next
    transfer, so a registered `ack` that lags by a cycle is never taken for the next word's.

    Args:
        requests: where frames come from. replies: where replies go. The engine drives the near side of both.
        address_bits: width of `adr`; words beyond are answered with a bus error without a transfer.
        bus_timeout_cycles: cycles a transfer may take, at least 2.
        info: the information words, `wire.INFO_WORDS` of them.

    Attributes:
        cyc, stb, we, adr, dat_w, sel: out, Wishbone initiator. `adr` counts words.
        dat_r, ack, err: in.
        damaged: in, one cycle for each frame that the receiver dropped.
        busy: out, a frame is being executed.
        status: out, status of the latest operation.
    """

    def __init__(
        self,
        requests: RequestRing,
        replies: ReplyRing,
        *,
        address_bits: int,
        bus_timeout_cycles: int,
        info: Sequence[int],
    ) -> None:
        if not 1 <= address_bits <= wire.ADDRESS_BITS_MAX:
            raise ValueError(f"{address_bits} address bits; the protocol carries 1 to {wire.ADDRESS_BITS_MAX}")
        if bus_timeout_cycles < 2:
            raise ValueError(f"a bus timeout of {bus_timeout_cycles} cycles leaves a target no time to answer")
        if len(info) != wire.INFO_WORDS or any(not 0 <= word < 1 << 32 for word in info):
            raise ValueError(f"expected {wire.INFO_WORDS} information words of 32 bits, got {list(info)}")
        self.requests, self.replies = requests, replies
        self._info = b"".join(word.to_bytes(wire.WORD_BYTES, "little") for word in info)
        self.cyc = Signal()
        self.stb = Signal()
        self.we = Signal()
        self.adr = Signal(address_bits)
        self.dat_w = Signal(32)
        self.sel = Signal(4)
        self.dat_r = Signal(32)
        self.ack = Signal()
        self.err = Signal()
        self.damaged = Signal()
        self.busy = Signal()
        self.status = Signal(2)

        self._fsm: Any = None
        self._crc = SerialCrc()
        self._head = Signal(8)
        self._brief = Signal()  # the request came as a brief one, and so goes its reply
        self._session = Signal()
        self._expected = Signal(_SEQUENCE_BITS)
        self._stored = Signal(range(SLOTS))  # replies that can be repeated
        self._has_damage = Signal()
        self._after = Signal(_After)

        self._kind = Signal(2)
        self._fixed, self._wide = Signal(), Signal()
        self._left = Signal(16)  # words to come after this one
        self._address = Signal(address_bits)
        self._beyond = Signal()  # the address does not fit into `_address`
        self._index = Signal(5)  # of a byte in whatever is being handled
        self._mask = Signal(32)
        self._differs = Signal()  # what a poll read is not what it waits for
        # A poll's time: counts down to a borrow, which is bit 32; stands still then.
        self._time = Signal(33, init=1 << 32)
        self._active = Signal()
        self._clear, self._load, self._shift = Signal(), Signal(), Signal()  # what happens to `dat_w`
        # Counts up to a carry out, which is the timeout; the start value saves a comparator.
        bits = bus_timeout_cycles.bit_length()
        self._timer = Signal(bits + 1, init=(1 << bits) - bus_timeout_cycles)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.crc = crc = self._crc
        m.d.comb += [
            self.cyc.eq(self._active),
            self.stb.eq(self._active),
            self.sel.eq(0b1111),
            self.adr.eq(self._address),
            crc.long.eq(self._head[_LONG]),
            self.replies.slot.eq(self._head),
            self.replies.brief.eq(self._brief),
            self.replies.status.eq(self.status),
            self.replies.data.eq(crc.data),
        ]
        with m.If(self._active):
            m.d.sync += self._timer.eq(self._timer + 1)
        with m.Else():
            m.d.sync += self._timer.eq(self._timer.init)
        with m.If(self.damaged):
            m.d.sync += self._has_damage.eq(1)
        with m.FSM() as self._fsm:
            self._sequence(m)
            self._begin(m)
            self._operation(m)
            self._operands(m)
            self._transfer(m)
            self._results(m)
            self._end(m)
        is_implied = self._brief & (self._fsm.ongoing("HEAD") | self._fsm.ongoing("STATUS"))  # only checked, not sent
        m.d.comb += [
            self.busy.eq(~self._fsm.ongoing("IDLE")),
            crc.data.eq(self._reply_byte(self._fsm)),
            self.replies.put.eq(crc.first & ~is_implied),
        ]
        self._registers(m, self._fsm)
        return m

    def _registers(self, m: Module, fsm: Any) -> None:
        """The word, the mask and a poll's time: shift registers, so that a byte of each is always at hand."""
        incoming, word, mask = self.requests.data, self.dat_w[:8], self._mask[:8]
        merged = Signal(8)
        m.d.comb += merged.eq(incoming)
        with m.If(fsm.ongoing("MERGE")):
            m.d.comb += merged.eq(word & ~mask | incoming & mask)
        with m.If(fsm.ongoing("COMPARE")):
            m.d.comb += merged.eq(word)
        with m.If(self._clear):
            m.d.sync += self.dat_w.eq(0)
        with m.Elif(self._load):
            m.d.sync += self.dat_w.eq(self.dat_r)
        with m.Elif(self._shift):
            m.d.sync += self.dat_w.eq(Cat(self.dat_w[8:], merged))

        with m.If(fsm.ongoing("TIME")), m.If(self.requests.take):
            m.d.sync += self._time.eq(Cat(self._time[8:32], incoming, 0))
        with m.Elif(fsm.ongoing("STATUS")):
            m.d.sync += self._time[32].eq(1)
        with m.Elif(~self._time[32]):
            m.d.sync += self._time.eq(self._time - 1)

    def _sequence(self, m: Module) -> None:
        """IDLE, JUDGE, SKIP, NAK: is it a frame to execute, to answer again or to refuse?"""
        requests, head = self.requests, self._head
        distance = Signal(_SEQUENCE_BITS)
        m.d.comb += distance.eq(self._expected - head)
        with m.State("IDLE"):
            m.d.comb += requests.mark.eq(1)
            with m.If(requests.valid):
                m.d.comb += requests.take.eq(1)
                m.d.sync += head.eq(requests.data)
                m.next = "JUDGE"
            with m.Elif(self._has_damage & requests.empty):
                m.d.sync += self._has_damage.eq(0)
                with m.If(self._session):
                    m.next = "NAK"
        with m.State("JUDGE"):
            m.d.sync += self._brief.eq(head[_CONTROL] & ~head[_LONG])
            m.next = "SKIP"
            with m.If(head[_CONTROL] & head[_LONG]):
                m.d.sync += [
                    self._session.eq(1),
                    self._expected.eq(head + 1),
                    self._stored.eq(0),
                    self.status.eq(wire.STATUS_OK),
                ]
                m.next = "BEGIN"
            with m.Elif(~self._session):
                m.d.sync += self._after.eq(_After.IDLE)
            with m.Elif(distance == 0):
                m.next = "BEGIN"
            with m.Elif(distance <= self._stored):
                m.d.sync += self._after.eq(_After.REPEAT)
            with m.Else():
                m.d.sync += self._after.eq(_After.NAK)
        with m.State("SKIP"), m.If(requests.valid):
            m.d.comb += requests.take.eq(1)
            with m.If(requests.end), m.Switch(self._after):
                with m.Case(_After.IDLE):
                    m.next = "IDLE"
                with m.Case(_After.REPEAT):
                    m.next = "SEND"
                with m.Case(_After.NAK):
                    m.next = "NAK"
                with m.Case(_After.TRAILER):
                    m.next = "TRAILER"
        with m.State("NAK"):
            m.d.sync += [head.eq(Cat(self._expected, Const(0b10, 2))), self._brief.eq(0)]
            m.next = "BEGIN"

    def _begin(self, m: Module) -> None:
        """BEGIN, HEAD: start a reply. ECHO: the zero behind a head with LONG. ECHO, INFO: the answer to a hello."""
        requests, crc, head, index = self.requests, self._crc, self._head, self._index
        with m.State("BEGIN"):
            m.d.comb += [crc.restart.eq(1), self.replies.open.eq(1)]
            m.d.sync += index.eq(0)
            m.next = "HEAD"
        with m.State("HEAD"):
            m.d.comb += crc.run.eq(1)
            with m.If(crc.done):
                m.next = "OP"
                with m.If(head[_LONG]):
                    m.next = "ECHO"
                with m.Elif(self._is_nak()):
                    m.next = "TRAILER"
        with m.State("ECHO"), m.If(requests.valid):
            m.d.comb += [crc.run.eq(~requests.end), requests.take.eq(crc.done | requests.end)]
            with m.If(crc.done & ~head[_CONTROL]):
                m.next = "OP"
            with m.If(requests.end):
                m.next = "INFO"
        with m.State("INFO"):
            m.d.comb += crc.run.eq(1)
            with m.If(crc.done):
                m.d.sync += index.eq(index + 1)
                with m.If(index == _INFO_BYTES - 1):
                    m.next = "TRAILER"

    def _operation(self, m: Module) -> None:
        """OP, FIELDS: decode an operation. The end of the frame is only welcome in OP.

        A brief operation's address stands in its first byte, where FIELDS puts over it what others bring.
        """
        requests, index, data = self.requests, self._index, self.requests.data
        with m.State("OP"), m.If(requests.valid):
            m.d.comb += requests.take.eq(1)
            m.d.sync += [
                self._kind.eq(Mux(data[_BRIEF], wire.Kind.READ, data[:2])),
                self._fixed.eq(data[_FIXED]),
                self._wide.eq(data[_WIDE]),
                index.eq(Mux(data[_COUNT], _COUNT_AT, _ADDRESS_AT)),
                self._left.eq(0),
                self._address.eq(data[:_BRIEF]),
                self._beyond.eq(data[_BRIEF] & data[:_BRIEF][len(self._address) :].any()),
                self.we.eq(0),
            ]
            m.next = "FIELDS"
            with m.If(requests.end):
                m.d.sync += index.eq(0)
                m.next = "TRAILER"
            with m.Elif(data[_BRIEF]):
                m.d.sync += self.status.eq(wire.STATUS_OK)
                m.next = "START"
            with m.Elif((data & wire.RESERVED_MASK).any()):
                m.d.sync += [self._after.eq(_After.TRAILER), index.eq(0)]
                m.next = "SKIP"
            with m.Elif(~data[_CHAIN]):
                m.d.sync += self.status.eq(wire.STATUS_OK)
        with m.State("FIELDS"), self._each_byte(m):
            m.d.sync += index.eq(index + 1)
            with m.Switch(index):
                for at in range(_NARROW_LAST + 2):
                    with m.Case(at):
                        self._field(m, at)
            with m.If(index == _NARROW_LAST + self._wide):
                m.d.sync += index.eq(0)
                self._next_word(m)

    def _field(self, m: Module, at: int) -> None:
        """Store one byte of count or address; address bits that no target has only leave a mark."""
        data = self.requests.data
        if at < _ADDRESS_AT:
            m.d.sync += self._left[8 * at : 8 * at + 8].eq(data)
            return
        low = 8 * (at - _ADDRESS_AT)
        used = max(0, min(8, len(self._address) - low))
        if used:
            m.d.sync += self._address[low : low + used].eq(data[:used])
        if used < 8:
            m.d.sync += self._beyond.eq(self._beyond | data[used:].any())

    def _operands(self, m: Module) -> None:
        """WORD, TIME, MASK: operands into their registers. MERGE, COMPARE: a value meets the word read."""
        crc, index = self._crc, self._index
        is_last = index[:2] == _WORD_LAST
        with m.State("WORD"), self._each_byte(m):
            m.d.comb += self._shift.eq(1)
            m.d.sync += index.eq(index + 1)
            with m.If(is_last):
                m.d.sync += self.we.eq(1)
                m.next = "START"
        with m.State("TIME"), self._each_byte(m):
            m.d.sync += index.eq(index + 1)
            with m.If(is_last):
                m.next = "START"
        with m.State("MASK"), self._each_byte(m):
            m.d.sync += [
                index.eq(index + 1),
                self._mask.eq(Cat(self._mask[8:], self.requests.data)),
                self._differs.eq(0),
            ]
            with m.If(is_last):
                m.next = "COMPARE"
                with m.If(self._kind == wire.Kind.MODIFY):
                    m.next = "MERGE"
        with m.State("MERGE"), self._each_byte(m, crc.done):  # the byte before goes into the reply
            m.d.comb += crc.run.eq(~self.requests.end)
            with m.If(crc.done):
                m.d.comb += self._shift.eq(1)
                m.d.sync += [index.eq(index + 1), self._mask.eq(self._mask[8:])]
                with m.If(is_last):
                    m.d.sync += self.we.eq(1)
                    m.next = "START"
        with m.State("COMPARE"), self._each_byte(m):
            m.d.comb += self._shift.eq(1)
            difference = (self.dat_w[:8] ^ self.requests.data) & self._mask[:8]
            m.d.sync += [
                index.eq(index + 1),
                self._mask.eq(self._mask[8:]),
                self._differs.eq(self._differs | difference.any()),
            ]
            with m.If(is_last):
                m.next = "DECIDE"

    def _each_byte(self, m: Module, when: Value | int = 1) -> Any:
        """A context for a byte of the frame, taken `when`. The frame's end in this place cuts the operation."""
        requests = self.requests
        with m.If(requests.valid & requests.end):
            m.d.comb += requests.take.eq(1)
            m.d.sync += self._index.eq(0)
            m.next = "TRAILER"
        with m.If(requests.valid & ~requests.end & when):
            m.d.comb += requests.take.eq(1)
        return m.If(requests.valid & ~requests.end)

    def _transfer(self, m: Module) -> None:
        """START, BUS: one transfer. DECIDE: does a poll go on?"""
        requests, status, expired = self.requests, self.status, self._time[32]
        is_ok = status == wire.STATUS_OK
        with m.State("START"):
            m.d.comb += requests.mark.eq(1)  # a poll comes back to its mask
            m.d.sync += self._index.eq(0)
            with m.If(is_ok & ~self._beyond):
                m.d.sync += self._active.eq(1)
                m.next = "BUS"
            with m.Else():
                with m.If(is_ok):
                    m.d.sync += status.eq(wire.STATUS_BUS_ERROR)
                m.d.comb += self._clear.eq(1)
                self._after_transfer(m)
        with m.State("BUS"), m.If(self.ack | self.err | self._timer[-1]):
            m.d.sync += self._active.eq(0)
            m.d.comb += self._load.eq(1)
            with m.If(self.err):
                m.d.sync += status.eq(wire.STATUS_BUS_ERROR)
                m.d.comb += self._clear.eq(1)
            with m.Elif(~self.ack):
                m.d.sync += status.eq(wire.STATUS_BUS_TIMEOUT)
                m.d.comb += self._clear.eq(1)
            self._after_transfer(m)
        with m.State("DECIDE"):
            m.d.sync += self._index.eq(0)
            m.next = "ANSWER"
            with m.If(self._differs & is_ok):
                with m.If(expired):
                    m.d.sync += status.eq(wire.STATUS_POLL_TIMEOUT)
                with m.Else():
                    m.d.comb += requests.rewind.eq(1)
                    m.next = "START"

    def _results(self, m: Module) -> None:
        """ANSWER, ADVANCE: store a word read and go to the next. STATUS: end an operation."""
        crc, index = self._crc, self._index
        after = Signal(len(self._address) + 1)
        m.d.comb += after.eq(self._address + 1)
        with m.State("ANSWER"):
            m.d.comb += crc.run.eq(1)
            with m.If(crc.done):
                m.d.comb += self._shift.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(index[:2] == _WORD_LAST):
                    m.next = "ADVANCE"
        with m.State("ADVANCE"):
            m.d.sync += [index.eq(0), self._left.eq(self._left - 1), self.we.eq(0)]
            with m.If(~self._fixed):
                m.d.sync += [self._address.eq(after), self._beyond.eq(self._beyond | after[-1])]
            self._next_word(m)
            with m.If(self._left == 0):
                m.next = "STATUS"
        with m.State("STATUS"):
            m.d.comb += crc.run.eq(1)
            with m.If(crc.done):
                m.next = "OP"

    def _end(self, m: Module) -> None:
        """TRAILER, CLOSE, ENDED: end a reply. SEND: hand it over. UNDO: a NAK leaves no trace."""
        crc, replies, head, index = self._crc, self.replies, self._head, self._index
        with m.State("TRAILER"):
            m.d.comb += [crc.run.eq(1), crc.drain.eq(1)]
            with m.If(crc.done):
                m.d.sync += index.eq(index + 1)
                with m.If(index[:2] == Mux(head[_LONG], wire.CRC32_BYTES - 1, wire.CRC16_BYTES - 1)):
                    m.next = "CLOSE"
        with m.State("CLOSE"):
            m.d.comb += replies.close.eq(1)
            m.next = "ENDED"
        with m.State("ENDED"):
            m.next = "SEND"
            with m.If(~head[_CONTROL] | self._brief):
                m.d.sync += self._expected.eq(self._expected + 1)
                m.d.sync += self._stored.eq(self._stored + (self._stored != WINDOW))
        with m.State("SEND"):
            m.d.comb += replies.send.eq(replies.ready)
            with m.If(replies.ready):
                m.next = "IDLE"
                with m.If(self._is_nak()):
                    m.next = "UNDO"
        with m.State("UNDO"), m.If(replies.ready):
            m.d.comb += replies.undo.eq(1)
            m.next = "IDLE"

    def _is_nak(self) -> Value:
        result: Value = self._head[_CONTROL] & ~self._head[_LONG] & ~self._brief
        return result

    def _reply_byte(self, fsm: Any) -> Value:
        """What goes out in each state, as an AND-OR: half the size of the multiplexers a chain of states would make."""
        is_word = fsm.ongoing("ANSWER") | fsm.ongoing("MERGE")
        choices: list[tuple[Value, Value]] = [
            (fsm.ongoing("HEAD"), self._head),
            (fsm.ongoing("ECHO"), self.requests.data),
            (fsm.ongoing("INFO"), self._info_byte()),
            (is_word, self.dat_w[:8]),
            (fsm.ongoing("STATUS"), self.status),
            (fsm.ongoing("TRAILER"), self._crc.out),
        ]
        result: Value = Const(0, 8)
        for condition, value in choices:
            result |= Mux(condition, value, 0)
        return result

    def _info_byte(self) -> Value:
        """The byte of the information words that is due: one five-input function for each of its bits."""
        columns = [sum((byte >> bit & 1) << at for at, byte in enumerate(self._info)) for bit in range(8)]
        result: Value = Cat(Const(column, _INFO_BYTES).bit_select(self._index, 1) for column in columns)
        return result

    def _next_word(self, m: Module) -> None:
        m.next = "START"
        with m.If(self._kind == wire.Kind.WRITE):
            m.next = "WORD"
        with m.Elif(self._kind == wire.Kind.POLL):
            m.next = "TIME"

    def _after_transfer(self, m: Module) -> None:
        m.next = "ANSWER"
        with m.If(self.we):
            m.next = "ADVANCE"
        with m.Elif(self._kind[1]):
            m.next = "MASK"
