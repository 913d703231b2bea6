"""The live stream: framing, order, exclusivity and refusals, with a plain WebSocket client."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from e2e_support import ROOT, Stack, eventually, release_all, reserve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

ECHO = ROOT / "examples/echo_memory/design.py"
WRITE_OK = bytes(4)
SESSIONS_MAX = 5
ERROR = b"\x01\0\0\0"


def write(address: int, *words: int, fixed: bool = False) -> bytes:
    head = (0x81 if fixed else 0x01) << 24 | len(words)
    return struct.pack(f">II{len(words)}I", head, address, *words)


def read(address: int, count: int) -> bytes:
    return struct.pack(">III", 0x02 << 24 | 1, address, count)


def words_of(reply: bytes | str) -> list[int]:
    assert isinstance(reply, bytes)
    (head,) = struct.unpack_from(">I", reply)
    assert head >> 24 == 0, reply
    return list(struct.unpack_from(f">{head & 0xFFFFFF}I", reply, 4))


@contextmanager
def stream(stack: Stack, board: int, key: str = "") -> Iterator[ClientConnection]:
    url = stack.ready["api_url"].replace("http", "ws", 1) + f"/fpga/{board}/stream"
    headers = {"X-API-Key": key or stack.ready["api_key"]}
    with connect(url, additional_headers=headers, open_timeout=10) as connection:
        yield connection


def test_words_go_in_and_come_back_in_order(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    with stream(stack, board) as ws:
        ws.send(write(0, *range(100, 612)))
        assert ws.recv(5) == WRITE_OK
        for start in range(0, 512, 64):
            ws.send(read(4 * start, 64))
        for start in range(0, 512, 64):
            assert words_of(ws.recv(5)) == list(range(100 + start, 164 + start))
        ws.send(write(8, 1, 2, 3, fixed=True))
        ws.send(read(8, 2))
        assert ws.recv(5) == WRITE_OK
        assert words_of(ws.recv(5)) == [3, 103]


def test_single_reads_are_brief_on_the_line(stack: Stack, api: httpx.Client) -> None:
    """What one read after the other costs: four bytes out and eight back, delimiters included.

    A board that gets no processor for 30 ms is asked again, and what follows carries longer checks: then it is measured
    anew, in another session.
    """
    for _ in range(SESSIONS_MAX):
        spent = cost_of_single_reads(stack, api)
        if spent["retries"] == 0:
            break
        release_all(api)
    assert spent["frames"] == 128 and spent["retries"] == 0
    assert 4 * 128 <= spent["bytes_sent"] <= 5 * 128  # a few have a zero in them, and are said in the ordinary way
    assert 8 * 128 - 1 <= spent["bytes_received"] <= 9 * 128


def cost_of_single_reads(stack: Stack, api: httpx.Client) -> dict[str, int]:
    board = reserve(api, ECHO)

    def counters() -> dict[str, int]:
        answer = api.get(f"/api/v1/boards/{board}/link")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["counters"])

    with stream(stack, board) as ws:
        ws.send(write(0, *range(100, 228)))
        assert ws.recv(5) == WRITE_OK
        ws.send(read(0, 1))  # the frame before had a CRC-32, so this one is ordinary
        assert words_of(ws.recv(5)) == [100]
        before = counters()
        for address in range(128):
            ws.send(read(4 * address, 1))
            assert words_of(ws.recv(5)) == [100 + address]
        after = counters()
    return {name: after[name] - before[name] for name in ("frames", "bytes_sent", "bytes_received", "retries")}


BAD_FRAMES = {
    "unaligned": write(2, 1),
    "no words": write(0),
    "count 0": read(0, 0),
    "out of range": write(2048, 1),
    "past the end": read(2044, 2),
    "unknown op": struct.pack(">III", 0x03 << 24 | 1, 0, 1),
    "length mismatch": write(0, 1, 2)[:-4],
    "too short": b"\x01\0\0",
    "empty": b"",
}


def test_bad_frames_are_answered_with_an_error_each(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    with stream(stack, board) as ws:
        for case, frame in BAD_FRAMES.items():
            ws.send(frame)
            assert ws.recv(5) == ERROR, case
        ws.send(write(0, 7))
        assert ws.recv(5) == WRITE_OK


def test_a_second_stream_is_busy_and_the_first_goes_on(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    with stream(stack, board) as first:
        first.send(write(0, 1))
        assert first.recv(5) == WRITE_OK
        with stream(stack, board) as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4409
        first.send(read(0, 1))
        assert words_of(first.recv(5)) == [1]
    with stream(stack, board) as third:
        third.send(read(0, 1))
        assert words_of(third.recv(5)) == [1]


def test_refusals_before_the_upgrade(stack: Stack, api: httpx.Client) -> None:
    def status(board: int, key: str = "") -> int:
        with pytest.raises(InvalidStatus) as refused, stream(stack, board, key):
            pass
        return int(refused.value.response.status_code)

    assert status(0) == 409
    assert status(99) in {404, 422}
    assert status(0, "not-a-key") == 401
    board = reserve(api, ECHO)
    with stack.member("stranger") as stranger:
        assert status(board, stranger.headers["x-api-key"]) == 403


def test_an_unplugged_board_closes_the_stream(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    with stream(stack, board) as ws:
        ws.send(read(0, 1))
        ws.recv(5)
        stack.kill(f"virtual-board-{board}")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(100):
                ws.send(read(0, 1))
                ws.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4502
    eventually("the board coming back", lambda: api.get(f"/fpga/{board}").json()["state"] == "reserved", 60)


def test_release_ends_the_stream(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    with stream(stack, board) as ws:
        ws.send(read(0, 1))
        ws.recv(5)
        assert api.post(f"/fpga/{board}/session/release").status_code == 202
        eventually("the board being idle", lambda: api.get(f"/fpga/{board}").json()["state"] == "idle", 30)
        with pytest.raises(ConnectionClosed):
            ws.send(read(0, 1))
            ws.recv(5)


def test_time_passes_between_transactions(stack: Stack, api: httpx.Client) -> None:
    """The counter counts while nobody talks to it, as a board would."""
    board = reserve(api, ROOT / "examples/counter/design.v")
    with stream(stack, board) as ws:
        ws.send(write(0, 1))
        assert ws.recv(5) == WRITE_OK
        ws.send(read(8, 1))
        before = words_of(ws.recv(5))[0]
        ws.send(read(8, 1))
        assert words_of(ws.recv(5))[0] > before
