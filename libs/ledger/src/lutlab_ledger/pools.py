"""How a pool of connections to Postgres ends."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

log = structlog.get_logger(__name__)


async def end(pool: asyncpg.Pool, within_s: float) -> None:
    """End a pool's connections.

    One that is just being given back may finish that: cut, it leaves an error to nobody.

    Args:
        pool: nobody may take connections from it any more.
        within_s: how long that may take; what is left is cut.
    """
    try:
        async with asyncio.timeout(within_s):
            await pool.close()
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        log.info("connections_cut")
    finally:
        pool.terminate()
