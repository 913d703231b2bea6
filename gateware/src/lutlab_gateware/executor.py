"""The executing half of the bridge: takes frames from the queue, runs them on the bus and sends the replies.

It shares only the queue with the receiver, so frames arrive while earlier ones run and are answered: full duplex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value

from lutlab_bus import wire
from lutlab_gateware.crc16 import Crc16
from lutlab_gateware.queue import CommitQueue

_FIELD_BYTES = wire.HEADER_BYTES - 2  # count and address; op and tag come first
_COUNT_BYTES = 2
_INFO_ADDRESS_BITS = (wire.INFO_WORDS - 1).bit_length()


class Executor(Elaboratable):
    """Runs read and write frames, one bus transfer per word and per assertion of `cyc` and `stb`.

    `cyc` and `stb` fall in the cycle after `ack`, `err` or the timeout and stay low for several cycles before the next
    word, so a registered `ack` that lags by a cycle is never taken for the next word's.

    After a fault the remaining words of a frame are taken from the queue, or answered as zeros, but not executed.

    Args:
        queue: where frames come from. The executor drives its `take`.
        address_bits: width of `adr`; words beyond are answered with a bus error without a transfer.
        bus_timeout_cycles: cycles a transfer may take, at least 2.
        info: the information words, `wire.INFO_WORDS` of them.

    Attributes:
        cyc, stb, we, adr, dat_w, sel: out, Wishbone initiator. `adr` counts words.
        dat_r, ack, err: in.
        tx_data, tx_stb: out, to `UartTx`. tx_ready: in.
        busy: out, a frame is being executed.
        status: out, status of the latest frame.
    """

    def __init__(self, queue: CommitQueue, *, address_bits: int, bus_timeout_cycles: int, info: Sequence[int]) -> None:
        if not 1 <= address_bits <= wire.ADDRESS_BITS_MAX:
            raise ValueError(f"{address_bits} address bits; the protocol carries 1 to {wire.ADDRESS_BITS_MAX}")
        if bus_timeout_cycles < 2:
            raise ValueError(f"a bus timeout of {bus_timeout_cycles} cycles leaves a target no time to answer")
        if len(info) != wire.INFO_WORDS or any(not 0 <= word < 1 << 32 for word in info):
            raise ValueError(f"expected {wire.INFO_WORDS} information words of 32 bits, got {list(info)}")
        self.queue = queue
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
        self.tx_data = Signal(8)
        self.tx_stb = Signal()
        self.tx_ready = Signal()
        self.busy = Signal()
        self.status = Signal(2)

        self._crc = Crc16()
        self._fixed = Signal()
        self._is_info = Signal()
        self._left = Signal(16)  # words to come after this one
        self._address = Signal(max(address_bits, _INFO_ADDRESS_BITS))
        self._beyond = Signal()  # the address does not fit into `_address`
        self._byte = Signal(3)
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
            crc.data.eq(self.tx_data),
            crc.valid.eq(self.tx_stb & self.tx_ready),
        ]
        with m.If(self._active):
            m.d.sync += self._timer.eq(self._timer + 1)
        with m.Else():
            m.d.sync += self._timer.eq(self._timer.init)
        with m.If(self._clear):
            m.d.sync += self.dat_w.eq(0)
        with m.Elif(self._load):
            m.d.sync += self.dat_w.eq(self.dat_r)
        with m.Elif(self._shift):
            m.d.sync += self.dat_w.eq(Cat(self.dat_w[8:], self.queue.data))
        with m.FSM() as fsm:
            m.d.comb += [self.busy.eq(~fsm.ongoing("OP")), self.tx_data.eq(self._reply_byte(fsm))]
            self._header(m)
            self._transfer(m)
            self._reply(m)
        return m

    def _header(self, m: Module) -> None:
        """OP, TAG, FIELDS: decode the header; the tag goes straight into the reply."""
        queue, byte = self.queue, self._byte
        with m.State("OP"):
            m.d.comb += self._crc.restart.eq(1)
            m.d.sync += [byte.eq(0), self._beyond.eq(0)]
            with m.If(queue.valid):
                m.d.comb += queue.take.eq(1)
                m.d.sync += [
                    self.we.eq(queue.data[0]),
                    self._fixed.eq(queue.data[1]),
                    self._is_info.eq(queue.data[3]),
                ]
                with m.If(~queue.data[2]):  # a chained frame inherits the status of the one before
                    m.d.sync += self.status.eq(wire.STATUS_OK)
                m.next = "TAG"
        with m.State("TAG"):
            m.d.comb += self.tx_stb.eq(queue.valid)
            with m.If(queue.valid & self.tx_ready):
                m.d.comb += queue.take.eq(1)
                m.next = "FIELDS"
        with m.State("FIELDS"), m.If(queue.valid):
            m.d.comb += queue.take.eq(1)
            m.d.sync += byte.eq(byte + 1)
            with m.Switch(byte):
                for index in range(_FIELD_BYTES):
                    with m.Case(index):
                        self._field(m, index)
            with m.If(byte == _FIELD_BYTES - 1):
                m.d.sync += byte.eq(0)
                self._next_word(m)

    def _field(self, m: Module, index: int) -> None:
        """Store one byte of count or address; address bits that no target has only leave a mark."""
        data = self.queue.data
        if index < _COUNT_BYTES:
            m.d.sync += self._left[8 * index : 8 * index + 8].eq(data)
            return
        low = 8 * (index - _COUNT_BYTES)
        used = max(0, min(8, len(self._address) - low))
        if used:
            m.d.sync += self._address[low : low + used].eq(data[:used])
        if used < 8:
            m.d.sync += self._beyond.eq(self._beyond | data[used:].any())

    def _transfer(self, m: Module) -> None:
        """COLLECT, START, BUS: one word."""
        queue, byte, status = self.queue, self._byte, self.status
        is_ok = status == wire.STATUS_OK
        is_beyond = self._beyond | self._address[len(self.adr) :].any()
        with m.State("COLLECT"), m.If(queue.valid):
            m.d.comb += [queue.take.eq(1), self._shift.eq(1)]
            m.d.sync += byte.eq(byte + 1)
            with m.If(byte == wire.WORD_BYTES - 1):
                m.d.sync += byte.eq(0)
                m.next = "START"
        with m.State("START"):
            with m.If(is_ok & ~self._is_info & ~is_beyond):
                m.d.sync += self._active.eq(1)
                m.next = "BUS"
            with m.Else():
                with m.If(is_ok & ~self._is_info):
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

    def _reply(self, m: Module) -> None:
        """ANSWER, ADVANCE: send a word read and go to the next. STATUS, TRAILER: end the reply."""
        byte = self._byte
        after = Signal(len(self._address) + 1)
        m.d.comb += after.eq(self._address + 1)
        with m.State("ANSWER"):
            m.d.comb += self.tx_stb.eq(1)
            with m.If(self.tx_ready):
                m.d.comb += self._shift.eq(1)
                m.d.sync += byte.eq(byte + 1)
                with m.If(byte == wire.WORD_BYTES - 1):
                    m.next = "ADVANCE"
        with m.State("ADVANCE"):
            m.d.sync += [byte.eq(0), self._left.eq(self._left - 1)]
            with m.If(~self._fixed):
                m.d.sync += self._address.eq(after)
                m.d.sync += self._beyond.eq(self._beyond | after[-1])
            self._next_word(m)
            with m.If(self._left == 0):
                m.next = "STATUS"
        with m.State("STATUS"):
            m.d.comb += self.tx_stb.eq(1)
            with m.If(self.tx_ready):
                m.next = "TRAILER"
        with m.State("TRAILER"):  # see Crc16: sending `high` brings up the low byte
            m.d.comb += self.tx_stb.eq(1)
            with m.If(self.tx_ready):
                m.d.sync += byte.eq(byte + 1)
                with m.If(byte == wire.CRC_BYTES - 1):
                    m.next = "OP"

    def _reply_byte(self, fsm: Any) -> Value:
        """What goes out in each state, as an AND-OR: half the size of the multiplexers a chain of states would make."""
        is_word = fsm.ongoing("ANSWER")
        choices: list[tuple[Value, Value]] = [
            (fsm.ongoing("TAG"), self.queue.data),
            (is_word & ~self._is_info, self.dat_w[:8]),
            (is_word & self._is_info, self._info_byte()),
            (fsm.ongoing("STATUS"), self.status),
            (fsm.ongoing("TRAILER"), self._crc.high),
        ]
        result: Value = Const(0, 8)
        for condition, value in choices:
            result |= Mux(condition, value, 0)
        return result

    def _info_byte(self) -> Value:
        """The byte of the information words that is due: one five-input function for each of its bits."""
        index = Cat(self._byte[:2], self._address[:_INFO_ADDRESS_BITS])
        columns = [sum((byte >> bit & 1) << at for at, byte in enumerate(self._info)) for bit in range(8)]
        result: Value = Cat(Const(column, len(self._info)).bit_select(index, 1) for column in columns)
        return result

    def _next_word(self, m: Module) -> None:
        m.next = "START"
        with m.If(self.we):
            m.next = "COLLECT"

    def _after_transfer(self, m: Module) -> None:
        m.next = "ANSWER"
        with m.If(self.we):
            m.next = "ADVANCE"
