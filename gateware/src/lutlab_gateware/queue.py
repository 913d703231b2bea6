"""A byte queue whose tail is provisional: bytes become readable when their frame is committed, or vanish."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory


class CommitQueue(Elaboratable):
    """First in, first out; what was pushed since the last commit can still be taken back.

    One block RAM port writes, the other reads. A byte takes three cycles to read, which is ample at a serial line's
    speed and needs no address look-ahead.

    Args:
        depth: bytes, a power of two, at least 16. One slot stays free, so `depth - 1` bytes fit.

    Attributes:
        push: in, store `push_data`; ignored while `full`.
        push_data: in, 8 bits.
        full: out, nothing more fits.
        commit: in, make everything pushed so far readable. Not together with `push`.
        rollback: in, forget what was pushed since the last commit; wins over `push`.
        data: out, 8 bits, the oldest committed byte; valid while `valid`.
        valid: out.
        take: in, remove that byte; only while `valid`.
    """

    def __init__(self, depth: int) -> None:
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"queue depth {depth} is not a power of two of at least 16")
        self.depth = depth
        self.push = Signal()
        self.push_data = Signal(8)
        self.full = Signal()
        self.commit = Signal()
        self.rollback = Signal()
        self.data = Signal(8, reset_less=True)
        self.valid = Signal()
        self.take = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        write_port = memory.write_port()
        read_port = memory.read_port(domain="comb")

        head = Signal(range(self.depth))  # next byte to read
        committed = Signal(range(self.depth))  # end of the readable bytes
        tail = Signal(range(self.depth))  # end of the provisional bytes
        after_tail = Signal(range(self.depth))
        m.d.comb += [
            after_tail.eq(tail + 1),
            self.full.eq(after_tail == head),
            write_port.addr.eq(tail),
            write_port.data.eq(self.push_data),
            write_port.en.eq(self.push & ~self.full),
        ]
        with m.If(self.rollback):
            m.d.sync += tail.eq(committed)
        with m.Elif(self.push & ~self.full):
            m.d.sync += tail.eq(after_tail)
        with m.If(self.commit):
            m.d.sync += committed.eq(tail)

        # A block RAM shows its output late (5.8 ns in speed grade 6), so a register follows; `valid` waits for both.
        fetched = Signal(8, reset_less=True)
        is_fetched = Signal()
        m.d.comb += read_port.addr.eq(head)
        m.d.sync += [
            fetched.eq(read_port.data),
            is_fetched.eq((head != committed) & ~self.take),
            self.data.eq(fetched),
            self.valid.eq(is_fetched & ~self.take),
        ]
        with m.If(self.take):
            m.d.sync += head.eq(head + 1)
        return m
