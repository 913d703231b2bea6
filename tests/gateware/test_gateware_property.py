"""The gateware against the fake bridge, two independent readings of the protocol: same bytes in, same bytes out."""

from __future__ import annotations

from binascii import crc_hqx

from bus_sim import DEAD_WORD, ERR_WORD, READ_PATTERN, SILENCE, VECTORS, from_hex, run_core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutlab_bus.fake import BusErrorAt, BusSilentAt, FakeBridge

SILENCE_CYCLES = 256  # short, because simulated time is dear
BYTE = st.integers(0, 255)
WORDS = st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=4)
ADDRESS = st.one_of(
    st.integers(0, 0x1F8), st.sampled_from([ERR_WORD - 1, ERR_WORD, DEAD_WORD, 0x1FE, 0x1FF, 0x200, 0xFFFF, 0xFFFFFF])
)


class Target(dict):
    def get(self, address, default=None):
        self._temper(address)
        return READ_PATTERN | address

    def __setitem__(self, address, word):
        self._temper(address)

    def _temper(self, address):
        if address == ERR_WORD:
            raise BusErrorAt
        if address == DEAD_WORD:
            raise BusSilentAt


@st.composite
def frames(draw):
    """A request that may be damaged in one place."""
    flags = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 12]))
    words = draw(WORDS)
    header = bytes([0xA0 | flags, draw(BYTE), len(words) - 1, 0]) + draw(ADDRESS).to_bytes(3, "little")
    payload = b"".join(word.to_bytes(4, "little") for word in words) if flags & 1 else b""
    frame = header + payload
    frame += crc_hqx(frame, 0xFFFF).to_bytes(2, "big")
    at = draw(st.integers(0, len(frame) - 1))
    damage = draw(st.sampled_from(["none"] * 6 + ["flip", "lose", "double", "cut"]))
    match damage:
        case "flip":
            return frame[:at] + bytes([frame[at] ^ 1 << draw(st.integers(0, 7))]) + frame[at + 1 :]
        case "lose":
            return frame[:at] + frame[at + 1 :]
        case "double":
            return frame[: at + 1] + frame[at:]
        case "cut":
            return frame[:at]
    return frame


SCRIPT = st.lists(
    st.one_of(frames(), frames(), st.just(SILENCE), st.just(b"\xc3" * 40), st.binary(max_size=12)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=SCRIPT, delay=st.sampled_from([0, 1, 2]))
def test_same_bytes_in_same_bytes_out(script, delay):
    script = [*script, SILENCE, from_hex(VECTORS["recovery"]["good_request"])]
    fake = FakeBridge(
        Target(), build_id=0xCAFE_F00D, queue_bytes=1024, bus_timeout_cycles=64, silence_cycles=SILENCE_CYCLES
    )
    expected = bytearray()
    for item in script:
        if item is SILENCE:
            fake.silence()
        else:
            expected += fake.feed(item)
    seen = run_core(script, delay=delay, queue_bytes=1024, silence_cycles=SILENCE_CYCLES)
    assert seen.replies.hex(" ") == expected.hex(" ")
    assert [(kind, address) for kind, address, _ in seen.started] == fake.transfers
