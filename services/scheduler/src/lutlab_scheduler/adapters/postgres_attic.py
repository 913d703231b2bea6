"""The Attic port: forgetting logs and blobs that nothing needs any more."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from lutlab_scheduler.adapters.postgres import translated

TIMEOUT_S = 300.0

SQL_FORGET_LOGS = """
with gone as (
    delete from job_logs where job_id in (
        select job_id from jobs j
        where status in ('complete', 'failed', 'cancelled') and updated_at < $1
          and exists (select from job_logs l where l.job_id = j.job_id)
        limit $2
    ) returning job_id
)
select count(distinct job_id) from gone
"""
SQL_FORGET_BLOBS = """
with mentioned as (
    select digest, bool_or(status in ('queued', 'running') or updated_at >= $1) as needed
    from (
        select source_digest as digest, status, updated_at from jobs
        union all select bitstream->>'digest', status, updated_at from jobs
    ) m where digest is not null group by digest
),
kept as (
    select bitstream->>'digest' as digest from boards where bitstream is not null
    union select base->>'digest' from profiles where base is not null
    union select found[1] from events, regexp_matches(data::text, '[0-9a-f]{64}', 'g') as found
    where split_part(stream, '-', 1) not in ('job', 'board', 'key', 'agent')
),
gone as (
    delete from blobs where created_at < $1 and digest in (
        select b.digest from blobs b join mentioned m using (digest)
        where not m.needed and b.created_at < $1 and not exists (select from kept k where k.digest = b.digest)
        limit $2
    ) returning digest
)
select count(*) from gone
"""
"""Only designs of jobs, and only if nothing but jobs and their boards ever spoke of them: what other aggregates know
stays, whatever they are. A blob that is put again, or looked for, is young again (`created_at`), so none goes between
its upload and the command that speaks of it."""


class PostgresAttic:
    """The Attic port."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def forget_logs(self, before: datetime, limit: int) -> int:
        """Delete the logs of jobs that ended before; of how many."""
        with translated():
            return int(await self._pool.fetchval(SQL_FORGET_LOGS, before, limit, timeout=TIMEOUT_S))

    async def forget_blobs(self, before: datetime, limit: int) -> int:
        """Delete the designs of jobs that ended before; how many blobs."""
        with translated():
            return int(await self._pool.fetchval(SQL_FORGET_BLOBS, before, limit, timeout=TIMEOUT_S))
