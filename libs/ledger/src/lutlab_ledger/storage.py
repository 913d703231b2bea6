"""What is stored on whose behalf: the blobs that the log says an owner's jobs and projects brought along.

The rule, for whoever counts: every blob that is in the ledger and that an owner's jobs or projects speak of counts for
that owner once, however many of them speak of it. What several owners have counts for each of them. A blob counts until
it is deleted: a deleted project's files and replaced ones do so as long as they are kept.
"""

from __future__ import annotations

OWNER_BYTES_MAX = 20 << 30
"""How many bytes one owner may have stored, unless the settings say otherwise."""

SQL_HELD = """
with spoken_of as (
    select j.owner, unnest(array[j.source_digest, j.bitstream->>'digest']) as digest from jobs j
    where j.owner = any($1::text[]) and j.source_digest is not null
    union
    select v.owner, v.files_digest from verifications v where v.owner = any($1::text[])
    union
    select v.owner, found #>> '{}' from verifications v,
           jsonb_path_query(v.records::jsonb, '$[*].outcome.details_digest') as found
    where v.owner = any($1::text[])
    union
    select v.owner, found #>> '{}' from verifications v,
           jsonb_path_query(v.records::jsonb, '$[*].outcome.artifacts[*].digest') as found
    where v.owner = any($1::text[])
    union
    select p.owner, file.value->>'digest' from projects p
    join events e on e.stream = 'project-' || p.project_id and e.type = 'project.files_uploaded.v1',
         json_each(e.data->'files') as file
    where p.owner = any($1::text[])
)
select s.owner, b.digest, b.size_bytes from spoken_of s join blobs b on b.digest = s.digest
"""
"""Owner, digest and size of every blob that counts for one of the owners `$1`. The views say who speaks of what; files
that a project had are in the log only."""

SQL_USED = f"""
with held as ({SQL_HELD})
select coalesce(sum(size_bytes), 0)::bigint as used_bytes, count(*) as blobs,
       coalesce(array_agg(digest) filter (where digest = any($2::text[])), array[]::text[]) as held
from held
"""  # noqa: S608 - our own query
"""Of the owners `$1` (one, if the sum is to make sense): bytes, how many blobs, and which of the digests `$2`."""


def told(owner: str, *, used_bytes: int, more_bytes: int, allowed_bytes: int) -> str:
    """What whoever wants too much is told: the numbers, and the ways out."""
    return (
        f"{owner} has {used_bytes} bytes stored, this needs {more_bytes} more, and {allowed_bytes} are allowed; delete "
        "a project, whose files are gone within about two hours, or wait until what older jobs left is not kept any "
        "more (GET /api/v1/storage)"
    )
