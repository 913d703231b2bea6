"""The virtual cable's protocol under any chunking, and its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutlab_virtual_board.xvc import VECTOR_BYTES_MAX, XvcError, XvcSession


class Echo:
    """A TAP whose TDO is TDI where TMS is set."""

    def shift(self, count: int, tms: int, tdi: int) -> int:
        return tms & tdi


def shift(bits: int, tms: bytes, tdi: bytes) -> bytes:
    return b"shift:" + bits.to_bytes(4, "little") + tms + tdi


@given(cuts=st.lists(st.integers(1, 7), min_size=1, max_size=60))
def test_commands_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    stream = b"getinfo:" + b"settck:\x01\x02\x03\x04" + shift(12, b"\xff\xff", b"\x5a\xf5") + b"getinfo:"
    session = XvcSession(Echo())
    answer = b""
    position = 0
    while position < len(stream):
        step = cuts[position % len(cuts)]
        answer += session.feed(stream[position : position + step])
        position += step
    info = f"xvcServer_v1.0:{VECTOR_BYTES_MAX}\n".encode()
    assert answer == info + b"\x01\x02\x03\x04" + b"\x5a\x05" + info


def test_what_is_not_the_protocol_is_refused() -> None:
    for data in (b"GET / HTTP/1.1\r\n", b"hello:", b"shift:" + (VECTOR_BYTES_MAX * 8 + 1).to_bytes(4, "little")):
        with pytest.raises(XvcError):
            XvcSession(Echo()).feed(data)


def test_an_empty_shift_is_answered_with_nothing() -> None:
    assert XvcSession(Echo()).feed(shift(0, b"", b"")) == b""
