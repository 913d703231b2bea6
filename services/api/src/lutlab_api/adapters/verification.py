"""The ledger's views of verification, behind the port `VerificationStore`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.rows import Row
from lutlab_api.adapters.sql import Query, Where
from lutlab_api.app.verification_ports import ProjectFilter, VerificationFilter
from lutlab_api.domain.verification import ProjectView, StageLine, StageView, VerificationView
from lutlab_events.verification import FileRef, ProjectStatus, StageOutcome, VerificationStatus

ORDERS = {
    "updated_at": "updated_at desc, project_id",
    "created_at": "created_at desc, project_id",
    "name": "name, project_id",
    "-updated_at": "updated_at, project_id",
    "-created_at": "created_at, project_id",
    "-name": "name desc, project_id",
}
PROJECTS = (
    "select project_id, owner, name, top_module, target_pdk, description, status, files, created_at, updated_at "
    "from projects"
)
JOBS_LOOKED_AT = 20
SQL_SECONDS = """
with lately as (
    select records from verifications where status in ('passed', 'failed') and ($1::uuid is null or project_id = $1)
    order by number desc limit $2
)
select r->>'stage' as stage, percentile_cont(0.5) within group (order by (r->'outcome'->>'seconds')::float8) as seconds
from lately, json_array_elements(records) r where r->'outcome' is not null group by 1
"""
SQL_LINES = """
select attempt, seq, stage, text, at, level from job_logs
where job_id = $1 and (attempt, seq) >= ($2, $3) order by attempt, seq limit $4
"""
SQL_LAST = """
select * from (
    select attempt, seq, stage, text, at, level from job_logs
    where job_id = $1 and ($2::text is null or stage = $2) order by attempt desc, seq desc limit $3
) newest order by attempt, seq
"""


class _Record(msgspec.Struct, frozen=True):
    stage: str
    attempt: int
    started_at: datetime | None = None
    completed_at: datetime | None = None
    outcome: StageOutcome | None = None


class PostgresVerification:
    """Implements the port `VerificationStore`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def _fetch(self, text: str, *values: object) -> list[Any]:
        return await self._postgres.rows(Query(text, values))

    async def project(self, project_id: UUID) -> ProjectView | None:
        """One project, deleted ones too."""
        found = await self._fetch(PROJECTS + " where project_id = $1", project_id)
        return project_view(found[0]) if found else None

    async def projects(self, wanted: ProjectFilter) -> tuple[Sequence[ProjectView], int]:
        """Projects that are not deleted, and how many there are in all."""
        where = Where()
        where.add("status <> 'deleted'")
        if wanted.owner is not None:
            where.add("owner = ?", wanted.owner)
        if wanted.status is not None:
            where.add("status = ?", wanted.status.value)
        if wanted.name is not None:
            where.add("position(lower(?) in lower(name)) > 0", wanted.name)
        total = await self._fetch(f"select count(*) from projects{where.text()}", *where.values)  # noqa: S608
        query = where.query(PROJECTS, ORDERS[wanted.sort], wanted.limit, wanted.offset)
        rows = await self._postgres.rows(query)
        return [project_view(row) for row in rows], int(total[0][0])

    async def verification(self, job_id: UUID) -> VerificationView | None:
        """One job."""
        found = await self._fetch("select * from verifications where job_id = $1", job_id)
        return verification_view(found[0]) if found else None

    async def verifications(self, wanted: VerificationFilter) -> tuple[Sequence[VerificationView], int]:
        """Jobs, newest first, and how many there are in all."""
        where = Where()
        where.add("project_id = ?", wanted.project_id)
        if wanted.status is not None:
            where.add("status = ?", wanted.status.value)
        total = await self._fetch(f"select count(*) from verifications{where.text()}", *where.values)  # noqa: S608
        query = where.query("select * from verifications", "number desc", wanted.limit, wanted.offset)
        rows = await self._postgres.rows(query)
        return [verification_view(row) for row in rows], int(total[0][0])

    async def stage_seconds(self, project_id: UUID) -> Mapping[str, float]:
        """How long each stage took lately: the median, of this project's jobs or else of all."""
        everywhere = await self._fetch(SQL_SECONDS, None, JOBS_LOOKED_AT)
        here = await self._fetch(SQL_SECONDS, project_id, JOBS_LOOKED_AT)
        return {row["stage"]: float(row["seconds"]) for row in (*everywhere, *here)}

    async def lines(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[StageLine]:
        """Pieces of a job's log from (attempt, seq) on."""
        return [StageLine(**dict(row)) for row in await self._fetch(SQL_LINES, job_id, attempt, seq, limit)]

    async def last_lines(self, job_id: UUID, stage: str | None, limit: int) -> Sequence[StageLine]:
        """The newest pieces of a job's log, oldest first."""
        return [StageLine(**dict(row)) for row in await self._fetch(SQL_LAST, job_id, stage, limit)]


def project_view(row: Row) -> ProjectView:
    """A row of `projects`."""
    return ProjectView(
        project_id=row["project_id"],
        owner=row["owner"],
        name=row["name"],
        top_module=row["top_module"],
        target_pdk=row["target_pdk"],
        description=row["description"],
        status=ProjectStatus(row["status"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        files=msgspec.json.decode(row["files"], type=dict[str, FileRef]),
    )


def verification_view(row: Row) -> VerificationView:
    """A row of `verifications`."""
    records = msgspec.json.decode(row["records"], type=list[_Record])
    return VerificationView(
        job_id=row["job_id"],
        number=row["number"],
        project_id=row["project_id"],
        owner=row["owner"],
        status=VerificationStatus(row["status"]),
        stages=tuple(json.loads(row["stages"])),
        records=tuple(_stage(record) for record in records),
        config_overrides=json.loads(row["config_overrides"]),
        files_digest=row["files_digest"],
        seed=row["seed"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        updated_at=row["updated_at"],
    )


def _stage(record: _Record) -> StageView:
    return StageView(
        stage=record.stage,
        attempt=record.attempt,
        started_at=record.started_at,
        completed_at=record.completed_at,
        outcome=record.outcome,
    )
