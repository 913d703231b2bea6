"""Corners that random frames seldom reach: rings filled to the last byte, and what arrives while the device is busy."""

from __future__ import annotations

import random

import pytest
from device_sim import BYTE_CYCLES, PARAMETERS, READ_PATTERN, VECTORS, checked, hello
from fast_sim import COMPILER, FastDevice

from lutlab_bus import wire
from lutlab_bus.fake import FakeBridge

pytestmark = pytest.mark.skipif(COMPILER is None, reason="a C++ compiler makes the gateware fast enough for this")

RECEIVE_BYTES, REPLY_BYTES = PARAMETERS["receive_ring_bytes"], PARAMETERS["reply_ring_bytes"]
REQUESTS_MAX = RECEIVE_BYTES - 1
"""Bytes of unanswered requests on the line that the protocol lets a host have."""
REPLIES_MAX = REPLY_BYTES - 16
"""Likewise of replies."""
POLL_CYCLES = 20_000


class Memory(dict):
    """What the tempered target answers."""

    def get(self, address, default=None):
        return READ_PATTERN | address


@pytest.fixture
def device(library):
    made = FastDevice(library)
    yield made
    made.close()


@pytest.fixture
def fake():
    return FakeBridge(Memory(), **{key: value for key, value in VECTORS["device"].items() if key != "divider"})


def operation(kind, address, count=1, words=b"", flags=0):
    head = bytes([kind | wire.Op.COUNT | flags]) + (count - 1).to_bytes(2, "little")
    return head + address.to_bytes(2, "little") + words


def request(sequence, body):
    return checked(bytes([0x40 | sequence % 64]) + body)


def write_of(sequence, line_bytes):
    """A write of 100 words, and reads of a byte each behind it, that takes so many bytes on the line."""
    body = operation(wire.Kind.WRITE, 16, 100, random.Random(line_bytes).randbytes(400))
    while len(line := request(sequence, body)) < line_bytes:
        body += b"\x85"
    assert len(line) == line_bytes
    return line


def read_of(sequence, line_bytes):
    """A read, and writes of a byte of reply each behind it, whose reply takes so many bytes on the line."""
    body = operation(wire.Kind.READ, 0, 115) + bytes(0)
    left = line_bytes - (2 + 4 * 115 + 1 + 4 + 2)
    return request(sequence, body + left * operation(wire.Kind.WRITE, 7, 1, b"word"))


def agree(device, fake, line, **speeds):
    """Both give the same replies and cause the same transfers; returns the replies."""
    before = len(fake.transfers)
    wanted = fake.feed(line)
    replies, transfers = device.run(line, **speeds)
    assert replies == wanted
    assert [(kind, address) for kind, address, _ in transfers] == fake.transfers[before:]
    return replies


def test_a_request_fills_its_ring_to_the_last_byte_wherever_it_begins(device, fake):
    agree(device, fake, hello(0))
    for sequence in range(0, 80, 2):
        agree(device, fake, write_of(sequence, REQUESTS_MAX), byte_cycles=BYTE_CYCLES)
        # So the next one begins somewhere else.
        agree(device, fake, request(sequence + 1, b"\x80" * (1 + sequence % 7)))


def test_a_request_that_is_longer_than_its_ring_is_damage_and_nothing_else(device, fake):
    agree(device, fake, hello(0))
    for sequence, excess in enumerate(range(1, 40, 3)):
        line = write_of(sequence, RECEIVE_BYTES + 8 + excess)
        agree(device, fake, line, byte_cycles=BYTE_CYCLES)  # both answer with NAK
        agree(device, fake, write_of(sequence, REQUESTS_MAX))


def test_a_reply_fills_its_ring_to_the_last_byte_and_can_be_had_again(device, fake):
    agree(device, fake, hello(0))
    for sequence, line_bytes in enumerate(range(REPLIES_MAX, REPLY_BYTES + 1)):
        line = read_of(sequence, line_bytes)
        assert len(agree(device, fake, line)) == line_bytes
        assert len(agree(device, fake, line)) == line_bytes


@pytest.mark.parametrize("damage", [b"\x02\0", b"\x05abc\0", b"\xff\0"])
def test_a_nak_beside_the_longest_reply_hurts_neither(device, fake, damage):
    agree(device, fake, hello(0))
    for sequence in range(20):
        line = read_of(sequence, REPLIES_MAX)
        # The damage arrives while the reply is on its way, and again behind a repetition of it.
        nak = fake.feed(line + damage)[REPLIES_MAX:]
        replies, _ = device.run(line + damage)
        assert replies == fake.feed(line) + nak
        assert device.run(line + damage)[0] == replies


def test_a_hello_that_comes_while_a_request_is_executed_has_its_turn_behind_it(device, fake):
    agree(device, fake, hello(0))
    for sequence in range(12):
        first = 7 * sequence + 1
        line = read_of(sequence if sequence == 0 else first - 7, REPLIES_MAX - 64)
        agree(device, fake, line + hello(first), byte_cycles=BYTE_CYCLES)


def test_requests_that_come_while_a_poll_waits_have_their_turn_behind_it(device, fake):
    """Those that find no room are damage, and come through when they are repeated."""
    never = POLL_CYCLES.to_bytes(4, "little") + b"\xff" * 4 + bytes(4)
    agree(device, fake, hello(0))
    poll = request(0, bytes([wire.Kind.POLL]) + (9).to_bytes(2, "little") + never)
    behind = [request(number, operation(wire.Kind.WRITE, number, 24, bytes([number]) * 96)) for number in range(1, 12)]
    assert BYTE_CYCLES * len(b"".join(behind)) < POLL_CYCLES
    replies, transfers = device.run(poll + b"".join(behind), byte_cycles=BYTE_CYCLES)
    polled, answers = fake.feed(poll), [fake.feed(each) for each in behind]
    taken = max(count for count in range(12) if replies.startswith(polled + b"".join(answers[:count])))
    assert sum(map(len, behind[:taken])) < RECEIVE_BYTES < sum(map(len, behind[: taken + 2]))
    words = [("w", number + word) for number in range(1, taken + 1) for word in range(24)]
    reads = [each[:2] for each in transfers[: len(transfers) - len(words)]]
    assert set(reads) == {("r", 9)} and len(reads) > POLL_CYCLES // 200
    assert [each[:2] for each in transfers[len(reads) :]] == words
    assert device.run(b"".join(behind[taken:]))[0] == b"".join(answers[taken:])
