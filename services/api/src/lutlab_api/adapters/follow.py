"""The log and jobs' logs by position, behind the port `LogSource`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from lutlab_api.adapters.audit import audit_query, event
from lutlab_api.adapters.postgres import Postgres
from lutlab_api.app.audit import AuditFilter
from lutlab_api.app.follow import Followed, LogPiece

SQL_HEAD = "select coalesce(max(position), 0) as position from events"
SELECT = """select position, event_id, stream, version, type, data, causation_id, correlation_id, actor, site, at, hash,
    case split_part(stream, '-', 1)
        when 'job' then (select owner from jobs where job_id = substr(stream, 5)::uuid)
        when 'verification' then (select owner from verifications where job_id = substr(stream, 14)::uuid)
        when 'project' then (select owner from projects where project_id = substr(stream, 9)::uuid)
    end as owner
    from events"""
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
        return int((await self._postgres.fetch(SQL_HEAD))[0]["position"])

    async def after(self, wanted: AuditFilter) -> Sequence[Followed]:
        """Events, oldest first."""
        found = await self._postgres.rows(audit_query(wanted, SELECT))
        return [Followed(event(row), row["owner"]) for row in found]

    async def lines_after(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[LogPiece]:
        """Pieces of a job's log."""
        found = await self._postgres.fetch(SQL_LINES, job_id, attempt, seq, limit)
        return [LogPiece(**dict(row)) for row in found]
