"""A connection to NATS outlives what the server says and what the line does."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client

from lutlab_stack.nats import find_nats_server
from lutlab_stack.ports import free_port
from lutlab_stack.running import running
from lutlab_stack.spawn import ProcessSpec
from lutlab_transport import connection
from lutlab_transport.connection import connect

TIMEOUT_S = 10.0


@dataclass
class Server:
    """A nats-server with one user, whose password can be changed while it runs."""

    folder: Path
    port: int
    pid: int = 0

    def spec(self) -> ProcessSpec:
        self.let_in("first")
        return ProcessSpec(
            name="nats", argv=(str(find_nats_server()), "-c", str(self._config)), env={}, cwd=self.folder
        )

    def is_ready(self, pid: int) -> bool:
        return "Server is ready" in (self.folder / "log").read_text()

    def let_in(self, password: str) -> None:
        """From now on, and nobody else."""
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\naccounts {{ A: {{ users: [ {{ user: u, password: {password} }} ] }} }}\n'
        )
        if self.pid:
            os.kill(self.pid, signal.SIGHUP)

    @property
    def _config(self) -> Path:
        return self.folder / "nats.conf"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(tmp_path, free_port())
    with running(found, tmp_path / "log") as found.pid:
        yield found


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    client = await connect(f"nats://u:first@127.0.0.1:{port}", name="test")
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(0.01)


async def test_a_client_that_was_shut_out_comes_back_when_it_is_let_in_again(server: Server) -> None:
    async with connected(server.port) as client:
        heard = asyncio.Event()

        async def hear(_: object) -> None:
            heard.set()

        await client.subscribe("news", cb=hear)
        server.let_in("second")
        await until(lambda: not client.is_connected)
        assert client.is_reconnecting
        server.let_in("first")
        await until(lambda: client.is_connected)
        await client.publish("news", b"")
        await asyncio.wait_for(heard.wait(), TIMEOUT_S)


async def test_a_line_that_is_cut_without_a_word_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.PING_S * (connection.PINGS_UNANSWERED_MAX + 1) <= 30, "or boards are lost for minutes"
    monkeypatch.setattr(connection, "PING_S", 0.1)
    cut: list[bool] = []

    async def carry(source: StreamReader, to: StreamWriter, line: int) -> None:
        while data := await source.read(65536):
            if not cut[line]:
                to.write(data)
        to.close()

    async def forward(client: StreamReader, client_out: StreamWriter) -> None:
        line = len(cut)
        cut.append(False)
        there, there_out = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(carry(client, there_out, line), carry(there, client_out, line))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with proxy, connected(proxy.sockets[0].getsockname()[1]) as client:
        cut[0] = True
        await until(lambda: client.stats["reconnects"] == 1 and client.is_connected)
