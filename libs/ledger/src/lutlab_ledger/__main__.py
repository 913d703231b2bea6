"""`lutlab-migrate`: create or upgrade the ledger's schema."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from lutlab_ledger.migrate import migrate


def main() -> None:
    """Parse the command line and migrate."""
    parser = argparse.ArgumentParser(prog="lutlab-migrate", description=__doc__)
    parser.add_argument(
        "--database-url",
        default=os.environ.get("LUTLAB_DATABASE_URL"),
        help="postgresql://user@host:port/name (default: $LUTLAB_DATABASE_URL)",
    )
    parser.add_argument("--revision", default="head", help="how far to go (default: head, the newest)")
    args = parser.parse_args()
    if not args.database_url:
        parser.error("say which database: --database-url, or LUTLAB_DATABASE_URL")
    try:
        asyncio.run(migrate(args.database_url, args.revision))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError) as error:
        reason = getattr(error, "orig", None) or error  # SQLAlchemy wraps the driver's own words
        sys.exit(f"lutlab-migrate: the database cannot be reached, or refuses: {reason}")


if __name__ == "__main__":
    main()
