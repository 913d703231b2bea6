"""A follower that does not read, through the server as it is shipped: it is cut, and the others are not."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from api_fakes import ADA, ROOT, Lab, job
from test_api_follow import event

from lutlab_api.__main__ import bound, server_config
from lutlab_api.app.follow import Followed
from lutlab_api.web import limits, protocol
from lutlab_api.web.protocol import HEAD_BYTES_MAX
from lutlab_events.values import JobStatus

EVENTS, EVENT_BYTES = 4000, 10_000
"""More than any socket's buffers hold."""
ASK = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-API-Key: {ROOT}\r\n\r\n".encode()


@contextmanager
def served(lab: Lab, stalled_s: float = 60.0) -> Iterator[int]:
    config = server_config(lab.settings, lab.app)
    config.port, config.lifespan = 0, "off"
    server, listening = uvicorn.Server(config), bound(config, stalled_s)
    thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        lab.services.follower.close()
        server.should_exit = True
        thread.join()


def connected(port: int, ask: bytes = ASK) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    client.sendall(ask)
    return client


def test_a_download_that_is_not_taken_ends() -> None:
    """By the kernel: no task of ours waits for such a client for ever."""
    ask = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with served(Lab(), stalled_s=1.0) as port, connected(port, ask * 20) as lazy:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 20:
                lazy.sendall(b"GET")
                time.sleep(0.1)


def test_head_of_what_has_no_end_leaves_its_connection_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Two such requests and one more, one behind the other: three answers, none of the first two with a body."""
    head = ASK.replace(b"GET", b"HEAD")
    last = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with served(Lab()) as port, connected(port, head + head.replace(b"/events", b"/events/stream") + last) as client:
        got = b"".join(iter(lambda: client.recv(1 << 16), b""))
    answers = got.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [answer.partition(b"\r\n\r\n")[2][:1] for answer in answers] == [b"", b"", b"{"]
    assert all(b"content-type: text/event-stream" in answer for answer in answers[:2])
    assert "Traceback" not in capfd.readouterr().err


def test_who_reads_nothing_is_cut_and_who_reads_gets_everything(
    logged: list[MutableMapping[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(follower_slow_s=2.0)  # who reads must not be taken for slow on a busy machine
    lab.log_source.events = [Followed(event(p, text="x" * EVENT_BYTES), None) for p in range(1, EVENTS + 1)]
    with served(lab) as port, connected(port) as lazy, connected(port) as eager:
        seen, tail = 0, b""
        while seen < EVENTS:
            data = eager.recv(1 << 20)
            assert data, f"cut after {seen} events"
            seen += (tail[-4:] + data).count(b"\nid: ") - tail[-4:].count(b"\nid: ")
            tail = data
        assert seen == EVENTS
        while not any(line["event"] == "slow_follower_cut" for line in logged):
            eager.settimeout(0.05)
            with suppress(TimeoutError):
                eager.recv(1 << 16)
        got = b""
        with suppress(ConnectionResetError):
            while data := lazy.recv(1 << 20):
                got += data
        assert b"\nid: 1\n" in got and not got.endswith(b"0\r\n\r\n")
        assert got.count(b"\nid: ") < EVENTS
    assert "Traceback" not in capfd.readouterr().err


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = uvicorn.Config("no.app", port=port)
        with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
            bound(config, 60.0)


def rest(client: socket.socket) -> bytes:
    """What comes until the end, however that is."""
    got = b""
    with suppress(ConnectionError):
        while data := client.recv(1 << 16):
            got += data
    return got


BEGUN = b"GET /health HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /submit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"GET /", b"x"),
        (BEGUN, b"X-One: two\r\n"),
        (BEGUN + b"X-Long: ", b"y"),
        (CHUNKED + b"0\r\n", b"X-One: two\r\n"),
        (CHUNKED + b"1;", b"z"),
    ],
)
def test_a_head_without_end_is_refused(begin: bytes, endless: bytes) -> None:
    """Nothing between bodies is kept without a limit, whoever sends it."""
    with served(Lab()) as port, connected(port, begin) as client:
        sent = 0
        with suppress(ConnectionError):
            while sent < 400 * HEAD_BYTES_MAX:
                client.sendall(endless * (8192 // len(endless)))
                sent += 8192
        assert sent < 400 * HEAD_BYTES_MAX  # some of it lay in the sockets' buffers


def test_what_a_head_may_have() -> None:
    with served(Lab()) as port:
        fits = BEGUN + b"X-Long: " + b"y" * (HEAD_BYTES_MAX - 1000) + b"\r\nConnection: close\r\n\r\n"
        with connected(port, fits) as client:
            assert rest(client).startswith(b"HTTP/1.1 200 OK")
        with connected(port, BEGUN + b"X-Long: ") as client:
            for _ in range(5):
                client.sendall(b"y" * (HEAD_BYTES_MAX // 4))
                time.sleep(0.05)  # or it is all there at once, and more than was looked at when the end is decided
            assert rest(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "parts",
    [(), (b"GET /hea", b"lth HTT"), (b"\r\n",) * 5, (BEGUN + b"\r\n", b"GET /"), (BEGUN + b"\r\n", *(b"\r\n",) * 5)],
)
def test_half_a_head_is_not_waited_for_without_end(parts: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_PATIENCE_S", 0.15)
    with served(Lab()) as port, connected(port, b"") as client:
        began = time.monotonic()
        with suppress(ConnectionError):
            for part in parts:
                client.sendall(part)
                time.sleep(0.04)
        rest(client)
        assert time.monotonic() - began < 5


def test_patience_is_for_heads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may come slowly, an answer take its time, and a WebSocket stay."""
    monkeypatch.setattr(protocol, "HEAD_PATIENCE_S", 0.1)
    lab = Lab()
    with served(lab) as port:
        ask = f"POST /fpga/0/run HTTP/1.1\r\nHost: x\r\nX-API-Key: {ROOT}\r\nContent-Length: 9\r\nConnection: close\r\n"
        with connected(port, f"{ask}\r\n".encode()) as client:
            for _ in range(9):
                time.sleep(0.02)
                client.sendall(b"x")
            assert rest(client).startswith(b"HTTP/1.1 422 ")
        with connected(port) as follower:
            time.sleep(0.2)
            assert b"retry: 2000" in follower.recv(1 << 16)
            follower.settimeout(0.2)
            with pytest.raises(TimeoutError):
                follower.recv(1)


