"""Any operations, any chunking, any damage: engine, board in memory and stream messages against simple models."""

from __future__ import annotations

from array import array
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lutlab_bus import LinkCounters, MalformedRequest, Modify, Poll, Read, Status, Write, stream
from lutlab_bus.engine import Engine
from lutlab_bus.fake import FakeBridge
from lutlab_bus.jobs import Vector, job_of

WORD = st.integers(0, 0xFFFF_FFFF)
ADDRESS = st.integers(0, 600)
OPERATION = st.one_of(
    st.builds(Read, ADDRESS, st.integers(1, 300), st.booleans()),
    st.builds(Write, ADDRESS, st.lists(WORD, min_size=1, max_size=300), st.booleans()),
    st.builds(Modify, ADDRESS, WORD, WORD),
    st.builds(Poll, ADDRESS, WORD, WORD, st.integers(0, 10)),
)
RING_BYTES = st.sampled_from([256, 512, 4096])


class Waiting:
    open = True


def model(operations, memory):
    """What a 512-word memory answers: (status, words) of each operation."""
    answers = []
    for operation in operations:
        status, words = Status.OK, []
        for index in range(operation.count):
            address = operation.address_words + (0 if getattr(operation, "fixed", False) else index)
            if address >= 512:
                status = Status.BUS_ERROR
            word = memory.get(address, 0) if status is Status.OK else 0
            if isinstance(operation, Write):
                if status is Status.OK:
                    memory[address] = operation.words[index]
                continue
            words.append(word)
            if status is Status.OK and isinstance(operation, Modify):
                memory[address] = word & ~operation.mask & 0xFFFFFFFF | operation.value & operation.mask
            if status is Status.OK and isinstance(operation, Poll) and (word ^ operation.value) & operation.mask:
                status = Status.POLL_TIMEOUT
        answers.append((status, words))
    return answers


def chunks(data, rng):
    while data:
        size = rng.randrange(1, len(data) + 1)
        yield data[:size]
        data = data[size:]


def spoil(data, rng, rate):
    """Flip, lose and insert bytes, each at this rate."""
    out = bytearray()
    for byte in data:
        dice = rng.random()
        if dice < rate:
            out.append(byte ^ 1 << rng.randrange(8))
        elif dice < 2 * rate:
            continue
        else:
            out.append(byte)
        if rng.random() < rate:
            out.append(rng.randrange(256))
    return bytes(out)


def carry(jobs, bridge, rng, rate=0.0, rounds_max=20_000):
    """Run jobs to their end over a line that cuts and damages."""
    engine, now_s, left = Engine(LinkCounters(), rng.getrandbits), 0.0, set(jobs)
    for job in jobs:
        engine.submit(job)
    for _ in range(rounds_max):
        request = engine.poll(now_s)
        for chunk in chunks(spoil(request, rng, rate), rng):
            for reply in chunks(spoil(bridge.feed(chunk), rng, rate), rng):
                left -= set(engine.receive(reply, now_s))
        if not left:
            return engine
        if not request and engine.wake_s is not None:
            now_s = engine.wake_s
    raise AssertionError(f"not done: {engine.counters}")


@given(operations=st.lists(OPERATION, min_size=1, max_size=12), rings=st.tuples(RING_BYTES, RING_BYTES), seed=WORD)
def test_any_operations_in_any_chunking(operations, rings, seed):
    bridge = FakeBridge(receive_ring_bytes=rings[0], reply_ring_bytes=rings[1])
    jobs = [job_of(Waiting(), i, operation) for i, operation in enumerate(operations)]
    engine = carry(jobs, bridge, Random(seed))
    memory: dict[int, int] = {}
    expected = model(operations, memory)
    assert [(job.status, list(job.words)) for job in jobs] == expected
    assert bridge.target == memory
    assert engine.counters.retries == 0


@settings(max_examples=60, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(operations=st.lists(OPERATION, min_size=1, max_size=6), seed=WORD, rate=st.sampled_from([1e-4, 1e-3]))
def test_any_damage_costs_time_and_nothing_else(operations, seed, rate):
    bridge = FakeBridge()
    jobs = [job_of(Waiting(), i, operation) for i, operation in enumerate(operations)]
    carry(jobs, bridge, Random(seed), rate)
    memory: dict[int, int] = {}
    assert [(job.status, list(job.words)) for job in jobs] == model(operations, memory)
    assert bridge.target == memory
    reference = FakeBridge()
    carry([job_of(Waiting(), i, operation) for i, operation in enumerate(operations)], reference, Random(0))
    assert bridge.transfers == reference.transfers, "something ran twice, or not at all"


@given(pairs=st.lists(st.tuples(st.integers(0, 1 << 17), WORD), min_size=1, max_size=300), seed=WORD)
def test_vectors_are_their_operations(pairs, seed):
    addresses, words = array("I", [a for a, _ in pairs]), array("I", [w for _, w in pairs])
    bridge = FakeBridge(address_bits=17)
    jobs = [Vector(Waiting(), addresses, words), Vector(Waiting(), addresses)]
    carry(jobs, bridge, Random(seed))
    memory: dict[int, int] = {}
    expected = model([op for a, w in pairs for op in (Write(a, [w]),)], memory) if max(addresses) < 512 else None
    assert jobs[1].words == array("I", [bridge.target.get(a, 0) for a in addresses])
    if expected is not None:
        assert bridge.target == memory and jobs[0].status == Status.OK


@given(garbage=st.binary(max_size=200), cut=st.integers(0, 1000), seed=WORD, operation=OPERATION)
def test_both_ends_recover_from_garbage_and_half_frames(garbage, cut, seed, operation):
    bridge = FakeBridge()
    other = Engine(LinkCounters(), Random(seed).getrandbits)
    other.submit(job_of(Waiting(), 0, operation))
    other.receive(bridge.feed(other.poll(0.0)), 0.0)
    request = other.poll(0.0)
    bridge.feed(garbage + request[: cut % (len(request) + 1)] + b"\0")  # a whole one but for its delimiter may run
    bridge.transfers.clear()
    jobs = [job_of(Waiting(), 0, Read(3))]
    carry(jobs, bridge, Random(seed + 1))
    assert bridge.transfers == [("r", 3)]


@given(reply=st.binary(min_size=1, max_size=40))
def test_no_garbage_is_taken_for_a_reply(reply):
    engine, bridge = Engine(LinkCounters(), Random(1).getrandbits), FakeBridge()
    job = job_of(Waiting(), 0, Read(0, 2))
    engine.submit(job)
    engine.receive(bridge.feed(engine.poll(0.0)), 0.0)
    good = bridge.feed(engine.poll(0.0))
    assert engine.receive(reply + b"\0", 0.0) == [] or good.strip(b"\0") in reply
    assert engine.receive(b"\0" + good, 0.0) == [job]


@given(message=st.binary(max_size=64))
def test_stream_requests_decode_or_are_malformed(message):
    try:
        operation = stream.decode_request(message)
    except MalformedRequest:
        return
    assert stream.encode_request(operation) == message


@given(words=st.lists(WORD, min_size=1, max_size=512))
def test_stream_words_survive(words):
    operation = Write(0, words)
    assert stream.decode_request(stream.encode_request(operation)) == operation
    reply = b"\x00" + len(words).to_bytes(3, "big") + b"".join(word.to_bytes(4, "big") for word in words)
    assert stream.decode_reply(reply) == array("I", words)
