"""What the scheduler asks of Postgres; `postgres` is who asks."""

from __future__ import annotations

from lutlab_ledger import tables
from lutlab_scheduler.app.projections import KEYS

COLUMNS = "position, event_id, stream, version, data, type, causation_id, correlation_id, actor, site, at"
ENVELOPE = """
'{"position":' || position || ',"event_id":"' || event_id || '","stream":' || to_json(stream)
|| ',"version":' || version || ',"body":' || data::text
|| ',"causation_id":"' || causation_id || '","correlation_id":"' || correlation_id
|| '","actor":' || to_json(actor) || ',"site":' || to_json(site)
|| ',"at":"' || to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"}'
"""
"""An event as the JSON of its envelope: one column to fetch and one decoder for a batch, instead of eleven columns."""
SQL_READ = f"select {ENVELOPE} from events where position > $1 order by position limit $2"  # noqa: S608 - constants
SQL_LOAD = f"select {ENVELOPE} from events where stream = any($1::text[]) order by position"  # noqa: S608 - constants
SQL_HISTORY = (
    f"select {COLUMNS} from events where stream = $1 "  # noqa: S608 - constants
    "and ($2::bigint is null or position <= $2) and ($3::timestamptz is null or at <= $3) order by version"
)
SQL_BURY = """
insert into dead_letters (letter_id, origin, subject, reason, data, arrived_at) values ($1, $2, $3, $4, $5, $6)
on conflict (letter_id) do update set reason = excluded.reason, arrived_at = excluded.arrived_at, replayed_at = null,
    replayed_by = null
"""
SQL_DURABLE = "select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit"
SQL_LEADER_SEEN = """
select s.position from pg_locks l join subscriptions s on s.position >> 32 = l.pid
where l.locktype = 'advisory' and l.granted and l.classid = 0 and l.objid = $1::bigint::oid and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database()) and s.name = $2
"""
"""What the holder of the lock said last; nothing from one that never said anything, such as one of an older version."""
SQL_LETTER = "select origin, subject, data from dead_letters where letter_id = $1"
SQL_HEAD = "select position, hash from events order by position desc limit 1"
SQL_RECORDED = "select command_id, fingerprint, answer from commands where command_id = any($1::uuid[])"
SQL_LIVE = """
select 'board-' || fpga_id from boards
union all select 'agent-' || agent_id from agents
union all select 'key-' || key_id from api_keys
union all select 'profile-' || profile from profiles
union all select 'webhook-' || webhook_id from webhooks
union all select 'project-' || project_id from projects where status <> 'deleted'
union all select 'verification-' || job_id from verifications where status in ('queued', 'running')
union all select 'job-' || job_id from jobs where status in ('queued', 'running')
"""
SQL_POSITION = "select position from subscriptions where name = $1"
SQL_SET_POSITION = """
insert into subscriptions (name, position) values ($1, $2)
on conflict (name) do update set position = excluded.position
"""
SQL_PUT_BLOB = """
insert into blobs (digest, size_bytes, data, created_at) values ($1, $2, $3, now())
on conflict (digest) do update set created_at = excluded.created_at
"""
SQL_TOUCH_BLOB = "update blobs set created_at = now() where digest = $1 returning 1"
SQL_ADD_LOGS = """
insert into job_logs (job_id, attempt, seq, stage, text, at, level)
select * from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
on conflict do nothing
"""
SQL_SIZES = "select digest, size_bytes from blobs where digest = any($1::text[])"
SQL_LOG_BYTES = "select coalesce(sum(octet_length(text)), 0) from job_logs where job_id = $1"


def _upsert(table: str, parameter: str) -> str:
    """A clause that writes whole rows of a view from a JSON array."""
    key = KEYS[table]
    columns = [c.name for c in tables.metadata.tables[table].columns if c.name != key]
    changes = ", ".join(f"{c} = excluded.{c}" for c in columns)
    return (
        f"{table}_written as (insert into {table} "  # noqa: S608 - names from our own tables
        f"select * from json_populate_recordset(null::{table}, {parameter}::json) "
        f"on conflict ({key}) do update set {changes})"
    )


VIEWS = tuple(KEYS)
SQL_APPEND = f"""
with commands_written as (
    insert into commands (command_id, type, actor, site, fingerprint, code, answer, received_at)
    select c.command_id, c.type, c.actor, c.site, c.fingerprint, c.code, c.answer::json, c.received_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
    as c(command_id, type, actor, site, fingerprint, code, answer, received_at)
),
events_written as (
    insert into events (position, event_id, stream, version, type, data, causation_id, correlation_id, actor, site, at,
                        hash)
    select e.position, e.event_id, e.stream, e.version, e.type, e.data::json, e.causation_id, e.correlation_id, e.actor,
           e.site, e.at, e.hash
    from unnest($9::bigint[], $10::uuid[], $11::text[], $12::int[], $13::text[], $14::text[], $15::uuid[], $16::uuid[],
                $17::text[], $18::text[], $19::timestamptz[], $20::bytea[])
    as e(position, event_id, stream, version, type, data, causation_id, correlation_id, actor, site, at, hash)
),
{", ".join(_upsert(table, f"${21 + i}") for i, table in enumerate(VIEWS))}
select 1
"""  # noqa: S608 - names from our own tables
"""One statement, so one transaction and one round trip: commands, events and views, or nothing."""
