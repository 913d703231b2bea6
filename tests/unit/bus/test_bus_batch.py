"""Batches between API and agent; expected bytes are written out by hand from the module's description."""

from __future__ import annotations

import pytest

from lutlab_bus import InvalidOperation, MalformedRequest, Modify, Poll, Read, Result, Status, Write, batch

EVERY = [
    Write(1, [0xDEADBEEF]),
    Write(511, [10, 11], fixed=True),
    Read(2, 4),
    Read(3, 8, fixed=True),
    Modify(4, mask=0xFF, value=0x12),
    Poll(5, mask=1, value=1, timeout_cycles=5000),
]
EVERY_BYTES = bytes.fromhex(
    "01000001 00000004 deadbeef  81000002 000007fc 0000000a 0000000b  02000001 00000008 00000004"
    "82000001 0000000c 00000008  03000002 00000010 000000ff 00000012  04000003 00000014 00001388 00000001 00000001"
)
ILLEGAL = {
    "": "without operations",
    "01 000001 00000000 00000001 02": "operation 1 is cut short",
    "01 000002 00000000 00000001": "operation 0 announces 2 words",
    "05 000001 00000000 00000001": "operation 0: unknown op 0x05",
    "83 000002 00000000 00000001 00000001": "unknown op 0x83",
    "02 000002 00000000 00000001 00000001": "2 words instead of 1",
    "03 000001 00000000 00000001": "1 words instead of 2",
    "04 000002 00000000 00000001 00000001": "2 words instead of 3",
    "01 000000 00000000": "0 words",
    "02 000001 00000000 00000000": "0 words",
    "02 000001 00000000 00000001 02 000001 00000002 00000001": "operation 1: byte address 0x2",
    "02 000001 000007fc 00000002": "not within 512 words",
    "82 000001 00000800 00000001": "not within 512 words",
    "03 000002 00000800 00000001 00000001": "not within 512 words",
    "82 000001 00000000 00000801": "2049 words; at most 2048",
    "04 000003 00000000 01312d01 00000000 00000000": "20000001 cycles of polling",
}


def test_there_and_back():
    assert batch.encode(EVERY) == EVERY_BYTES
    assert batch.decode(memoryview(EVERY_BYTES)) == EVERY


@pytest.mark.parametrize("text", ILLEGAL)
def test_illegal_batches(text):
    with pytest.raises(MalformedRequest, match=ILLEGAL[text]):
        batch.decode(bytes.fromhex(text))


def test_the_largest_batch_and_one_too_large():
    most = [Poll(0, 1, 1, 1)] * (batch.OPERATIONS_MAX - 1) + [Write(0, [0] * (batch.WORDS_MAX - 255))]
    message = batch.encode(most)
    assert len(message) <= batch.MESSAGE_BYTES_MAX
    assert batch.decode(message, space_words=1 << 14) == most
    for operations, word in ((most[:1] + most, "257 operations"), ([*most[1:], Write(0, [1, 2])], "2049 words")):
        with pytest.raises(InvalidOperation, match=word):
            batch.encode(operations)
    with pytest.raises(MalformedRequest, match="more than 256 operations"):
        batch.decode(bytes.fromhex("02000001 00000000 00000001") * 257)
    with pytest.raises(MalformedRequest, match="bytes; at most"):
        batch.decode(bytes(batch.MESSAGE_BYTES_MAX + 1))


def test_results_there_and_back():
    words = [[], [], [1, 2, 3, 4], [0] * 8, [0x34], [0x10]]
    statuses = [Status.OK, Status.BUS_ERROR, Status.OK, Status.BUS_TIMEOUT, Status.OK, Status.POLL_TIMEOUT]
    results = [Result(s, Write(0, w).words if w else Result(s).words) for s, w in zip(statuses, words, strict=True)]
    message = batch.encode_results(results)
    assert message.hex() == (
        "00000000" "01000000" "0000000400000001000000020000000300000004"
        "02000000" "0000000100000034" "0300000100000010"
    )  # fmt: skip
    back = batch.decode_results(message, EVERY)
    assert [r.status for r in back] == statuses
    assert [list(r.words) for r in back] == [[], [], [1, 2, 3, 4], [], [0x34], [0x10]]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "ends before operation 0"),
        ("00000001 0000002a", "ends before operation 1"),
        ("00000001 0000002a 04000000", "unknown status 4"),
        ("00000000 00000000", "operation 0 came back with 0 words instead of 1"),
        ("00000001 0000002a 00000001 00000001", "operation 1 came back with 1 words instead of 0"),
        ("00000002 0000002a", "operation 0 came back"),
        ("00000001 0000002a 00000000 00", "1 bytes behind"),
    ],
)
def test_illegal_results(text, word):
    with pytest.raises(MalformedRequest, match=word):
        batch.decode_results(bytes.fromhex(text), [Read(0), Write(0, [1])])
