"""Bring a database to this version's schema, under a lock so that several processes may ask at once."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MIGRATION_LOCK = 0x6C75746C
"""Advisory lock key held while migrating."""


def config() -> Config:
    """Alembic's configuration, pointing at the migrations inside this package."""
    cfg = Config()
    cfg.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return cfg


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to `revision` on an open connection."""
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    cfg = config()
    cfg.attributes["connection"] = connection
    command.upgrade(cfg, revision)


async def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the database at `database_url` (`postgresql://...`) to `revision`.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached or refuses.
    """

    async def connect() -> asyncpg.Connection:
        # SQLAlchemy would pass `sslmode` and its like on as arguments, which asyncpg knows in URLs only.
        return await asyncpg.connect(database_url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade, revision)
    finally:
        await engine.dispose()
