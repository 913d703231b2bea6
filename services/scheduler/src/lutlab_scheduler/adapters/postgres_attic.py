"""The Attic port: forgetting logs and blobs that nothing needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

from lutlab_scheduler.adapters.postgres import translated

TIMEOUT_S = 300.0

SQL_FORGET_LOGS = """
with gone as (
    delete from job_logs where job_id in (
        select job_id from (
            select job_id from jobs where status in ('complete', 'failed', 'cancelled') and updated_at < $1
            union all
            select job_id from verifications where status not in ('queued', 'running') and updated_at < $1
        ) ended where exists (select from job_logs l where l.job_id = ended.job_id)
        limit $2
    ) returning job_id
)
select count(distinct job_id) from gone
"""
DIGESTS = "'[0-9a-f]{64}', 'g'"
SQL_FORGET_BLOBS = f"""
with checked as (
    select files_digest, records, v.status in ('queued', 'running') or v.updated_at >= $1 as needed,
           p.status is not distinct from 'deleted' and v.status not in ('queued', 'running') as dropped
    from verifications v left join projects p using (project_id)
),
file_sets as (
    select files_digest as digest, bool_or(needed) as needed, bool_or(needed and not dropped) as files_needed,
           bool_and(dropped) as dropped
    from checked group by files_digest
),
deleted as (
    select 'project-' || project_id as stream from projects where status = 'deleted'
),
mentioned as (
    select digest, bool_or(needed) as needed, bool_and(dropped) as dropped
    from (
        select unnest(array[source_digest, bitstream->>'digest']) as digest,
               status in ('queued', 'running') or updated_at >= $1 as needed, false as dropped from jobs
        union all select digest, needed, false from file_sets
        union all select found[1], files_needed, dropped from file_sets join blobs using (digest),
                         regexp_matches(encode(data, 'escape'), {DIGESTS}) as found
        union all select found[1], needed, false from checked, regexp_matches(records::text, {DIGESTS}) as found
        union all select found[1], replayed_at is null and arrived_at >= $1, false
                  from dead_letters, regexp_matches(encode(data, 'escape'), {DIGESTS}) as found
        union all select found[1], at >= $1 and d.stream is null, d.stream is not null
                  from events left join deleted d using (stream), regexp_matches(data::text, {DIGESTS}) as found
                  where split_part(stream, '-', 1) in ('project', 'verification')
    ) m where digest is not null group by digest
),
kept as (
    select bitstream->>'digest' as digest from boards where bitstream is not null
    union select base->>'digest' from profiles where base is not null
    union select found[1] from projects, regexp_matches(files::text, {DIGESTS}) as found where status <> 'deleted'
    union select found[1] from events, regexp_matches(data::text, {DIGESTS}) as found
    where split_part(stream, '-', 1) not in ('job', 'board', 'key', 'agent', 'project', 'verification')
),
gone as (
    delete from blobs where created_at < now() - $3::interval and digest in (
        select b.digest from blobs b left join mentioned m using (digest)
        where m.needed is not true
          and b.created_at < case when coalesce(m.dropped, true) then now() - $3::interval else $1 end
          and not exists (select from kept k where k.digest = b.digest)
        limit $2
    ) returning digest
)
select count(*) from gone
"""  # noqa: S608 - our own pattern
"""Designs of jobs, files and findings of verification jobs, files of projects that were replaced: what was needed last
before $1 and put last before then. What was stored for a command that was then refused, of which nobody speaks, and
what only a deleted project had (`dropped`): whatever was put longer than $3 ago. Dead letters speak of blobs, too,
until they are replayed. Findings of a deleted project's jobs stay their time. What other aggregates know stays,
whatever they are. A blob that is put again, or looked for, is young again (`created_at`), so none goes between its
upload and the command that speaks of it."""


class PostgresAttic:
    """The Attic port."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def forget_logs(self, before: datetime, limit: int) -> int:
        """Delete the logs of jobs that ended before; of how many."""
        with translated():
            return int(await self._pool.fetchval(SQL_FORGET_LOGS, before, limit, timeout=TIMEOUT_S))

    async def forget_blobs(self, before: datetime, kept: timedelta, limit: int) -> int:
        """Delete what only jobs, projects and refused commands spoke of, and not since; how many blobs."""
        with translated():
            return int(await self._pool.fetchval(SQL_FORGET_BLOBS, before, limit, kept, timeout=TIMEOUT_S))
