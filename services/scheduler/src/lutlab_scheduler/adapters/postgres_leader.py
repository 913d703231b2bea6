"""Who may write: one leader holds an advisory lock on the connection it writes with.

Lock and writes share a connection, so a writer that lost its lock lost its connection too and can write nothing. A
leader that died, or whose host vanished, loses both by itself. One that hangs would keep them for ever, for its kernel
still answers for it; so it must say every few seconds that it does not, or a standby ends its connection.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import structlog

from lutlab_ledger import pools
from lutlab_ledger.holding import KEEPALIVES
from lutlab_scheduler.adapters.postgres import (
    GONE,
    PostgresArchive,
    PostgresHistory,
    PostgresPositions,
    PostgresStore,
    translated,
)
from lutlab_scheduler.adapters.postgres_shelf import PostgresShelf
from lutlab_scheduler.adapters.postgres_sql import SQL_DURABLE, SQL_LEADER_SEEN
from lutlab_scheduler.app.ports import StoreUnavailable

log = structlog.get_logger(__name__)

LEADER_LOCK = 0x6C75745F
"""Advisory lock key of the only writer of a database."""
POOL_MAX = 4
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
CLOSE_S = 1.0
"""How long connections may take to be given back at the end of a term."""
STANDBY_POLL_S = 0.25
"""How often a standby looks whether it may lead."""
LEADER = "leader"
"""Where the leader says that it does not stand still: the process id of its connection, and a number that grows."""
COUNT_BITS = 32
SEEN_EVERY_S = 5.0
HUNG_S = 30.0
"""A leader that has said nothing for so long is deposed by whoever stands by."""
LOOKS = 10
"""How often a standby looks in that time."""


class Ledger:
    """A database, seen by a process that leads or wants to."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Leadership]:
        """Wait until nobody else leads, then lead until the block ends or the connection is lost.

        Raises:
            StoreUnavailable: Postgres cannot be reached; try again.
        """
        with translated():
            writer = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"application_name": "lutlab-scheduler", **KEEPALIVES},
            )
        lost = asyncio.Event()
        writer.add_termination_listener(lambda _: lost.set())
        try:
            durable = await _make_durable(writer)
            await _take_lock(writer)
            async with self._pool(POOL_MAX, durable) as pool, self._pool(1, {"synchronous_commit": "off"}) as relaxed:
                yield Leadership(writer, pool, relaxed, lost)
        finally:
            # Closing releases the lock; a connection that is gone has released it already.
            await _close(writer)

    @asynccontextmanager
    async def _pool(self, size: int, settings: dict[str, str]) -> AsyncIterator[asyncpg.Pool]:
        pool = asyncpg.create_pool(
            self._url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "lutlab-scheduler", **settings},
        )
        try:
            with translated():
                await pool
            yield pool
        finally:
            await pools.end(pool, CLOSE_S)


async def _make_durable(writer: asyncpg.Connection) -> dict[str, str]:
    """Let commits wait for the disk, whatever server, database or role say; the settings of further connections."""
    with translated():
        [found] = await writer.fetch(SQL_DURABLE)
        if found["fsync"] == "off":
            log.warning("postgres_unsafe", fsync="off", problem="what is committed is lost if the machine fails")
        if found["synchronous_commit"] != "off":
            return {}
        log.warning("postgres_commits_made_safe", synchronous_commit="off")
        await writer.execute("set synchronous_commit = on")
    return {"synchronous_commit": "on"}


async def _take_lock(writer: asyncpg.Connection) -> None:
    """Wait until the leader's lock is ours; whoever holds it and stands still is deposed."""
    sentry = Sentry(asyncio.get_running_loop().time)
    is_waiting = False
    while True:
        with translated():
            if await writer.fetchval("select pg_try_advisory_lock($1)", LEADER_LOCK):
                return
            if sentry.may_look():
                hung = sentry.hung(await writer.fetchval(SQL_LEADER_SEEN, LEADER_LOCK, LEADER))
                if hung is not None:
                    await _depose(writer, hung)
        if not is_waiting:
            log.info("standby_waiting")
            is_waiting = True
        await asyncio.sleep(STANDBY_POLL_S)


class Sentry:
    """Watches whether the leader stands still."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._looked_s = self._moved_s = time()
        self._seen: int | None = None

    def may_look(self) -> bool:
        """Whether it is time to ask what the leader said last."""
        now_s = self._time()
        if now_s - self._looked_s < HUNG_S / LOOKS:
            return False
        self._looked_s = now_s
        return True

    def hung(self, seen: int | None) -> int | None:
        """The process id of a leader's connection that has said nothing new for `HUNG_S`; None if there is none.

        Args:
            seen: what the leader said last, None if it never said anything.
        """
        now_s = self._time()
        if seen is None or seen != self._seen:
            self._seen, self._moved_s = seen, now_s
            return None
        if now_s - self._moved_s < HUNG_S:
            return None
        self._moved_s = now_s
        return seen >> COUNT_BITS


async def _depose(writer: asyncpg.Connection, pid: int) -> None:
    """End the connection of a leader that stands still: with it goes its lock, and all that it could write."""
    try:
        await writer.execute("select pg_terminate_backend($1)", pid)
    except asyncpg.InsufficientPrivilegeError as error:
        log.error("leader_not_deposed", pid=pid, reason=str(error))
    else:
        log.warning("leader_deposed", pid=pid, stood_still_s=HUNG_S)


async def _close(writer: asyncpg.Connection) -> None:
    try:
        await writer.close(timeout=1.0)
    except GONE:
        writer.terminate()


class Leadership:
    """The ports of one term of leadership."""

    def __init__(
        self, writer: asyncpg.Connection, pool: asyncpg.Pool, relaxed: asyncpg.Pool, lost: asyncio.Event
    ) -> None:
        self.store = PostgresStore(writer, pool)
        self.positions = PostgresPositions(pool, relaxed)
        self.archive = PostgresArchive(pool)
        self.history = PostgresHistory(pool)
        self.shelf = PostgresShelf(pool)
        self.pool = pool
        self._pid = writer.get_server_pid()
        self._lost = lost

    async def watch(self) -> None:
        """Tell standbys that this process does not stand still, until leadership is lost.

        Raises: StoreUnavailable, always.
        """
        for count in itertools.count():
            await self.positions.set(LEADER, self._pid << COUNT_BITS | count)
            try:
                async with asyncio.timeout(SEEN_EVERY_S):
                    await self._lost.wait()
            except TimeoutError:
                continue
            break
        raise StoreUnavailable("the writer's connection to Postgres was lost, and the leader's lock with it")
