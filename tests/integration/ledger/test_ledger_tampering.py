"""The log on a real Postgres: what refuses tampering, and that the walk finds what got through all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_ledger.migrate import migrate
from lutlab_ledger.verify import verify

COLUMNS = LogRow.__struct_fields__
INSERT = f"""
insert into events ({", ".join(COLUMNS)}, hash) values ({", ".join(f"${n}" for n in range(1, len(COLUMNS) + 2))})
"""
COMMAND = """
insert into commands values (gen_random_uuid(), 'RevokeKey', 'ada', 'main', '', 'ok', '{}', now())
"""


async def fill(connection: asyncpg.Connection, count: int) -> None:
    last = GENESIS
    for position in range(1, count + 1):
        row = LogRow(
            position=position,
            event_id=UUID(int=position),
            stream="board-0",
            version=position,
            type="board.reset.v1",
            data='{"type":"board.reset.v1", "epoch":1}',
            causation_id=UUID(int=1),
            correlation_id=UUID(int=2),
            actor="ada ✓",
            site="main",
            at=datetime(2026, 1, 1, 0, 0, 0, position, tzinfo=UTC),
        )
        last = chain_hash(last, row)
        await connection.execute(INSERT, *(getattr(row, name) for name in COLUMNS), last)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    if not await connection.fetchval("select count(*) from events"):
        await fill(connection, 5)
        await connection.execute(COMMAND)
    yield connection
    await connection.close()


@pytest.mark.parametrize("change", ["update events set actor = 'm'", "delete from events", "truncate events"])
async def test_replication_mode_is_no_way_around_the_triggers(database: asyncpg.Connection, change: str) -> None:
    await database.execute("set session_replication_role = replica")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await database.execute(change)


@pytest.mark.parametrize("mode", ["origin", "replica"])
@pytest.mark.parametrize("change", ["update commands set code = 'no'", "delete from commands", "truncate commands"])
async def test_answers_never_change(database: asyncpg.Connection, change: str, mode: str) -> None:
    await database.execute(f"set session_replication_role = {mode}")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await database.execute(change)


async def test_the_walk_finds_what_a_superuser_changed(database: asyncpg.Connection, postgres_url: str) -> None:
    seen: list[tuple[int, int]] = []
    before = await verify(postgres_url, on_progress=lambda done, total: seen.append((done, total)))
    assert before.intact
    assert seen[-1] == (5, 5)
    await database.execute("alter table events disable trigger all")
    await database.execute("update events set actor = 'mallory' where position = 3")
    assert [d.position for d in (await verify(postgres_url)).damages] == [3]
    await database.execute("update events set actor = 'ada ✓' where position = 3")
    assert (await verify(postgres_url, noted=before.end)).intact
    await database.execute("delete from events where position = 5")
    assert (await verify(postgres_url)).intact
    assert not (await verify(postgres_url, noted=before.end)).intact


async def test_an_ordinary_owner_has_no_right_to_change_the_log(postgres_server_url: str) -> None:
    """Without any trigger: the role that migrates and writes may insert and read, nothing else."""
    name = f"lutlab_owner_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres_server_url)
    parts = urlsplit(postgres_server_url)
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit(parts._replace(netloc=f"{name}:secret@{host}", path=f"/{name}"))
    try:
        await admin.execute(f"create role {name} login password 'secret'")
        await admin.execute(f"create database {name} owner {name}")
        await migrate(url)
        owner = await asyncpg.connect(url)
        try:
            await fill(owner, 2)
            await owner.execute(COMMAND)
            for table in ("events", "commands"):
                for change in (f"update {table} set actor = 'm'", f"delete from {table}", f"truncate {table}"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await owner.execute(change)
            assert (await verify(url)).events == 2
        finally:
            await owner.close()
    finally:
        await admin.execute(f"drop database if exists {name} with (force)")
        await admin.execute(f"drop role if exists {name}")
        await admin.close()
