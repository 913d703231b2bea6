"""The schema on a real Postgres: migrations match the tables, and the log cannot be changed."""

from __future__ import annotations

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from lutlab_ledger.migrate import migrate
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
