"""The executing half of the bridge: takes frames from the queue, runs them on the bus and sends the replies.

It shares only the queue with the receiver, so frames arrive while earlier ones run and are answered: full duplex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal
from amaranth.lib.crc.catalog import CRC16_IBM_3740

from lutlab_bus import wire
from lutlab_gateware.queue import CommitQueue

_FIELD_BYTES = wire.HEADER_BYTES - 2  # count and address; op and tag come first


class Executor(Elaboratable):
    """Runs read and write frames, one bus transfer per word and per assertion of `cyc` and `stb`.

    `cyc` and `stb` fall in the cycle after `ack`, `err` or the timeout and stay low for several cycles before the next
    word, so a registered `ack` that lags by a cycle is never taken for the next word's.

    After a fault the remaining words of a frame are taken from the queue, or answered as zeros, but not executed.

    Args:
        queue: where frames come from. The executor drives its `take`.
        address_bits: width of `adr`; words beyond are answered with a bus error without a transfer.
        bus_timeout_cycles: cycles a transfer may take.
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
        self.bus_timeout_cycles = bus_timeout_cycles
        self.info = tuple(info)
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

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        queue, status = self.queue, self.status
        m.submodules.crc = crc = CRC16_IBM_3740(data_width=8).create()

        write, fixed, info = Signal(), Signal(), Signal()
        left = Signal(16)  # words to come after this one
        address = Signal(wire.ADDRESS_BITS_MAX + 1)  # one more bit, so that counting past the top is seen
        data = Signal(32)
        byte = Signal(3)
        active = Signal()
        trailer = Signal()  # `data` holds the CRC, not a word
        timer = Signal(range(self.bus_timeout_cycles))

        info_word = Signal(32)
        with m.Switch(address[:3]):
            for index, word in enumerate(self.info):
                with m.Case(index):
                    m.d.comb += info_word.eq(word)

        m.d.comb += [
            self.cyc.eq(active),
            self.stb.eq(active),
            self.we.eq(write),
            self.adr.eq(address),
            self.dat_w.eq(data),
            self.sel.eq(0b1111),
            self.tx_data.eq(data[:8]),
            crc.data.eq(self.tx_data),
            crc.valid.eq(self.tx_stb & self.tx_ready & ~trailer),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("OP"))
            with m.State("OP"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [byte.eq(0), trailer.eq(0), timer.eq(0)]
                with m.If(queue.valid):
                    m.d.comb += queue.take.eq(1)
                    m.d.sync += Cat(write, fixed).eq(queue.data)
                    m.d.sync += info.eq(queue.data[3])
                    with m.If(~queue.data[2]):  # a chained frame inherits the status of the one before
                        m.d.sync += status.eq(wire.STATUS_OK)
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += [self.tx_data.eq(queue.data), self.tx_stb.eq(queue.valid)]
                with m.If(queue.valid & self.tx_ready):
                    m.d.comb += queue.take.eq(1)
                    m.next = "FIELDS"
            with m.State("FIELDS"), m.If(queue.valid):
                m.d.comb += queue.take.eq(1)
                m.d.sync += [Cat(left, address[:24]).eq(Cat(left, address[:24], queue.data)[8:]), byte.eq(byte + 1)]
                with m.If(byte == _FIELD_BYTES - 1):
                    m.d.sync += [address[24].eq(0), byte.eq(0)]
                    self._next_word(m, write)
            with m.State("COLLECT"), m.If(queue.valid):
                m.d.comb += queue.take.eq(1)
                m.d.sync += [data.eq(Cat(data[8:], queue.data)), byte.eq(byte + 1)]
                with m.If(byte == wire.WORD_BYTES - 1):
                    m.d.sync += byte.eq(0)
                    m.next = "START"
            with m.State("START"):
                m.next = "ANSWER"
                with m.If(status != wire.STATUS_OK):
                    m.d.sync += data.eq(0)
                with m.Elif(info):
                    m.d.sync += data.eq(info_word)
                with m.Elif(address[len(self.adr) :].any()):
                    m.d.sync += [data.eq(0), status.eq(wire.STATUS_BUS_ERROR)]
                with m.Else():
                    m.d.sync += active.eq(1)
                    m.next = "BUS"
            with m.State("BUS"):
                m.d.sync += timer.eq(timer + 1)
                late = timer == self.bus_timeout_cycles - 1
                with m.If(self.ack | self.err | late):
                    m.d.sync += [active.eq(0), timer.eq(0), data.eq(0)]
                    m.next = "ANSWER"
                    with m.If(self.err):
                        m.d.sync += status.eq(wire.STATUS_BUS_ERROR)
                    with m.Elif(self.ack):
                        m.d.sync += data.eq(self.dat_r)
                    with m.Else():
                        m.d.sync += status.eq(wire.STATUS_BUS_TIMEOUT)
            with m.State("ANSWER"):
                m.d.comb += self.tx_stb.eq(~write)
                with m.If(write):
                    m.next = "ADVANCE"
                with m.Elif(self.tx_ready):
                    m.d.sync += [data.eq(data[8:]), byte.eq(byte + 1)]
                    with m.If(byte == wire.WORD_BYTES - 1):
                        m.next = "ADVANCE"
            with m.State("ADVANCE"):
                m.d.sync += [byte.eq(0), left.eq(left - 1), address.eq(address + ~fixed)]
                self._next_word(m, write)
                with m.If(left == 0):
                    m.d.sync += data[:8].eq(status)
                    m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += self.tx_stb.eq(1)
                with m.If(self.tx_ready):
                    m.next = "SEAL"
            with m.State("SEAL"):  # the CRC register is up to date one cycle after the status byte
                m.d.sync += [data[:16].eq(Cat(crc.crc[8:], crc.crc[:8])), trailer.eq(1)]
                m.next = "TRAILER"
            with m.State("TRAILER"):
                m.d.comb += self.tx_stb.eq(1)
                with m.If(self.tx_ready):
                    m.d.sync += [data.eq(data[8:]), byte.eq(byte + 1)]
                    with m.If(byte == wire.CRC_BYTES - 1):
                        m.next = "OP"
        return m

    def _next_word(self, m: Module, write: Signal) -> None:
        m.next = "START"
        with m.If(write):
            m.next = "COLLECT"
