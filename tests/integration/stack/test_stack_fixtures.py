"""The servers that all integration tests stand on."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import asyncpg
import nats
import pytest

from lutlab_transport.streams import ensure_streams


async def test_the_database_is_fresh_and_migrated(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("select count(*) from events") == 0
        assert await connection.fetchval("select count(*) from alembic_version") == 1
    finally:
        await connection.close()


async def test_a_wrong_password_is_refused(postgres_url: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_url, password="guess")


async def test_nats_has_jetstream_and_asks_for_its_token(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    try:
        assert "COMMANDS" in await ensure_streams(client.jetstream())
    finally:
        await client.close()
    address = urlsplit(nats_url)
    with socket.create_connection((address.hostname, address.port), 5) as connection:
        connection.sendall(b'CONNECT {"auth_token":"guess"}\r\nPING\r\n')
        with connection.makefile("rb") as stream:
            assert stream.readline().startswith(b"INFO ")
            assert b"Authorization Violation" in stream.readline()
