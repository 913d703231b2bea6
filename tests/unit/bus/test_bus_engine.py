"""The engine and the board in memory: golden bytes, windows, repetition, damage."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from bus_rig import VECTORS, Pair, Waiting, golden_bridge, golden_operation

from lutlab_bus import ProtocolMismatch, Read, Write, wire
from lutlab_bus.engine import Greeting, State
from lutlab_bus.fake import FakeBridge
from lutlab_bus.jobs import job_of


@pytest.mark.parametrize("session", VECTORS["session"], ids=lambda s: s["name"])
def test_golden_sessions_in_the_fake(session):
    bridge = golden_bridge()
    for step in session["steps"]:
        transfers = len(bridge.transfers)
        reply = bridge.feed(bytes.fromhex(step["send"])).hex(" ")
        assert reply == step["receive"] or (step["may_receive"] and reply == step["may_receive"]), step["note"]
        assert bridge.transfers[transfers:] == [(kind, address) for kind, address, _ in step["bus"]], step["note"]


@pytest.mark.parametrize("vector", VECTORS["exchange"], ids=lambda v: v["name"])
def test_golden_exchanges_in_the_fake(vector):
    bridge = golden_bridge()
    bridge._expected = vector["sequence"]
    assert bridge.feed(bytes.fromhex(vector["line_request"])).hex(" ") == vector["line_reply"]
    told = [(kind, address) for kind, address, _ in vector["bus"]]
    assert bridge.transfers[: len(told)] == told
    assert set(bridge.transfers[len(told) :]) <= (set(told[-1:]) if vector["bus_repeats"] else set())


def at_sequence(sequence):
    pair = Pair(golden_bridge())
    pair.engine._random_bits = lambda bits: (sequence - 1) % 64 if bits == 6 else 0x0BADCAFE
    pair.open()
    return pair


@pytest.mark.parametrize("vector", VECTORS["exchange"], ids=lambda v: v["name"])
def test_golden_exchanges_in_the_engine(vector):
    operations = [golden_operation(table) for table in vector["ops"]]
    if None in operations or not operations:
        pytest.skip("the engine never says it like this")
    pair = at_sequence(vector["sequence"])
    pair.engine.info = replace(pair.engine.info, receive_ring_bytes=8192, reply_ring_bytes=8192)
    if vector["name"] == "read_one_long":
        pair.engine._long = 1
    jobs = pair.submit(*operations)
    assert pair.engine.poll(0.0).hex(" ") == vector["line_request"]
    assert pair.engine.receive(bytes.fromhex(vector["line_reply"]), 0.0) == jobs
    outcomes = [{"status": job.status, "words": list(job.words)} for job in jobs]
    assert outcomes == vector["results"]


def test_golden_hello():
    golden = VECTORS["hello"]
    pair = Pair(golden_bridge())
    pair.engine._random_bits = lambda bits: golden["sequence"] if bits == 6 else golden["nonce"]
    pair.engine.submit(Greeting(pair.owner))
    assert pair.engine.poll(0.0).hex(" ") == "00 " + golden["line_request"]
    assert len(pair.engine.receive(bytes.fromhex(golden["line_reply"]), 0.0)) == 1
    info = pair.engine.info
    assert (info.build_id, info.clk_hz, info.divider, info.window) == (0xCAFEF00D, 50_000_000, 4, 15)
    assert (info.address_bits, info.data_bits, info.bus_timeout_cycles) == (9, 32, 64)


def test_one_word_costs_at_most_18_bytes():
    for operation in (Read(511), Write(511, [0xFFFFFFFF])):
        pair = Pair()
        pair.open()
        pair.submit(operation)
        request = pair.engine.poll(0.0)
        assert len(request) + len(pair.bridge.feed(request)) <= 18


def test_another_version_is_a_mismatch():
    pair = Pair()
    pair.bridge.info[0] += 1
    pair.engine.submit(Greeting(pair.owner))
    with pytest.raises(ProtocolMismatch, match="protocol 4"):
        pair.exchange()
    assert pair.engine.state is State.CLOSED


@pytest.mark.parametrize("rings", [(256, 256), (4096, 512), (256, 4096), (8192, 8192)])
def test_rings_and_window_are_never_overfilled(rings):
    pair = Pair(FakeBridge(receive_ring_bytes=rings[0], reply_ring_bytes=rings[1], address_bits=16))
    pair.open()
    jobs = pair.submit(Write(0, list(range(3000))), *(Read(i) for i in range(300)), Read(0, 3000))
    requests, replies = [], []
    while len(pair.done) < len(jobs):
        requests.append(pair.engine.poll(0.0))
        assert sum(map(len, requests)) <= rings[0] - 1
        assert len(pair.engine._flights) <= 15
        reply = pair.bridge.feed(requests.pop(0)) if requests[0] else b""
        replies.append(reply)
        assert sum(map(len, replies)) <= rings[1] - 16
        pair.done += pair.engine.receive(replies.pop(0), 0.0)
    assert list(jobs[-1].words) == list(range(3000))


def test_a_fault_stops_the_rest_of_a_long_operation_only():
    pair = Pair(FakeBridge(address_bits=9))
    pair.open()
    jobs = pair.submit(Write(0, [7] * 4000), Read(3))
    pair.finish(jobs)
    assert [job.status for job in jobs] == [wire.STATUS_BUS_ERROR, wire.STATUS_OK]
    assert len([kind for kind, _ in pair.bridge.transfers if kind == "w"]) == 512
    assert jobs[1].value == 7


@pytest.mark.parametrize("lost", range(8))
def test_any_one_lost_frame_is_repeated_and_executed_once(lost):
    """Frames in both directions are counted; the `lost`th one vanishes."""
    count = iter(range(10**6))

    def lossy(data):
        frames = [frame for frame in data.split(b"\0") if frame]
        return b"".join(frame + b"\0" for frame in frames if next(count) != lost)

    pair = Pair()
    pair.open()
    pair.engine._frame_bytes = 64
    pair.lossy = lossy
    fifo = iter(range(1000))
    pair.bridge.target = type("Fifo", (dict,), {"get": lambda self, a, d=0: next(fifo)})()
    jobs = pair.submit(*(Read(5) for _ in range(40)))
    pair.finish(jobs)
    assert [job.value for job in jobs] == list(range(40))
    assert len(pair.bridge.transfers) == 40
    assert pair.engine.counters.retries > 0


def test_every_frame_is_long_after_damage():
    pair = Pair()
    pair.open()
    pair.lossy = lambda data: data[:-2] + b"\x55\0" if data else data
    jobs = pair.submit(Read(1))
    pair.exchange()
    pair.lossy = lambda data: data
    pair.finish(jobs)
    assert pair.engine.counters.crc_failures + pair.engine.counters.naks > 0
    jobs = pair.submit(Read(1))
    request = pair.engine.poll(pair.now_s)
    assert len(request) == 11
    assert pair.engine.receive(pair.bridge.feed(request), pair.now_s) == jobs


def test_a_frame_hidden_in_a_payload_is_not_executed():
    hidden = bytes.fromhex(VECTORS["exchange"][2]["line_request"])
    words = [int.from_bytes((b"\0" + hidden + bytes(20))[i : i + 4], "little") for i in range(0, 16, 4)]
    rng = Random(5)
    for _ in range(300):
        pair = Pair(seed=rng.getrandbits(16))
        pair.open()
        pair.lossy = lambda data: data[rng.randrange(len(data) + 1) :] if rng.random() < 0.5 else data
        pair.finish(pair.submit(Write(0x20, words)))
        assert set(pair.bridge.transfers) <= {("w", 0x20 + i) for i in range(4)}


def test_what_nobody_waits_for_is_not_sent():
    pair = Pair()
    pair.open()
    waiting = Waiting()
    job = job_of(waiting, 0, Write(1, [1]))
    pair.engine.submit(job)
    waiting.open = False
    assert pair.engine.poll(0.0) == b""
    assert pair.engine.idle


def test_a_restarted_board_executes_nothing_of_the_old_session():
    pair = Pair()
    pair.open()
    pair.submit(Write(1, [1]))
    first = pair.engine.poll(0.0)
    restarted = FakeBridge()
    assert restarted.feed(first) == b"" and not restarted.transfers


@pytest.mark.parametrize("seed", range(3))
def test_malformed_frames_are_counted_and_change_nothing(seed):
    rng = Random(seed)
    pair = Pair(seed=seed)
    pair.open()
    jobs = pair.submit(Read(1), Read(2, 3))
    request = pair.engine.poll(0.0)
    good = pair.bridge.feed(request)
    for _ in range(10_000):
        junk = bytearray(good) if rng.random() < 0.5 else bytearray(rng.randbytes(rng.randrange(1, 40)))
        for _ in range(rng.randrange(1, 4)):
            junk[rng.randrange(len(junk))] ^= 1 << rng.randrange(8)
        if good in bytes(junk) + b"\0":
            continue
        assert pair.engine.receive(bytes(junk) + b"\0", 0.0) == []
    assert pair.engine.receive(good, 0.0) == jobs
