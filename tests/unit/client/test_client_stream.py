"""The client's stream: replies have no names, so none may be left for the next call."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import cast

import pytest
from websockets.sync.client import ClientConnection

from lutlab.errors import Refused, StreamFailed
from lutlab.stream import BoardStream
from lutlab_bus.operations import Result, Status, Write
from lutlab_bus.stream import ERROR_REPLY, decode_request, encode_reply


class Board:
    """Answers every message in order; the first few replies are replaced by what `trouble` does."""

    def __init__(self, *trouble: Callable[[], bytes]) -> None:
        self.replies: list[bytes] = []
        self.trouble = list(trouble)

    def send(self, message: bytes) -> None:
        operation = decode_request(message)
        first, count = operation.address_words, operation.count
        words = array("I", [] if isinstance(operation, Write) else range(first, first + count))
        self.replies.append(encode_reply(operation, Result(Status.OK, words)))

    def recv(self, timeout: float, decode: bool) -> bytes:
        if self.trouble:
            return self.trouble.pop(0)()
        return self.replies.pop(0)


def interrupted() -> bytes:
    raise KeyboardInterrupt


def late() -> bytes:
    raise TimeoutError


def opened(*trouble: Callable[[], bytes]) -> BoardStream:
    return BoardStream(cast(ClientConnection, Board(*trouble)))


def test_words_come_back() -> None:
    stream = opened()
    stream.write(0, [1, 2, 3])
    assert stream.read(8, 3) == [2, 3, 4]
    with pytest.raises(Refused, match="with an error"):
        opened(lambda: ERROR_REPLY).read(8)


@pytest.mark.parametrize(
    ("trouble", "error", "told"),
    [
        (interrupted, KeyboardInterrupt, "interrupted"),
        (late, StreamFailed, "no reply within"),
        (lambda: encode_reply(Write(0, [1]), Result(Status.OK)), StreamFailed, "0 words in place of 2"),
        (lambda: b"\x07", StreamFailed, "too short"),
    ],
)
def test_a_call_without_its_reply_leaves_none_to_the_next_one(
    trouble: Callable[[], bytes], error: type[BaseException], told: str
) -> None:
    stream = opened(trouble)
    with pytest.raises(error):
        stream.read(0x40, 2)
    for _ in range(2):
        with pytest.raises(StreamFailed, match=f"{told}.*open the stream again"):
            stream.read(0x80, 2)


def test_what_cannot_be_said_harms_nothing() -> None:
    stream = opened()
    with pytest.raises(Exception, match="not 32-bit words"):
        stream.write(0, [1 << 32])
    assert stream.read(4) == [1]
