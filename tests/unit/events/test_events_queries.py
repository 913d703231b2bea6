"""Answers about states: whole, deflated, or refused, but never too large for a message."""

from __future__ import annotations

import zlib

import msgspec
import pytest

from lutlab_events.codec import Undecodable
from lutlab_events.ids import digest
from lutlab_events.queries import ANSWER_BYTES_MAX, TOO_LARGE, StateAnswer, decode_state_answer, encode_state_answer

FILES = {f"rtl/{'deep/' * 40}{n}.v": digest(b"%d" % n) for n in range(2000)}
BIG = StateAnswer(stream="project-1", state={"files": FILES}, view={"files": FILES}, events=3, position=9)
NATS_BYTES_MAX = 1 << 20


@pytest.mark.parametrize("bytes_max", [NATS_BYTES_MAX, 300_000])
def test_a_large_project_is_told_whole(bytes_max: int) -> None:
    assert len(msgspec.json.encode(BIG)) > NATS_BYTES_MAX
    told = encode_state_answer(BIG, bytes_max)
    assert len(told) <= bytes_max
    assert decode_state_answer(told) == BIG


def test_what_no_message_holds_is_refused_in_words() -> None:
    told = decode_state_answer(encode_state_answer(BIG, 5_000))
    assert (told.state, told.code) == (None, TOO_LARGE)
    assert "project-1 has " in told.error


@pytest.mark.parametrize("data", [b"\x78\x9c", b"\x78no zlib", zlib.compress(b'{"stream": 1}'), b"[]"])
def test_what_is_damaged_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_state_answer(data)


def test_an_answer_cannot_swell_without_end() -> None:
    with pytest.raises(Undecodable, match="more than"):
        decode_state_answer(zlib.compress(b" " * (ANSWER_BYTES_MAX + 1), 1))
