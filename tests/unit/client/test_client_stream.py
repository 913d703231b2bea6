"""The client's stream: replies have no names, so none may be left for the next call."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from threading import Thread
from typing import cast

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection, serve

from lutlab.config import Endpoint
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


@pytest.mark.parametrize(
    ("received", "told"),
    [
        (None, "the connection broke.*open the stream again"),
        (Close(4409, ""), "another connection already"),
        (Close(1001, "the server stops"), "1001, the server stops.*open it again"),
        (Close(1011, ""), r"closed the stream \(1011\)"),
    ],
)
def test_a_stream_that_ends_says_why(received: Close | None, told: str) -> None:
    def closed() -> bytes:
        raise ConnectionClosedError(received, None)

    with pytest.raises(StreamFailed, match=told):
        opened(closed).read(0)


def test_a_stream_that_is_refused_says_why_in_the_lab_s_words() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        answer = connection.respond(409, json.dumps({"detail": {"error": "fpga_not_reserved", "message": "not yours"}}))
        assert request.path == "/fpga/3/stream"
        return answer

    with serve(lambda _: None, "127.0.0.1", 0, process_request=refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{server.socket.getsockname()[1]}")
        with pytest.raises(StreamFailed, match=r"refused: not yours \(fpga_not_reserved\)"):
            BoardStream.open(endpoint, 3)
