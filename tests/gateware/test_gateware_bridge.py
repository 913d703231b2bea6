"""The bridge's gateware against the golden bytes, byte by byte and bit by bit, with every kind of acknowledge."""

from __future__ import annotations

import pytest
from bus_sim import DEAD_WORD, SILENCE, VECTORS, Break, from_hex, run_bridge, run_core

EXCHANGES = VECTORS["exchange"]
DELAYS = pytest.mark.parametrize("delay", [0, 1, 3], ids=["combinational", "registered", "stretched"])


def transfers(entries):
    return [tuple(entry) for entry in entries]


@DELAYS
@pytest.mark.parametrize("vector", EXCHANGES, ids=[v["name"] for v in EXCHANGES])
def test_exchange(vector, delay):
    seen = run_core([from_hex(vector["request"])], delay=delay)
    assert seen.replies.hex(" ") == vector["reply"]
    expected = transfers(vector["bus"])
    assert seen.started == expected
    fault_at_end = vector["status"] == 2 or vector["name"].endswith("_error")
    assert seen.acked == (expected[:-1] if fault_at_end else expected), "one ack per transfer, no double strobes"


def test_all_exchanges_back_to_back_on_the_serial_line():
    script = [b"".join(from_hex(v["request"]) for v in EXCHANGES)]
    seen = run_bridge(script, queue_bytes=256)
    assert seen.replies.hex(" ") == " ".join(v["reply"] for v in EXCHANGES)
    assert seen.started == [t for v in EXCHANGES for t in transfers(v["bus"])]


def test_hello():
    assert run_core([from_hex(VECTORS["hello"]["request"])]).replies.hex(" ") == VECTORS["hello"]["reply"]


def test_chained_frames_inherit_a_fault():
    seen = run_core([from_hex(VECTORS["chain"]["request"])])
    assert seen.replies.hex(" ") == VECTORS["chain"]["reply"]
    assert seen.started == transfers(VECTORS["chain"]["bus"])


@pytest.mark.parametrize("bad", VECTORS["recovery"]["bad"], ids=[b["name"] for b in VECTORS["recovery"]["bad"]])
def test_recovers_from(bad):
    good = VECTORS["recovery"]
    seen = run_core([from_hex(bad["bytes"]), SILENCE, from_hex(good["good_request"])])
    assert seen.replies.hex(" ") == good["good_reply"]
    assert seen.started == transfers(good["good_bus"])


@pytest.mark.parametrize("bad", VECTORS["recovery"]["bad"], ids=[b["name"] for b in VECTORS["recovery"]["bad"]])
def test_recovers_without_silence_through_sync_bytes(bad):
    good = VECTORS["recovery"]
    # The longest frame of this bridge has 137 bytes; 16 sync bytes in a row end its ignoring.
    seen = run_core([from_hex(bad["bytes"]) + b"\xc3" * (137 + 16) + from_hex(good["good_request"])])
    assert seen.replies.hex(" ") == good["good_reply"]
    assert seen.started == transfers(good["good_bus"])


def test_sync_bytes_between_frames_and_in_payloads_are_harmless():
    word = next(v for v in EXCHANGES if v["name"] == "read_one")
    write = "a1 21 00 00 20 00 00 c3 c3 c3 c3 ea df"
    request = b"\xc3" + from_hex(word["request"]) + b"\xc3" * 40 + from_hex(write) + b"\xc3"
    seen = run_core([request, from_hex(word["request"])])
    assert seen.replies.hex(" ") == " ".join([word["reply"], "21 00 28 d8", word["reply"]])
    assert seen.started[1] == ("w", 0x20, 0xC3C3C3C3)


def test_fifteen_sync_bytes_are_not_enough():
    good = VECTORS["recovery"]
    seen = run_core([b"noise" + b"\xc3" * 15 + from_hex(good["good_request"])])
    assert not seen.replies


def test_a_broken_frame_takes_down_what_follows_it_without_a_silence():
    good = from_hex(VECTORS["recovery"]["good_request"])
    seen = run_core([good, b"noise", good, SILENCE, good])
    assert seen.replies.hex(" ") == " ".join([VECTORS["recovery"]["good_reply"]] * 2)


def test_a_framing_error_drops_the_frame():
    """The line goes low for 30 bits in the middle of a frame, as when a cable is pulled; then it comes back."""
    good = from_hex(VECTORS["recovery"]["good_request"])
    seen = run_bridge([good[:4], Break(30), good, SILENCE, good])
    assert seen.replies.hex(" ") == VECTORS["recovery"]["good_reply"]


def test_a_break_on_an_idle_line_is_noise():
    good = from_hex(VECTORS["recovery"]["good_request"])
    seen = run_bridge([Break(30), good, SILENCE, good])
    assert seen.replies.hex(" ") == VECTORS["recovery"]["good_reply"]


def test_the_queue_may_be_filled_to_the_brim_while_a_target_stalls():
    """256 unanswered request bytes are the contract; every transfer here takes its full 64 cycles or nearly."""
    write = next(v for v in EXCHANGES if v["name"] == "write_incrementing")
    stall = next(v for v in EXCHANGES if v["name"] == "read_timeout")
    requests = [from_hex(stall["request"])] + [from_hex(write["request"])] * 11
    assert 230 < sum(map(len, requests)) <= 256
    seen = run_core([b"".join(requests)], byte_cycles=3, delay=60)
    assert seen.replies == from_hex(stall["reply"]) + from_hex(write["reply"]) * 11


def test_more_than_the_queue_holds_is_dropped_and_recovered_from():
    vector = next(v for v in EXCHANGES if v["name"] == "read_timeout")
    good, frames = VECTORS["recovery"], 120
    script = [from_hex(vector["request"]) * frames, SILENCE, from_hex(good["good_request"])]
    seen = run_core(script, byte_cycles=3)
    reply = from_hex(vector["reply"])
    answered = len(seen.replies) // len(reply)
    assert 256 // 9 < answered < frames, "what fits is executed, the rest vanishes"
    assert seen.replies == reply * answered + from_hex(good["good_reply"])
    assert seen.started == [("r", DEAD_WORD, 0)] * answered + transfers(good["good_bus"])
