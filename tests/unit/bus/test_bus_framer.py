"""The framer against the golden bytes, and its limits."""

from __future__ import annotations

import tomllib
from array import array
from pathlib import Path

import pytest

from lutlab_bus import InvalidOperation, ProtocolFault, ProtocolMismatch, Read, Status, Write
from lutlab_bus.fake import BusErrorAt, BusSilentAt, FakeBridge
from lutlab_bus.framer import FRAMES_IN_FLIGHT_MAX, REPLY_BYTES_MAX, Framer, Limits
from lutlab_bus.hello import encode_hello, find_hello

VECTORS = tomllib.loads((Path(__file__).parents[2] / "golden" / "bus_protocol_v1.toml").read_text())
EXCHANGES = VECTORS["exchange"]
LIMITS = Limits(queue_bytes=4096, write_words_max=512)


def operation(vector):
    if vector["kind"] == "read":
        return Read(vector["address_words"], vector["count"], vector["fixed"])
    return Write(vector["address_words"], vector["words"], vector["fixed"])


def run(operations, bridge, limits=LIMITS, first_tag=0):
    """Run operations against a bridge in memory; returns results and the request bytes."""
    framer, sent = Framer(operations, limits, first_tag), bytearray()
    while not framer.done:
        request = framer.data_to_send()
        sent += request
        framer.receive(bridge.feed(request))
    return framer.results(), bytes(sent)


@pytest.mark.parametrize("vector", EXCHANGES, ids=[v["name"] for v in EXCHANGES])
def test_golden_exchange(vector):
    framer = Framer([operation(vector)], LIMITS, vector["tag"])
    assert framer.data_to_send().hex(" ") == vector["request"]
    assert framer.data_to_send() == b""
    framer.receive(bytes.fromhex(vector["reply"]))
    assert framer.done
    (result,) = framer.results()
    assert result.status == Status(vector["status"])
    assert list(result.words) == vector["reply_words"]


def test_golden_hello():
    hello = VECTORS["hello"]
    assert encode_hello(hello["tag"]).hex(" ") == hello["request"]
    reply = bytes.fromhex(hello["reply"])
    found = find_hello(b"stale UL" + reply + b"more")
    info = found.info
    assert found.tag == hello["tag"] and found.end == 8 + len(reply)
    assert (info.build_id, info.clk_hz, info.divider, info.baud) == (0xCAFEF00D, 50_000_000, 4, 12_500_000)
    assert (info.bus_timeout_cycles, info.silence_cycles, info.address_bits, info.data_bits) == (64, 2048, 9, 32)
    assert info.limits == Limits(queue_bytes=256, write_words_max=32)
    assert find_hello(reply[:-1]) is None
    assert find_hello(reply[:-1] + b"\x00") is None


def test_hello_of_another_version_is_a_mismatch():
    bridge = FakeBridge()
    bridge._info[0] += 1
    with pytest.raises(ProtocolMismatch, match="protocol 2, this host 1"):
        find_hello(bridge.feed(encode_hello(3)))


@pytest.mark.parametrize("vector", EXCHANGES, ids=[v["name"] for v in EXCHANGES])
def test_the_fake_bridge_speaks_the_golden_bytes(vector):
    reply = FakeBridge(GoldenTarget()).feed(bytes.fromhex(vector["request"]))
    assert reply.hex(" ") == vector["reply"]


class GoldenTarget(dict):
    """The target of the golden vectors."""

    def get(self, address, default=None):
        self._temper(address)
        return 0x1000_0000 | address

    def __setitem__(self, address, word):
        self._temper(address)

    def _temper(self, address):
        if address in (0x1F0, 0x1F1):
            raise BusErrorAt if address == 0x1F0 else BusSilentAt


def test_long_operations_are_cut_and_put_together():
    words = array("I", range(100, 100 + 3000))
    bridge = FakeBridge(address_bits=24)
    (written, read), sent = run([Write(7, words), Read(7, 3000)], bridge)
    assert written.ok and read.words == words
    assert len(sent) < 4 * 3000 * 1.02
    assert [address for kind, address in bridge.transfers] == [*range(7, 3007)] * 2


def test_fixed_operations_stay_at_their_address():
    bridge = FakeBridge()
    run([Write(5, range(1000), fixed=True), Read(5, 2000, fixed=True)], bridge)
    assert {address for _, address in bridge.transfers} == {5}


def test_after_a_fault_the_rest_of_an_operation_is_neither_sent_nor_executed_but_the_next_one_is():
    bridge = FakeBridge(address_bits=9)
    (failed, after), sent = run([Write(500, range(10_000)), Read(0, 1)], bridge)
    assert failed.status is Status.BUS_ERROR
    assert after.ok
    assert bridge.transfers == [("w", a) for a in range(500, 512)] + [("r", 0)]
    assert len(sent) <= LIMITS.queue_bytes + 9


@pytest.mark.parametrize("queue_bytes", [16, 64, 4096])
def test_no_more_bytes_are_unanswered_than_the_bridge_queues(queue_bytes):
    limits = Limits(queue_bytes=queue_bytes, write_words_max=queue_bytes // 8)
    bridge = FakeBridge(queue_bytes=queue_bytes)
    framer = Framer([Write(0, range(300)), *[Read(1)] * 300, Read(0, 400)], limits)
    replies, most, frames = [], 0, 0
    in_flight = bytearray()
    while not framer.done:
        request = framer.data_to_send()
        in_flight += request
        most = max(most, len(in_flight))
        reply = bridge.feed(request)
        frames += len(reply) > 0
        framer.receive(reply)
        in_flight.clear()
        replies.append(reply)
    assert most <= queue_bytes
    assert max(map(len, replies)) <= REPLY_BYTES_MAX


def test_frames_in_flight_stay_below_the_number_of_tags():
    framer = Framer([Read(0)] * 1000, Limits(queue_bytes=32_768, write_words_max=4096))
    assert len(framer.data_to_send()) == 9 * FRAMES_IN_FLIGHT_MAX


def test_one_write_carries_several_operations():
    framer = Framer([Read(a) for a in range(100)], LIMITS)
    assert len(framer.data_to_send()) == 900
    assert framer.data_to_send() == b""


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("00 00 00 00 10 00 0d 62", "bad CRC"),
        ("01 00 00 00 10 00 5b b8", "bad CRC"),
        ("00 00 00 00 10 00 0d 63 00", "1 bytes came after the last reply"),
    ],
)
def test_a_bad_reply_is_a_protocol_fault(reply, message):
    framer = Framer([Read(0)], LIMITS)
    framer.data_to_send()
    with pytest.raises(ProtocolFault, match=message):
        framer.receive(bytes.fromhex(reply))


def test_a_reply_to_another_frame_is_a_protocol_fault():
    framer = Framer([Read(0)], LIMITS, first_tag=9)
    framer.data_to_send()
    with pytest.raises(ProtocolFault, match="tag 0, expected 9"):
        framer.receive(bytes.fromhex("00 00 00 00 10 00 0d 63"))


def test_an_unasked_reply_is_a_protocol_fault():
    with pytest.raises(ProtocolFault):
        Framer([Read(0)], LIMITS).receive(b"x")


def test_an_empty_batch_is_done():
    framer = Framer([], LIMITS)
    assert framer.done and framer.data_to_send() == b"" and framer.results() == []


def test_results_own_their_words():
    (result,), _ = run([Read(0, 3)], FakeBridge())
    result.words.append(1)  # a buffer that is still exported could not grow


def test_too_many_operations_are_refused():
    with pytest.raises(InvalidOperation, match="65537 operations"):
        Framer([Read(0)] * 65_537, LIMITS)
