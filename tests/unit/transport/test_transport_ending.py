"""A service is stopped at any moment, also while it waits for NATS; until then it waits for as long as it takes."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import StreamReader, StreamWriter

import pytest

from lutlab_transport import connection
from lutlab_transport.connection import connect
from lutlab_transport.ending import stop_event, unless, until_signal


async def test_a_signal_ends_waiting_for_a_server_that_is_not_there() -> None:
    stop = stop_event()
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await unless(stop, connect("nats://127.0.0.1:9", name="test")) is None


async def test_a_server_that_refuses_us_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_WAITS_S", (0.001,))
    answers = [b"-ERR 'Authorization Violation'\r\n", b"-ERR 'Authorization Violation'\r\n", b"PONG\r\n"]

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "s", "version": "2.12.0", "max_payload": 1048576}\r\n')
        await reader.readuntil(b"PING\r\n")
        writer.write(answers.pop(0))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        client = await connect(f"nats://127.0.0.1:{port}", name="test")
        assert client.is_connected and not answers
        await client.close()


async def test_work_that_ends_by_itself_is_not_disturbed() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def failing() -> int:
        raise OSError("no room")

    assert await unless(asyncio.Event(), work()) == 7
    with pytest.raises(OSError, match="no room"):
        await unless(asyncio.Event(), failing())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cancels_the_work_and_lets_it_clean_up(number: signal.Signals) -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    async with asyncio.timeout(10):
        await until_signal(work())
    assert cleaned
