"""The sender against real sockets: only checked addresses are connected to, and nothing unbounded is read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lutlab_hooks.addresses import networks
from lutlab_webhooks.adapters import http
from lutlab_webhooks.adapters.http import BODY_CHARS_KEPT, HttpSender

LOOPBACK = networks("127.0.0.0/8")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers with its request's path as told there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        if path == "/hang":
            await reader.read()  # until the other side gives up
        elif path == "/endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    writer.write(b"x" * 4096)
                    await writer.drain()
        elif path == "/nonsense":
            writer.write(b"\x00\x01\x02 not http\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nno")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0)


async def test_an_answer(port: int) -> None:
    reply = await HttpSender(LOOPBACK).send(f"http://127.0.0.1:{port}/", {"webhook-id": "x"}, b"{}")
    assert (reply.status_code, reply.body, reply.error) == (429, "no", None)
    assert reply.headers is not None
    assert reply.headers["retry-after"] == "7"
    assert "set-cookie" not in reply.headers


async def test_loopback_is_refused_unless_allowed(port: int) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        reply = await HttpSender(()).send(f"http://{host}:{port}/", {}, b"{}")
        assert reply.status_code is None
        assert (reply.error or "").startswith("refused: ")


async def test_a_name_that_resolves_to_a_private_address_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, at: None, **more: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("8.8.8.8", at)), (2, 1, 6, "", ("127.0.0.1", at))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    reply = await HttpSender(()).send(f"http://rebound.example:{port}/", {}, b"{}")
    assert asked == ["rebound.example"]
    assert "127.0.0.1 is not a public address" in (reply.error or "")


async def test_the_checked_address_is_the_one_connected_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1"])  # a second look would see another one

    def resolve(host: str, at: None, **more: Any) -> list[Any]:
        return [(2, 1, 6, "", (next(answers) if host == "name.example" else host, at))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    reply = await HttpSender(LOOPBACK).send(f"http://name.example:{port}/", {}, b"{}")
    assert reply.status_code == 429
    assert next(answers) == "10.0.0.1"


@pytest.mark.parametrize(("path", "said"), [("/hang", "no answer within"), ("/nonsense", "ProtocolError")])
async def test_bad_endpoints(port: int, path: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ATTEMPT_S", 0.3)
    reply = await HttpSender(LOOPBACK).send(f"http://127.0.0.1:{port}{path}", {}, b"{}")
    assert reply.status_code is None
    assert said in (reply.error or "")


async def test_an_endless_answer_is_cut(port: int) -> None:
    reply = await HttpSender(LOOPBACK).send(f"http://127.0.0.1:{port}/endless", {}, b"{}")
    assert (reply.status_code, len(reply.body)) == (200, BODY_CHARS_KEPT)


async def test_nobody_there() -> None:
    reply = await HttpSender(LOOPBACK).send("http://127.0.0.1:9/", {}, b"{}")
    assert "ConnectError" in (reply.error or "")


async def test_names_whose_servers_do_not_answer_hold_up_no_other(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def resolve(host: str, at: None, **more: Any) -> list[Any]:
        if host.startswith("dead"):
            answered.wait(30)
        return [(2, 1, 6, "", ("127.0.0.1", at))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sender = HttpSender(LOOPBACK)
    dead = [asyncio.create_task(sender.send(f"http://dead{n % 20}.example:{port}/", {}, b"{}")) for n in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(3):
            assert (await sender.send(f"http://good.example:{port}/", {}, b"{}")).status_code == 429
    finally:
        answered.set()
        await asyncio.gather(*dead)


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "a..example", ".example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_names_that_can_be_none_are_failures_like_others(scheme: str, host: str) -> None:
    assert (await HttpSender(()).send(f"{scheme}://{host}/", {}, b"{}")).error
