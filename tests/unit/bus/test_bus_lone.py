"""A frame alone on the line: the same bytes as through the engine's queue, and what becomes of it otherwise."""

from __future__ import annotations

from array import array

import pytest
from bus_rig import Pair

from lutlab_bus import Read, Write, wire
from lutlab_bus.fake import FakeBridge
from lutlab_bus.jobs import Vector, job_of
from lutlab_bus.lone import LoneFrame

ADDRESSES = array("I", [7, 3, 300, 7, 65_000] * 40)
FRAME_BYTES = 4096


def ready():
    pair = Pair(FakeBridge(address_bits=16, receive_ring_bytes=1 << 16, reply_ring_bytes=1 << 16))
    pair.open()
    pair.engine._frame_bytes = FRAME_BYTES
    for address in range(1000):
        pair.bridge.target[address] = address * 0x10_0001
    return pair


def vector(pair):
    return Vector(pair.owner, ADDRESSES)


def block(pair):
    return job_of(pair.owner, 0, Read(100, 500))


def writes(pair):
    return job_of(pair.owner, 0, Write(5, list(range(600))))


MAKERS = pytest.mark.parametrize("make", [vector, block, writes])


def lone(pair, job):
    assert pair.engine.quick
    frame = LoneFrame.of(job, pair.engine.sequence, pair.engine.frame_bytes)
    assert frame is not None
    return frame


@MAKERS
def test_the_bytes_and_the_outcome_are_the_engines(make):
    pair, other = ready(), ready()
    frame = lone(pair, make(pair))
    queued = make(other)
    other.engine.submit(queued)
    assert frame.line == other.engine.poll(0.0)
    reply = pair.bridge.feed(frame.line)
    assert frame.accept(bytearray(reply[:-1]))
    pair.engine.advance_long(frame, len(reply))
    assert other.engine.receive(other.bridge.feed(frame.line), 0.0) == [queued]
    assert (frame.job.words, frame.job.status) == (queued.words, queued.status)
    told, counted = pair.engine.counters, other.engine.counters
    assert (told.frames, told.operations) == (counted.frames, counted.operations)
    assert (told.bytes_sent, told.bytes_received) == (counted.bytes_sent, counted.bytes_received)
    pair.finish(pair.submit(Read(3), Read(4, 100)))
    assert pair.engine.counters.retries == 0, "the next one has the next number"


def test_no_reply_but_the_right_one_is_accepted():
    pair = ready()
    frame = lone(pair, vector(pair))
    reply = bytearray(pair.bridge.feed(frame.line)[:-1])
    for at in range(len(reply)):
        for bit in (0, 3, 7):
            reply[at] ^= 1 << bit
            assert not frame.accept(reply)
            reply[at] ^= 1 << bit
    for cut in (reply[:-1], reply[1:], reply + b"\x01", bytearray(), reply + b"\0" + reply):
        assert not frame.accept(cut)
    pair.engine.advance_long(frame, 0)
    other = lone(pair, vector(pair))
    assert not other.accept(reply), "that was the reply to the frame before"
    assert other.accept(bytearray(pair.bridge.feed(other.line)[:-1]))


@MAKERS
@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_lost_one_is_repeated_by_the_engine_and_runs_once(make, lost):
    pair = ready()
    frame = lone(pair, make(pair))
    pair.bridge.feed(b"" if lost == "request" else frame.line)
    pair.engine.adopt_long(frame, 0.0)
    pair.finish([frame.job])
    assert frame.job.status == wire.STATUS_OK
    assert len(pair.bridge.transfers) == frame.job.count
    assert pair.engine._request_bytes == pair.engine._reply_bytes == 0
    assert not pair.engine.quick, "after a sign of damage all goes through the queue"


@MAKERS
def test_a_reply_in_pieces_is_for_the_engine(make):
    pair = ready()
    frame = lone(pair, make(pair))
    reply = pair.bridge.feed(frame.line)
    pair.engine.adopt_long(frame, 0.0)
    assert pair.engine.receive(reply[:5], 0.0) == []
    assert pair.engine.receive(reply[5:], 0.0) == [frame.job]
    assert pair.engine.quick and pair.engine.counters.retries == 0


def test_faults_of_the_design_are_told():
    pair = Pair(FakeBridge(address_bits=9, receive_ring_bytes=1 << 16, reply_ring_bytes=1 << 16))
    pair.open()
    frame = lone(pair, vector(pair))
    assert frame.accept(bytearray(pair.bridge.feed(frame.line)[:-1]))
    assert frame.job.status == wire.STATUS_BUS_ERROR


@pytest.mark.parametrize("operation", [Read(0, 4000), Write(0, [1] * 4000), Read(0, 2), Write(0, [1, 2])], ids=str)
def test_what_is_too_long_or_short_is_left_as_it_was(operation):
    pair = ready()
    job = job_of(pair.owner, 0, operation)
    assert LoneFrame.of(job, 0, FRAME_BYTES) is None
    assert job.position == 0 and not job.exhausted
