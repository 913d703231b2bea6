"""The public binary messages; expected bytes are written out by hand from the board API contract."""

from __future__ import annotations

from array import array

import pytest

from lutlab_bus import InvalidOperation, MalformedRequest, Read, Result, Status, Write, stream

LEGAL = {
    "01 000001 00000004 deadbeef": Write(1, [0xDEADBEEF]),
    "01 000002 00000000 00000001 ffffffff": Write(0, [1, 0xFFFFFFFF]),
    "81 000002 000007fc 0000000a 0000000b": Write(511, [10, 11], fixed=True),
    "02 000001 00000008 00000004": Read(2, 4),
    "02 000001 00000000 00000200": Read(0, 512),
}
ILLEGAL = {
    "": "0 bytes",
    "02 000001 00000000": "8 bytes",
    "03 000001 00000000 00000001": "unknown op 0x03",
    "82 000001 00000000 00000001": "unknown op 0x82",
    "00 000001 00000000 00000001": "unknown op 0x00",
    "01 000000 00000000 00000001": "announces 0 words",
    "01 000002 00000000 00000001": "announces 2 words",
    "01 000001 00000000 00000001 00": "announces 1 words",
    "02 000002 00000000 00000001 00000001": "a read announces 2 words",
    "02 000001 00000000 00000000": "0 words",
    "01 000001 00000002 00000001": "not a multiple of 4",
    "02 000001 00000800 00000001": "not within 512 words",
    "02 000001 000007fc 00000002": "not within 512 words",
    "81 000001 00000800 00000001": "not within 512 words",
    "01 000002 000007fc 00000001 00000002": "not within 512 words",
    "02 000001 00000000 00000201": "513 words",
    "02 000001 fffffffc ffffffff": "not within 512 words",
}


@pytest.mark.parametrize("text", LEGAL)
def test_decode_and_encode_request(text):
    operation = stream.decode_request(bytes.fromhex(text))
    assert operation == LEGAL[text]
    assert stream.encode_request(LEGAL[text]) == bytes.fromhex(text)


@pytest.mark.parametrize("text", ILLEGAL)
def test_illegal_requests(text):
    with pytest.raises(MalformedRequest, match=ILLEGAL[text]):
        stream.decode_request(bytes.fromhex(text))


def test_the_longest_request_and_one_too_long():
    longest = stream.encode_request(Write(0, range(512)))
    assert len(longest) == stream.REQUEST_BYTES_MAX == 2056
    assert stream.decode_request(longest) == Write(0, range(512))
    with pytest.raises(MalformedRequest, match="2060 bytes"):
        stream.decode_request(bytes.fromhex("01 000201 00000000") + bytes(4 * 513), space_words=1024)


def test_a_larger_address_space():
    assert stream.decode_request(bytes.fromhex("02 000001 00000800 00000001"), space_words=1024) == Read(512)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind):
    assert stream.decode_request(kind(bytes.fromhex("01 000001 00000004 deadbeef"))) == Write(1, [0xDEADBEEF])


def test_replies():
    read, write = Read(0, 2), Write(0, [1])
    words = array("I", [1, 0xDEADBEEF])
    assert stream.encode_reply(read, Result(Status.OK, words)).hex() == "0000000200000001deadbeef"
    assert words[1] == 0xDEADBEEF, "the caller's words are left alone"
    assert stream.encode_reply(write, Result(Status.OK)).hex() == "00000000"
    assert stream.encode_reply(read, Result(Status.BUS_ERROR, words)).hex() == "01000000"
    assert stream.ERROR_REPLY.hex() == "01000000"


def test_decode_reply():
    assert stream.decode_reply(bytes.fromhex("00000002 00000001 deadbeef")) == array("I", [1, 0xDEADBEEF])
    assert stream.decode_reply(bytes(4)) == array("I")
    assert stream.decode_reply(stream.ERROR_REPLY) is None


@pytest.mark.parametrize("text", ["", "000000", "00000001", "00000000 00", "02000000"])
def test_illegal_replies(text):
    with pytest.raises(MalformedRequest):
        stream.decode_reply(bytes.fromhex(text))


@pytest.mark.parametrize("operation", [Read(0, 2, fixed=True), Read(0, 513), Write(0, range(513))])
def test_what_a_message_cannot_say(operation):
    with pytest.raises(InvalidOperation):
        stream.encode_request(operation)