def test_nobody_waits_for_a_client_that_is_gone() -> None:
    lab = Lab()
    lab.ledger.add(job(1, status=JobStatus.RUNNING))
    ask = f"GET /api/v1/jobs/{UUID(int=1)} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADA}\r\nPrefer: wait=60\r\n\r\n"

    def until_waiting(count: int) -> None:
        began = time.monotonic()
        while lab.services.waiting.waits != count:
            assert time.monotonic() - began < 5
            time.sleep(0.01)

    with served(lab) as port:
        with connected(port, ask.encode()), connected(port, ask.encode()) as half:
            until_waiting(2)
            half.shutdown(socket.SHUT_WR)
            until_waiting(1)
        until_waiting(0)


def test_an_answer_is_under_way_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in memory until then, and a client that takes nothing is not the first of many."""
    monkeypatch.setattr(limits, "HEAVY_OF_ONE_MAX", 1)
    lab = Lab()
    lab.ledger.add(job(1))
    lab.ledger.logs[UUID(int=1)] = "x" * (16 << 20)
    ask = f"GET /jobs/{UUID(int=1)}/logs HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADA}\r\nConnection: close\r\n\r\n".encode()
    with served(lab) as port:
        with connected(port, ask) as lazy:
            assert lazy.recv(15) == b"HTTP/1.1 200 OK"
            with connected(port, ask) as second:
                assert rest(second).startswith(b"HTTP/1.1 503 ")
        began, status = time.monotonic(), b""
        while b" 200 " not in status and time.monotonic() - began < 5:
            with connected(port, ask) as third:
                status = third.recv(15)
        assert status == b"HTTP/1.1 200 OK"
