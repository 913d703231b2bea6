"""Rebuilding and checking views in Postgres, beside a running scheduler.

A rebuild folds the log into tables of its own session. Then one transaction stops appends for a moment (by a lock on
one view: every append writes, or could write, to all of them), folds what came meanwhile, and replaces exactly the rows
that differ. Readers see the old view until the commit and the new one from then on; they never wait.

A check does the same in one snapshot, in which log and views belong together, and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import msgspec

from lutlab_events.envelope import Recorded
from lutlab_events.values import Json
from lutlab_ledger import tables
from lutlab_scheduler.adapters.postgres import translated
from lutlab_scheduler.adapters.postgres_scan import SQL_KINDS, scan
from lutlab_scheduler.app.ports import SchedulerError
from lutlab_scheduler.app.projections import KEYS
from lutlab_scheduler.app.rebuild import Folding, stream_kind

REPLAY_LOCK = 0x6C757460
"""Advisory lock key: one rebuild of a database at a time."""
BATCH_EVENTS = 5000
DIFFERENCES_MAX = 50
"""How many differing rows of a view are shown; all are counted."""
SWAP_TIMEOUT_MS = 60_000
"""How long a rebuild may wait for its turn between appends."""

SQL_END = "select coalesce(max(position), 0) from events"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


class ReplayRefused(SchedulerError):
    """There is no such view, or another rebuild is under way."""

    code = "replay_refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row as the view has it and as the log says; None where there is none."""

    view: str
    key: str
    live: Json | None
    rebuilt: Json | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rebuild or a check found.

    Attributes:
        position: the end of the log it speaks of.
        events: how many events were folded.
        rows: rows of each view, by the log.
        differing: how many rows of each view were not what the log says (and, after a rebuild, are now).
        differences: the first `DIFFERENCES_MAX` of each view.
    """

    position: int
    events: int
    rows: dict[str, int]
    differing: dict[str, int]
    differences: list[Difference]


def views_named(name: str) -> tuple[str, ...]:
    """The views a name stands for; `all` for every one. Raises: ReplayRefused."""
    if name == "all":
        return tuple(KEYS)
    if name not in KEYS:
        raise ReplayRefused(f"there is no view {name!r}; there are {', '.join(KEYS)}, and all")
    return (name,)


class Rebuild:
    """Views of one database, folded anew in a session of their own."""

    def __init__(self, connection: asyncpg.Connection, views: Sequence[str], progress: Progress) -> None:
        self._connection = connection
        self._views = tuple(views)
        self._kinds = [stream_kind(view) for view in self._views]
        self._progress = progress
        self._folding = Folding()
        self._position = 0
        self._events = 0

    async def check(self) -> Outcome:
        """Compare, in one snapshot. Raises: StoreUnavailable."""
        with translated():
            async with self._connection.transaction(isolation="repeatable_read"):
                await self._make_tables("on commit drop")
                await self._fold(await self._connection.fetchval(SQL_END), "checking")
                return await self._outcome()

    async def replace(self) -> Outcome:
        """Rebuild, and put the result in place of the views. Raises: StoreUnavailable, ReplayRefused."""
        with translated():
            if not await self._connection.fetchval("select pg_try_advisory_lock($1)", REPLAY_LOCK):
                raise ReplayRefused("another rebuild is under way")
            await self._make_tables("on commit preserve rows")
            # Twice without a lock, so that little is left to do while appends wait.
            for what in ("rebuilding", "catching up"):
                await self._fold(await self._connection.fetchval(SQL_END), what)
            async with self._connection.transaction():
                await self._connection.execute(f"set local lock_timeout = {SWAP_TIMEOUT_MS}")
                await self._connection.execute(f"lock table {self._views[0]} in share row exclusive mode")
                await self._fold(await self._connection.fetchval(SQL_END), "swapping")
                outcome = await self._outcome()
                for view in self._views:
                    await self._swap(view)
                return outcome

    async def _make_tables(self, on_commit: str) -> None:
        for view in self._views:
            await self._connection.execute(
                f"create temporary table rebuilt_{view} (like {view} including indexes) {on_commit}"
            )

    async def _fold(self, end: int, what: str) -> None:
        """Fold up to `end` into the session's tables."""
        while self._position < end:
            events: list[Recorded] = []
            scope = (self._position, end, self._kinds, BATCH_EVENTS)
            await scan(self._connection, SQL_KINDS, *scope, take=events.extend)
            rows = self._folding.take(events)
            for view in self._views:
                values = [row.values for row in rows if row.table == view]
                if values:
                    await self._connection.execute(_write(view), msgspec.json.encode(values).decode())
            self._events += len(events)
            self._position = events[-1].position if len(events) == BATCH_EVENTS else end
            self._progress(what, self._position, end)

    async def _outcome(self) -> Outcome:
        rows: dict[str, int] = {}
        differing: dict[str, int] = {}
        differences: list[Difference] = []
        for view in self._views:
            rows[view] = await self._connection.fetchval(f"select count(*) from rebuilt_{view}")  # noqa: S608 - our own table
            differing[view] = await self._connection.fetchval(f"select count(*) from {_unequal(view)}")  # noqa: S608 - ours
            for record in await self._connection.fetch(_differences(view), DIFFERENCES_MAX):
                live, rebuilt = (None if text is None else msgspec.json.decode(text) for text in record[1:])
                differences.append(Difference(view, record[0], live, rebuilt))
        return Outcome(self._position, self._events, rows, differing, differences)

    async def _swap(self, view: str) -> None:
        """Take away every row that differs, put in every row that is missing."""
        key = KEYS[view]
        await self._connection.execute(
            f"delete from {view} l where not exists "  # noqa: S608 - names of our own tables
            f"(select from rebuilt_{view} r where r.{key} = l.{key} and r::text = l::text)"
        )
        await self._connection.execute(
            f"insert into {view} select * from rebuilt_{view} r where not exists "  # noqa: S608 - names of our own tables
            f"(select from {view} l where l.{key} = r.{key})"
        )


def _write(view: str) -> str:
    """SQL that writes rows given as JSON; the same way as an append writes them."""
    key = KEYS[view]
    columns = [c.name for c in tables.metadata.tables[view].columns if c.name != key]
    changes = ", ".join(f"{c} = excluded.{c}" for c in columns)
    return (
        f"insert into rebuilt_{view} "  # noqa: S608 - names of our own tables
        f"select * from json_populate_recordset(null::{view}, $1::json) on conflict ({key}) do update set {changes}"
    )


def _unequal(view: str) -> str:
    key = KEYS[view]
    return f"{view} l full join rebuilt_{view} r on l.{key} = r.{key} where l::text is distinct from r::text"


def _differences(view: str) -> str:
    key = KEYS[view]
    return (
        f"select coalesce(l.{key}, r.{key})::text, "  # noqa: S608 - names of our own tables
        f"case when l.{key} is not null then row_to_json(l) end, "
        f"case when r.{key} is not null then row_to_json(r) end from {_unequal(view)} order by 1 limit $1"
    )


@asynccontextmanager
async def rebuilding(database_url: str, views: Sequence[str], progress: Progress) -> AsyncIterator[Rebuild]:
    """A rebuild of these views in a session of its own. Raises: StoreUnavailable."""
    with translated():
        connection = await asyncpg.connect(database_url, server_settings={"application_name": "lutlab-replay"})
    try:
        yield Rebuild(connection, views, progress)
    finally:
        # Ends the session, and with it its tables and locks.
        connection.terminate()
