"""The schema on a real Postgres: migrations match the tables, and the log cannot be changed."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from lutlab_ledger.migrate import config, migrate
from lutlab_ledger.tables import metadata

INSERT = """
insert into events values (1, gen_random_uuid(), 'board-0', 1, 'board.reset.v1', '{}', gen_random_uuid(),
  gen_random_uuid(), 'test', 'main', now(), '\\x00')
"""
RELATIONS = (
    "select oid, relname, relnatts, relchecks from pg_class where relnamespace = 'public'::regnamespace order by 1"
)


async def test_migrations_make_the_declared_tables(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        differences = await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), metadata))
    await engine.dispose()
    # Comments document the columns in code; the database does not carry them.
    assert [d for d in differences if "comment" not in str(d)] == []


async def test_migrating_again_changes_nothing(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        before = await connection.fetch(RELATIONS)
        await migrate(postgres_url)
        assert before and await connection.fetch(RELATIONS) == before
    finally:
        await connection.close()


COLUMNS = (
    "select table_name, column_name, data_type, is_nullable = 'YES' from information_schema.columns "
    "where table_schema = 'public' and table_name <> 'alembic_version' order by 1, ordinal_position"
)
SAMPLES = {
    "bigint": "{0}",
    "boolean": "true",
    "bytea": "'x'",
    "double precision": "{0}",
    "integer": "{0}",
    "json": "'[{0}]'",
    "text": "'x{0}'",
    "timestamp with time zone": "now()",
    "uuid": "gen_random_uuid()",
}
"""A value of each type, another one for each number."""
Columns = dict[str, dict[str, tuple[str, bool]]]
"""Table -> column -> its type, and whether it may be null."""


async def columns_of(connection: asyncpg.Connection) -> Columns:
    found: Columns = {}
    for table, column, kind, may_be_null in await connection.fetch(COLUMNS):
        found.setdefault(table, {})[column] = (kind, may_be_null)
    return found


async def contents(connection: asyncpg.Connection, columns: Columns) -> dict[str, list[str]]:
    return {
        table: [str(row) for row in await connection.fetch(f"select {', '.join(columns[table])} from {table}")]
        for table in columns
    }


async def test_every_revision_keeps_what_there_is_and_lets_the_code_before_it_go_on(postgres_server_url: str) -> None:
    """Code of the version before goes on for a while: it writes every column it knows and no other."""
    name = f"lutlab_steps_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres_server_url)
    await admin.execute(f"create database {name}")
    url = urlunsplit(urlsplit(postgres_server_url)._replace(path=f"/{name}"))
    known: Columns = {}
    try:
        revisions = [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()]
        for number, revision in enumerate(reversed(revisions)):
            connection = await asyncpg.connect(url)
            before = await contents(connection, known)
            await migrate(url, revision)
            assert await contents(connection, known) == before, f"{revision} changes or hides what is there"
            now = await columns_of(connection)
            for table, columns in now.items():
                written = known.get(table, columns)
                values = ", ".join(SAMPLES[columns[column][0]].format(number) for column in written)
                await connection.execute(f"insert into {table} ({', '.join(written)}) values ({values})")
            known = now
            await connection.close()
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


@pytest.mark.parametrize(
    "change",
    ["update events set actor = 'mallory'", "delete from events", "truncate events"],
)
async def test_recorded_events_cannot_be_changed(postgres_url: str, change: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            if not await connection.fetchval("select count(*) from events"):
                await connection.execute(INSERT)
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(change)
        assert await connection.fetchval("select actor from events") == "test"
    finally:
        await connection.close()
