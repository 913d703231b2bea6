"""A follower that does not read, through the server as it is shipped: it is cut, and the others are not."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
import uvicorn
from api_fakes import ROOT, Lab
from test_api_follow import event

from lutlab_api.__main__ import Protocol, bound
from lutlab_api.app.follow import Followed

EVENTS, EVENT_BYTES = 4000, 10_000
"""More than any socket's buffers hold."""
ASK = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-API-Key: {ROOT}\r\n\r\n".encode()


@contextmanager
def served(lab: Lab, stalled_s: float = 60.0) -> Iterator[int]:
    config = uvicorn.Config(lab.app, port=0, log_level="error", lifespan="off", http=Protocol)
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
