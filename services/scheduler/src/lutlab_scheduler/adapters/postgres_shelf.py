"""The Shelf port: checkpoints in Postgres, good for the code that made them and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files

import asyncpg

from lutlab_scheduler.adapters.postgres import translated
from lutlab_scheduler.app.ports import Checkpoint

FOLDS = ("lutlab_events", "lutlab_scheduler.domain")
"""The packages that a fold depends on."""

SQL_KEPT = """
select stream, version, state from checkpoints c where code = $1
  and exists (select from events e where e.stream = c.stream and e.version = c.version)
"""
"""One that is ahead of the log, as in a database that was put together by hand, does not count."""
SQL_KEEP = """
insert into checkpoints (stream, version, code, state)
select stream, version, $3, state::json from unnest($1::text[], $2::int[], $4::text[]) as k(stream, version, state)
on conflict (stream) do update set version = excluded.version, code = excluded.code, state = excluded.state
"""


def fold_code() -> str:
    """A digest of all sources that a fold depends on."""
    sources = [source for package in FOLDS for source in files(package).iterdir() if source.name.endswith(".py")]
    found = hashlib.sha256()
    for source in sorted(sources, key=str):
        found.update(hashlib.sha256(source.read_bytes()).digest())
    return found.hexdigest()


class PostgresShelf:
    """The Shelf port."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._code = fold_code()

    async def kept(self) -> Sequence[Checkpoint]:
        """What this code has kept."""
        with translated():
            rows = await self._pool.fetch(SQL_KEPT, self._code)
        return [Checkpoint(row["stream"], row["version"], row["state"].encode()) for row in rows]

    async def keep(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep these in place of earlier ones."""
        streams = [checkpoint.stream for checkpoint in checkpoints]
        versions = [checkpoint.version for checkpoint in checkpoints]
        states = [checkpoint.state.decode() for checkpoint in checkpoints]
        with translated():
            await self._pool.execute(SQL_KEEP, streams, versions, self._code, states)
