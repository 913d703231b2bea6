"""The bus device against the golden bytes of the protocol, with every kind of acknowledge."""

from __future__ import annotations

import pytest
from bus_sim import Break, run_bridge
from device_sim import VECTORS, checked, hello, run_device, stuff

from lutlab_bus import brief
from lutlab_bus.fake import FakeBridge

EXCHANGES = VECTORS["exchange"]
SESSIONS = VECTORS["session"]
DELAYS = pytest.mark.parametrize("delay", [0, 1, 3], ids=["combinational", "registered", "stretched"])


def transfers(entries):
    return [tuple(entry) for entry in entries]


def is_bus_as_told(vector, started):
    """`bus_repeats`: a poll reads its word as often as its time allows."""
    expected = transfers(vector["bus"])
    if vector["bus_repeats"]:
        return started[: len(expected)] == expected and set(started[len(expected) :]) <= {expected[-1]}
    return started == expected


def test_the_bench_stuffs_like_the_golden_bytes():
    assert all(stuff(bytes.fromhex(v["request"])).hex(" ") == v["line_request"] for v in EXCHANGES)


@DELAYS
def test_exchanges(delay):
    script = [part for v in EXCHANGES for part in (hello(v["sequence"]), bytes.fromhex(v["line_request"]))]
    seen = run_device(script, delay=delay)[1::2]
    for vector, got in zip(EXCHANGES, seen, strict=True):
        assert got.reply.hex(" ") == vector["line_reply"], vector["name"]
        assert is_bus_as_told(vector, got.started), (vector["name"], got.started)
        assert [t for t in got.started if t[1] not in (0x1F0, 0x1F1)] == got.acked, "one ack per transfer"


def test_hello():
    (got,) = run_device([bytes.fromhex(VECTORS["hello"]["line_request"])])
    assert got.reply.hex(" ") == VECTORS["hello"]["line_reply"]


@pytest.mark.parametrize("session", SESSIONS, ids=[s["name"] for s in SESSIONS])
def test_session(session):
    seen = run_device([bytes.fromhex(step["send"]) for step in session["steps"]])
    for step, got in zip(session["steps"], seen, strict=True):
        assert got.reply.hex(" ") in (step["receive"], step["may_receive"] or step["receive"]), step["note"]
        assert got.started == transfers(step["bus"]), step["note"]


def test_every_exchange_bit_by_bit():
    script = [hello(v["sequence"]) + bytes.fromhex(v["line_request"]) for v in EXCHANGES]
    seen = run_bridge(script)
    assert all(got.reply.hex(" ").endswith(v["line_reply"]) for v, got in zip(EXCHANGES, seen, strict=True))


def test_a_break_on_the_line_spoils_only_what_it_hits():
    """The line goes low for 30 bits in the middle of a frame, as when a cable is pulled; then it comes back."""
    vector = EXCHANGES[0]
    request, reply = bytes.fromhex(vector["line_request"]), bytes.fromhex(vector["line_reply"])
    seen = run_bridge([hello(vector["sequence"]), request[:4], Break(30), request, b"\0" + request])
    assert seen[2].started == seen[3].started == []
    assert seen[4].reply == reply


def test_a_brief_read_beyond_a_narrow_bus_tells_its_fault():
    """The status stands in the first byte of the reply; the next brief read begins without it."""
    fake = FakeBridge(address_bits=5, window=15)
    script = [hello(10), checked(b"\x0a"), *(brief.request(a, n) for a, n in ((31, 11), (32, 12), (127, 13), (0, 14)))]
    seen = run_device(script, address_bits=5)
    replies = [fake.feed(line) for line in script]
    assert [reply[0] >> 4 for reply in replies[3:]] == [9, 9, 8]
    assert [bytes(got.reply)[1:] for got in seen[3:5]] == [reply[1:] for reply in replies[3:5]]
    assert [bytes(got.reply)[0] for got in seen[2:]] == [0x82, replies[3][0], replies[4][0], 0x81]
    assert [got.started for got in seen[2:]] == [[("r", 31, 0)], [], [], [("r", 0, 0)]]
