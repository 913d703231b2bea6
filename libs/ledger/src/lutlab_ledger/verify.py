"""Walk the whole log and show that nothing was changed, removed or slipped in.

The chain proves everything up to its end. That the end itself was not cut off shows only against an end that was noted
before: every walk returns one, to be kept elsewhere and passed to a later walk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from lutlab_ledger.chain import GENESIS, LogRow, chain_hash

BATCH_ROWS = 2000
DAMAGES_MAX = 100
"""How many damaged places are named; all are counted."""

COLUMNS = ", ".join(LogRow.__struct_fields__)
SQL_WALK = f"select {COLUMNS}, hash from events order by position"  # noqa: S608 - our own columns
SQL_SIZE = "select coalesce(max(position), 0) from events"


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where the log is not what was written. Positions are those stored."""

    position: int
    problem: str


@dataclass(frozen=True, slots=True)
class Noted:
    """An end of the log: the position and hash of its last event then."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"

    @staticmethod
    def parse(text: str) -> Noted:
        """From `POSITION:HASH`. Raises: ValueError."""
        position, _, digest = text.partition(":")
        noted = Noted(int(position), bytes.fromhex(digest))
        if len(noted.hash) != len(GENESIS) or noted.position < 0:
            raise ValueError(f"{text!r} is not POSITION:HASH with {2 * len(GENESIS)} hexadecimal digits")
        return noted


@dataclass(slots=True)
class Verdict:
    """What a walk found.

    Attributes:
        events: how many rows were read.
        streams: how many streams they belong to.
        end: the end of the log, to be noted for a later walk.
        damages: the first `DAMAGES_MAX` damaged places.
        damaged: how many there are in all.
    """

    events: int = 0
    streams: int = 0
    end: Noted = Noted(0, GENESIS)
    damages: list[Damage] = field(default_factory=list)
    damaged: int = 0

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return self.damaged == 0


class ChainWalk:
    """Checks rows in log order. Pure: rows in, damages out."""

    def __init__(self, noted: Noted | None = None) -> None:
        self.verdict = Verdict()
        self._noted = noted
        self._versions: dict[str, int] = {}

    def take(self, row: LogRow, stored_hash: bytes) -> None:
        """Check the next row against the one before; go on from what is stored, so one damage is told once."""
        verdict = self.verdict
        before = verdict.end
        if row.position != before.position + 1:
            self._note(row.position, f"positions {before.position + 1} to {row.position - 1} are missing")
        expected = self._versions.get(row.stream, 0) + 1
        if row.version != expected:
            self._note(row.position, f"{row.stream} has version {row.version} where {expected} belongs")
        if chain_hash(before.hash, row) != stored_hash:
            self._note(row.position, "its hash is not that of this row after the row before: one of them was changed")
        self._versions[row.stream] = row.version
        if self._noted is not None and row.position == self._noted.position and stored_hash != self._noted.hash:
            self._note(row.position, f"its hash is not the one that was noted ({self._noted.hash.hex()})")
        verdict.events += 1
        verdict.end = Noted(row.position, stored_hash)

    def finish(self) -> Verdict:
        """The verdict, after the last row."""
        verdict, noted = self.verdict, self._noted
        verdict.streams = len(self._versions)
        if noted is not None and verdict.end.position < noted.position:
            self._note(verdict.end.position, f"the log ends here, but it reached position {noted.position} before")
        return verdict

    def _note(self, position: int, problem: str) -> None:
        self.verdict.damaged += 1
        if len(self.verdict.damages) < DAMAGES_MAX:
            self.verdict.damages.append(Damage(position, problem))


def log_row(record: Any) -> LogRow:
    """A record of `SQL_WALK` as it is hashed."""
    return LogRow(**{name: record[name] for name in LogRow.__struct_fields__})


async def verify(
    database_url: str,
    *,
    noted: Noted | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verdict:
    """Walk the log as it stands now; the system may run meanwhile.

    Args:
        noted: an end that an earlier walk returned.
        on_progress: called with events done and events there are.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be read.
    """
    connection = await asyncpg.connect(database_url, server_settings={"application_name": "lutlab-audit"})
    walk = ChainWalk(noted)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            total = int(await connection.fetchval(SQL_SIZE))
            cursor = await connection.cursor(SQL_WALK)
            while records := await cursor.fetch(BATCH_ROWS):
                for record in records:
                    walk.take(log_row(record), bytes(record["hash"]))
                on_progress(walk.verdict.events, total)
    finally:
        await connection.close()
    return walk.finish()
