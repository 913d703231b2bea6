"""Brief frames: when the engine uses them, what it does when one is lost, and what damage cannot do to them."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from bus_rig import Pair

from lutlab_bus import Modify, ProtocolMismatch, Read, Write, brief, wire
from lutlab_bus.engine import Greeting, State
from lutlab_bus.fake import FakeBridge, _seal, _stuff


def ready(**changes):
    """A pair whose device takes brief requests, with the sequence number 20 next."""
    pair = Pair(FakeBridge(**changes))
    pair.engine._random_bits = lambda bits: 18 if bits == 6 else 0x0BADCAFE
    pair.open()
    pair.finish(pair.submit(Read(0)))
    return pair


def asked(pair, *operations):
    """The bytes that ask for these."""
    pair.submit(*operations)
    return pair.engine.poll(pair.now_s)


def test_one_word_costs_ten_bytes_and_two_zeros():
    pair = ready()
    pair.bridge.target[127] = 0xDEADBEEF
    (job,) = pair.submit(Read(127))
    request = pair.engine.poll(0.0)
    reply = pair.bridge.feed(request[:-1])
    assert len(request) == 4 and len(reply) == 8, "the reply comes before the zero behind the request"
    assert pair.engine.receive(reply[:-1], 0.0) == [job] and job.value == 0xDEADBEEF
    assert pair.bridge.feed(request[-1:]) == b"" and pair.engine.receive(reply[-1:], 0.0) == []
    assert pair.engine.counters.crc_failures == 0


@pytest.mark.parametrize(
    "operations", [[Read(128)], [Read(1, 2)], [Write(1, [1])], [Modify(1, 1, 1)], [Read(1), Read(2)]], ids=str
)
def test_everything_else_is_ordinary(operations):
    assert asked(ready(), *operations)[0] < wire.BRIEF


def test_not_beside_another_frame_nor_behind_one_with_long():
    pair = ready()
    first = asked(pair, Read(1))
    assert first[0] >= wire.BRIEF and asked(pair, Read(2))[0] < wire.BRIEF
    pair = ready()
    pair.finish(pair.submit(Read(1, 100)))
    assert asked(pair, Read(1))[0] < wire.BRIEF
    pair.exchange()
    pair = Pair()
    pair.open()
    assert asked(pair, Read(1))[0] < wire.BRIEF, "hello has LONG"


def test_a_check_with_a_zero_in_it_is_said_in_the_ordinary_way():
    pair = ready()
    unsayable = [(address, n) for address in range(128) for n in range(64) if not brief.request(address, n)]
    assert 0 < len(unsayable) <= 32
    for address, sequence in unsayable:
        pair.engine._sequence = pair.bridge._expected = sequence
        jobs = pair.submit(Read(address))
        line = pair.engine.poll(0.0)
        assert line[0] < wire.BRIEF
        assert pair.engine.receive(pair.bridge.feed(line), 0.0) == jobs


@pytest.mark.parametrize("address_bits", [5, 9])
def test_a_fault_comes_in_the_same_form(address_bits):
    pair = ready(address_bits=address_bits)
    (job,) = pair.submit(Read(100))
    line = pair.engine.poll(0.0)
    reply = pair.bridge.feed(line)
    assert line[0] >= wire.BRIEF and reply[0] >= wire.BRIEF and len(reply) == 8
    assert pair.engine.receive(reply, 0.0) == [job]
    assert job.status == (wire.STATUS_BUS_ERROR if address_bits == 5 else wire.STATUS_OK)


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_lost_one_is_repeated_in_the_ordinary_way_and_runs_once(lost):
    pair = ready()
    (job,) = pair.submit(Read(7))
    request = pair.engine.poll(0.0)
    pair.bridge.feed(b"" if lost == "request" else request)
    pair.now_s = pair.engine.wake_s
    repeated = pair.engine.poll(pair.now_s)
    assert repeated[0] == 0 and repeated[1] == 2 and repeated[2] == wire.Head.LONG | 20
    assert len(repeated) <= 24
    reply = pair.bridge.feed(repeated)
    assert (reply[0] >= wire.BRIEF) == (lost == "reply"), "the stored one is a brief one"
    assert pair.engine.receive(reply, pair.now_s) == [job]
    assert pair.bridge.transfers == [("r", 0), ("r", 7)]
    assert pair.engine._request_bytes == pair.engine._reply_bytes == 0
    assert asked(pair, Read(7))[0] < wire.BRIEF, "after a sign of damage it is avoided"


def executed(line, armed=True):
    bridge = FakeBridge()
    bridge._expected, bridge._armed = 20, armed
    bridge.feed(line)
    return bridge.transfers


def test_it_is_taken_behind_an_undamaged_frame_without_long_only():
    line = brief.request(5, 20)
    assert executed(line) == [("r", 5)] and not executed(line, armed=False)
    assert not executed(_stuff(b"\x01\x02\x03") + line)
    assert not executed(_seal(wire.Head.LONG | 19, b"") + line)
    assert executed(_seal(19, b"") + line) == [("r", 5)]
    assert not executed(b"\x03\x00\x00" + line), "an empty frame mends nothing"


def test_up_to_three_wrong_bits_or_sixteen_in_a_row_never_reach_the_bus():
    for address in (3, 101):
        good = int.from_bytes(brief.request(address, 20)[:3], "big")
        masks = [1 << a | 1 << b | 1 << c for a, b, c in combinations(range(24), 3)]
        masks += [1 << a | 1 << b for a, b in combinations(range(24), 2)] + [1 << a for a in range(24)]
        masks += [burst << at for at in range(9) for burst in range(1, 1 << 16, 2)]
        for mask in masks:
            difference = _difference((good ^ mask).to_bytes(3, "big"))
            assert difference != 20


def _difference(line):
    """The sequence number of a brief request; None if it is none."""
    if not line[0] & 0x80 or 0 in line[:3]:
        return None
    given = int.from_bytes(line[1:3], "big")
    made = int.from_bytes(brief_check(line[0]), "big")
    return given ^ made if (given ^ made) < 64 else None


def brief_check(first):
    register = 0xFFFF
    for bit in range(7, -1, -1):
        carry = (register >> 15) ^ (first >> bit & 1)
        register = (register << 1 & 0xFFFF) ^ (0x1021 if carry else 0)
    return (register ^ 0xC080).to_bytes(2, "big")


def test_no_ordinary_frame_becomes_one_by_its_first_bit_or_by_losing_its_first_byte():
    """All beginnings of ordinary requests, whatever sequence number is expected then."""
    codes, ops = range(1, 0x22), range(1, 0x40)
    heads = range(1, 0x40)
    beginnings = [(1, code, op) for code in codes for op in (*ops, *range(0x80, 0x100))]
    beginnings += [(2, head, code) for head in range(1, 256) if not 0x80 <= head < 0xC0 for code in range(1, 256)]
    beginnings += [(code, head, op) for code in codes if code > 2 for head in heads for op in ops]
    for first, second, third in beginnings:
        assert _difference(bytes((first | 0x80, second, third))) is None
        assert second < 0x80 or second >= 0xC0  # only hello's second byte could be a first one


@pytest.mark.parametrize("seed", range(4))
def test_words_one_by_one_over_a_bad_line(seed):
    """Brief frames are not avoided here as they are after damage, so that there is some in them."""
    rng = Random(seed)

    def lossy(data):
        out = bytearray()
        for byte in data:
            dice = rng.random()
            out += b"" if dice < 0.004 else bytes((byte ^ 1 << rng.randrange(8),)) if dice < 0.008 else bytes((byte,))
            out += rng.randbytes(1) if dice > 0.996 else b""
        return bytes(out)

    fifo = iter(range(10**6))
    pair = ready()
    pair.bridge.target = type("Fifo", (dict,), {"get": lambda self, a, d=0: next(fifo) if a == 5 else d})()
    pair.lossy = lossy
    briefs = 0
    for number in range(1500):
        pair.engine._long = 0
        pair.engine._armed = pair.engine._armed or rng.random() < 0.3
        (job,) = pair.submit(Read(5))
        line = pair.exchange()
        briefs += line[:1] >= b"\x80"
        pair.finish([job])
        pair.done.clear()
        assert (job.status, job.value) == (wire.STATUS_OK, number)
    assert briefs > 300
    assert pair.bridge.transfers[1:] == [("r", 5)] * 1500


def test_malformed_replies_to_a_brief_request_change_nothing():
    rng = Random(3)
    pair = ready()
    (job,) = pair.submit(Read(1))
    good = pair.bridge.feed(pair.engine.poll(0.0))
    bits = 8 * 7
    masks = [1 << a | 1 << b for a, b in combinations(range(bits), 2)] + [1 << a for a in range(bits)]
    for mask in masks + [rng.getrandbits(bits) for _ in range(10_000)]:
        junk = (int.from_bytes(good[:7], "big") ^ mask).to_bytes(7, "big") + b"\0"
        assert junk == good or pair.engine.receive(junk, 0.0) == []
    assert pair.engine.receive(good, 0.0) == [job]


def test_a_version_2_bitstream_is_refused():
    """It answers this hello, although its own has no zero behind the head: it sends back what it does not know."""
    pair = Pair()
    pair.engine.submit(Greeting(pair.owner))
    head = pair.engine.poll(0.0)[2]
    info = b"".join(word.to_bytes(4, "little") for word in [0x4C550002, *pair.bridge.info[1:]])
    nonce = pair.engine._nonce.to_bytes(4, "little")
    with pytest.raises(ProtocolMismatch, match="protocol 2, this host 3; rebuild"):
        pair.engine.receive(_seal(head, nonce + info), 0.0)
    assert pair.engine.state is State.CLOSED
