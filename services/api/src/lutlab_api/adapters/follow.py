"""The log and jobs' logs by position, behind the port `LogSource`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lutlab_api.adapters import rows
from lutlab_api.adapters.postgres import Postgres
from lutlab_api.app.follow import Followed, LogPiece

if TYPE_CHECKING:
    from lutlab_api.adapters.postgres import Connection

SQL_HEAD = "select coalesce(max(position), 0) as position from events"
SQL_AFTER = """
select e.position, e.stream, e.version, e.type, e.at, e.actor, e.correlation_id, e.data,
    coalesce(j.owner, v.owner, p.owner) as owner
from events e left join jobs j on j.job_id = case when e.stream like 'job-%' then substr(e.stream, 5)::uuid end
left join verifications v on v.job_id = case when e.stream like 'verification-%' then substr(e.stream, 14)::uuid end
left join projects p on p.project_id = case when e.stream like 'project-%' then substr(e.stream, 9)::uuid end
where e.position > $1 order by e.position limit $2
"""
SQL_LINES = """
select attempt, seq, stage, text, at from job_logs
where job_id = $1 and (attempt, seq) >= ($2, $3) order by attempt, seq limit $4
"""


class PostgresFollow:
    """Implements the port `LogSource`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def head(self) -> int:
        """The end of the log."""
        return int((await self._fetch(SQL_HEAD))[0]["position"])

    async def after(self, position: int, limit: int) -> Sequence[Followed]:
        """Events after a position, oldest first."""
        found = await self._fetch(SQL_AFTER, position, limit)
        return [Followed(rows.event(row), row["owner"]) for row in found]

    async def lines_after(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[LogPiece]:
        """Pieces of a job's log."""
        found = await self._fetch(SQL_LINES, job_id, attempt, seq, limit)
        return [LogPiece(**dict(row)) for row in found]

    async def _fetch(self, text: str, *values: object) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(text, *values)

        return await self._postgres.run(work)
