"""The departing half of the bus device: replies are kept in a ring as they go over the line, ready to go again.

A reply is COBS-encoded while it is stored: the code of a block is written into its place once the block's end is known.
So sending, the first time or again, is copying bytes until the zero that ends the frame. A reply that was overwritten
by later ones is not recognised here; its check, stored with it, tells the host.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib.memory import Memory

from lutlab_bus import wire
from lutlab_gateware.cobs import CODE_MAX
from lutlab_gateware.requests import check_ring

SLOTS = 16
"""Replies whose place is known, the one being written among them; so a window of one less."""
CYCLES_PER_PUT_MIN = 4
"""Cycles from one `put` to the next or to `close`."""


class ReplyRing(Elaboratable):
    """Stores replies and sends them.

    Args:
        depth: bytes, a power of two.

    Attributes:
        slot: in, 4 bits, which reply; held through `open`, `undo` and `send`.
        open: in, begin a reply. put: in, append `data` (8 bits). close: in, end it; takes two cycles.
        undo: in, give back the space of the reply in `slot`, which was the latest.
        brief: in, the reply being stored is a brief one, with `status` (2 bits) in its first byte.
        send: in, send the reply in `slot`; only while `ready`.
        ready: out, nothing is being sent.
        tx_data, tx_stb: out, to `UartTx`. tx_ready: in.
    """

    def __init__(self, depth: int) -> None:
        self.depth = check_ring("reply_ring_bytes", depth)
        self.slot = Signal(range(SLOTS))
        self.open = Signal()
        self.put = Signal()
        self.data = Signal(8)
        self.close = Signal()
        self.undo = Signal()
        self.brief = Signal()
        self.status = Signal(2)
        self.send = Signal()
        self.ready = Signal()
        self.tx_data = Signal(8, reset_less=True)
        self.tx_stb = Signal()
        self.tx_ready = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        m.submodules.places = places = Memory(shape=range(self.depth), depth=SLOTS, init=[])
        note = places.write_port()
        place = places.read_port(domain="comb")
        tail = Signal(range(self.depth))
        m.d.comb += [
            note.addr.eq(self.slot),
            note.data.eq(tail),
            note.en.eq(self.open),
            place.addr.eq(self.slot),
        ]
        self._store(m, memory.write_port(), tail, place.data)
        self._send(m, memory.read_port(domain="comb"), place.data)
        return m

    def _store(self, m: Module, port: Any, tail: Signal, place: Signal) -> None:
        """Each byte takes three cycles: hold it; close a full block before it; store it, or close the block if zero."""
        code_at = Signal(len(tail))  # where the code of the current block will be
        code = Signal(8)  # bytes in it, plus one
        held = Signal(8)
        is_held, is_cut, is_last = Signal(), Signal(), Signal()  # steps of a `put`; second step of `close`
        writes_code, begins_block, stores_byte = Signal(), Signal(), Signal()
        is_full, is_zero, is_first = Signal(), Signal(), Signal()
        first_code = Cat(Const(0, wire.BRIEF_STATUS_SHIFT), self.status, Const(0b10, 2))
        m.d.sync += [
            is_held.eq(self.put),
            is_cut.eq(is_held),
            is_last.eq(self.close),
            is_full.eq(code == CODE_MAX),
            is_zero.eq(held == 0),
        ]
        with m.If(self.put | self.close):
            m.d.sync += held.eq(Mux(self.put, self.data, 0))
        ends_block = Signal()
        m.d.comb += [
            ends_block.eq((is_held & is_full) | (is_cut & is_zero)),
            stores_byte.eq((is_cut & ~is_zero) | is_last),
            writes_code.eq(ends_block | self.close),
            begins_block.eq(ends_block | self.open),
            port.addr.eq(Mux(writes_code, code_at, tail)),
            port.data.eq(Mux(writes_code, code | Mux(is_first & self.brief, first_code, 0), held)),
            port.en.eq(writes_code | stores_byte),
        ]
        with m.If(self.undo):
            m.d.sync += tail.eq(place)
        with m.Elif(begins_block | stores_byte):
            m.d.sync += tail.eq(tail + 1)
        with m.If(begins_block):
            m.d.sync += [code_at.eq(tail), code.eq(1), is_first.eq(self.open)]
        with m.Elif(stores_byte):
            m.d.sync += code.eq(code + 1)

    def _send(self, m: Module, port: Any, place: Signal) -> None:
        at = Signal(range(self.depth))
        fetched = Signal(8, reset_less=True)
        m.d.comb += port.addr.eq(at)
        m.d.sync += [fetched.eq(port.data), self.tx_data.eq(fetched)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.ready.eq(1)
                with m.If(self.send):
                    m.d.sync += at.eq(place)
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "HOLD"
            with m.State("HOLD"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.tx_stb.eq(1)
                with m.If(self.tx_ready):
                    m.d.sync += at.eq(at + 1)
                    m.next = "FETCH"
                    with m.If(self.tx_data == 0):
                        m.next = "IDLE"
