"""Any operations, any chunking, any garbage: framer, fake bridge and stream messages against simple models."""

from __future__ import annotations

from array import array
from binascii import crc_hqx

from hypothesis import given
from hypothesis import strategies as st

from lutlab_bus import MalformedRequest, ProtocolFault, Read, Status, Write, stream
from lutlab_bus.fake import FakeBridge
from lutlab_bus.framer import Framer, Limits
from lutlab_bus.hello import encode_hello, find_hello, sync_bytes

WORD = st.integers(0, 0xFFFF_FFFF)
ADDRESS = st.integers(0, 600)
OPERATION = st.one_of(
    st.builds(Read, ADDRESS, st.integers(1, 300), st.booleans()),
    st.builds(Write, ADDRESS, st.lists(WORD, min_size=1, max_size=300), st.booleans()),
)
QUEUE_BYTES = st.sampled_from([16, 64, 256, 4096])


def model(operations, memory):
    """What a 512-word memory answers: (status, words) of each operation."""
    answers = []
    for operation in operations:
        status, words = Status.OK, []
        for index in range(operation.count):
            address = operation.address_words + (0 if operation.fixed else index)
            if address >= 512:
                status = Status.BUS_ERROR
            if isinstance(operation, Write):
                if status is Status.OK:
                    memory[address] = operation.words[index]
            else:
                words.append(memory.get(address, 0) if status is Status.OK else 0)
        answers.append((status, words))
    return answers


@given(operations=st.lists(OPERATION, max_size=12), queue_bytes=QUEUE_BYTES, tag=st.integers(0, 255), data=st.data())
def test_any_operations_in_any_chunking(operations, queue_bytes, tag, data):
    bridge = FakeBridge(queue_bytes=queue_bytes)
    framer = Framer(operations, Limits(queue_bytes=queue_bytes, write_words_max=queue_bytes // 8), tag)
    while not framer.done:
        request = framer.data_to_send()
        assert len(request) <= queue_bytes
        cut = data.draw(st.integers(0, len(request)))
        reply = bridge.feed(request[:cut]) + bridge.feed(request[cut:])
        assert reply, "neither sent nor due, but not done"
        while reply:
            size = data.draw(st.integers(1, len(reply)))
            framer.receive(reply[:size])
            reply = reply[size:]
    memory: dict[int, int] = {}
    expected = model(operations, memory)
    assert [(result.status, list(result.words)) for result in framer.results()] == expected
    assert bridge.target == memory


@given(reply=st.binary(min_size=1, max_size=40))
def test_no_garbage_is_taken_for_a_reply(reply):
    framer = Framer([Read(0, 2)], Limits(queue_bytes=256, write_words_max=32))
    framer.data_to_send()
    try:
        framer.receive(reply)
    except ProtocolFault:
        assert not framer.done
    else:
        assert not framer.done or crc_hqx(reply, 0xFFFF) == 0


@given(before=st.binary(max_size=200), after=st.binary(max_size=20), tag=st.integers(0, 255))
def test_a_hello_is_found_among_any_bytes(before, after, tag):
    reply = FakeBridge(build_id=77).feed(encode_hello(tag))
    found = find_hello(before + reply + after)
    assert found is not None and found.tag == tag and found.info.build_id == 77
    assert found.end == len(before + reply)


@given(operation=OPERATION, garbage=st.binary(min_size=1, max_size=30), cut=st.integers(0, 1000), silence=st.booleans())
def test_the_bridge_recovers_from_garbage_and_half_frames(operation, garbage, cut, silence):
    bridge = FakeBridge(queue_bytes=4096)
    limits = Limits(queue_bytes=4096, write_words_max=512)
    request = Framer([operation], limits).data_to_send()
    bridge.feed(garbage + request[: cut % len(request)])
    if silence:
        bridge.silence()
    else:
        bridge.feed(sync_bytes(None, 1))
    bridge.transfers.clear()
    framer = Framer([Read(3)], limits)
    framer.receive(bridge.feed(framer.data_to_send()))
    assert framer.results()[0].ok
    assert bridge.transfers == [("r", 3)]


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
