"""What is not kept for ever goes, and only that; on real Postgres."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from lutlab_scheduler.adapters.postgres import PostgresArchive
from lutlab_scheduler.adapters.postgres_attic import PostgresAttic
from lutlab_scheduler.app.retention import Retention, clear_out
from lutlab_transport.clock import SystemClock

NOW = SystemClock().now()
OLD, YOUNG = NOW - timedelta(days=400), NOW - timedelta(days=10)
RETENTION = Retention(logs=timedelta(days=90), blobs=timedelta(days=365), transit_bytes=0)
SQL_JOB = """
insert into jobs (job_id, number, type, status, owner, source_digest, bitstream, correlation_id, created_at, updated_at,
                  version) values ($1, $2, 'build_and_program', $3, 'ada', $4, $5, $1, $6, $6, 1)
"""
SQL_EVENT = """
insert into events
select 1 + coalesce(max(position), 0), gen_random_uuid(), $1, 1 + coalesce(max(version) filter (where stream = $1), 0),
       'some.thing.v1', $2, gen_random_uuid(), gen_random_uuid(), 'ada', 'main', $3, '' from events
"""
SQL_PROJECT = """
insert into projects values ($1, 'ada', 'p', 't', '', '', $2, $3, $4, $4, 1)
"""
SQL_VERIFICATION = """
insert into verifications (job_id, number, project_id, owner, status, stages, records, config_overrides, files_digest,
                           seed, attempt, correlation_id, submitted_at, updated_at, version)
values ($1, $2, $1, 'ada', $3, '[]', $4, '{}', $5, 1, 1, $1, $6, $6, 1)
"""


def digest(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        await pool.execute("truncate blobs, dead_letters, jobs, job_logs, profiles, projects, verifications")
        yield pool


async def blobs(pool: asyncpg.Pool, *numbers: int, young: bool = False) -> None:
    for number in numbers:
        await pool.execute("insert into blobs values ($1, 1, 'x', $2)", digest(number), YOUNG if young else OLD)


async def job(pool: asyncpg.Pool, source: int, status: str, *, young: bool = False, built: int | None = None) -> None:
    """A job of the source with this number, which is its own number, too."""
    ident, ended_at = UUID(int=source), YOUNG if young else OLD
    bitstream = None if built is None else json.dumps({"digest": digest(built)})
    await pool.execute(SQL_JOB, ident, source, status, digest(source), bitstream, ended_at)
    await pool.execute("insert into job_logs values ($1, 1, 0, 'synthesize', 'x', $2)", ident, ended_at)


async def event(pool: asyncpg.Pool, stream: str, *mentioned: int, young: bool = False) -> None:
    data = json.dumps({"files": [{"digest": digest(number)} for number in mentioned]})
    await pool.execute(SQL_EVENT, stream, data, YOUNG if young else OLD)


async def project(pool: asyncpg.Pool, number: int, status: str, file: int) -> None:
    files = json.dumps({"a.v": {"digest": digest(file), "size_bytes": 1}})
    await pool.execute(SQL_PROJECT, UUID(int=number), status, files, OLD)


async def verification(
    pool: asyncpg.Pool,
    number: int,
    status: str,
    *,
    files: dict[int, list[int]],
    found: int | None = None,
    young: bool = False,
) -> None:
    """A job on one file set: the number of its blob, and those of its files."""
    [(file_set, names)] = files.items()
    content = json.dumps({f"{name}.v": {"digest": digest(name), "size_bytes": 1} for name in names})
    await pool.execute("update blobs set data = $2 where digest = $1", digest(file_set), content.encode())
    records = json.dumps([] if found is None else [{"stage": "lint", "outcome": {"details_digest": digest(found)}}])
    ended_at = YOUNG if young else OLD
    await pool.execute(SQL_VERIFICATION, UUID(int=number), number, status, records, digest(file_set), ended_at)


async def left(pool: asyncpg.Pool) -> set[int]:
    return {int(row[0], 16) for row in await pool.fetch("select digest from blobs")}


async def test_logs_go_after_the_end_of_their_job_of_whatever_kind(pool: asyncpg.Pool) -> None:
    await job(pool, 1, "complete")
    await job(pool, 2, "running")
    await job(pool, 3, "failed", young=True)
    for number, status, young in ((4, "passed", False), (5, "running", False), (6, "failed", True)):
        await verification(pool, number, status, files={number: []}, young=young)
        await pool.execute("insert into job_logs values ($1, 1, 0, 'lint', 'x', $2)", UUID(int=number), OLD)
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    assert {row[0].int for row in await pool.fetch("select job_id from job_logs")} == {2, 3, 5, 6}


async def test_designs_go_a_year_after_their_job_unless_something_else_needs_them(pool: asyncpg.Pool) -> None:
    await blobs(pool, *range(1, 12))
    await blobs(pool, 12, young=True)
    await job(pool, 1, "complete", built=2)  # both go
    await job(pool, 3, "failed", young=True)
    await job(pool, 4, "running", built=5)
    await job(pool, 6, "cancelled", built=5)  # its source goes; its bitstream is the running job's, too
    await job(pool, 7, "complete", built=8)  # known to something else, and a profile's base design
    await job(pool, 12, "complete")  # uploaded again not long ago
    base = json.dumps({"digest": digest(8)})
    await pool.execute("insert into profiles (profile, base, updated_at) values ('p', $1, now())", base)
    await event(pool, "novelty-1", 7, 9)
    await event(pool, "job-1", 1)
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    # 10 and 11 were stored for commands that were refused.
    assert await left(pool) == {3, 4, 5, 7, 8, 9, 12}


async def test_files_go_a_year_after_their_project_or_job_let_them_go(pool: asyncpg.Pool) -> None:
    await blobs(pool, *range(20, 40))
    await project(pool, 1, "active", 20)
    await project(pool, 2, "deleted", 21)
    await event(pool, "project-1", 20, 22, 21)  # 22 was replaced
    await event(pool, "project-3", 23, young=True)  # and 23 not long ago
    await verification(pool, 1, "passed", files={24: [25, 20]}, found=26)  # goes, but for the project's file
    await verification(pool, 2, "running", files={27: [28, 25]})
    await verification(pool, 3, "failed", files={29: [30]}, found=31, young=True)
    await verification(pool, 4, "passed", files={29: [30]}, found=32)  # the same files as that one
    await event(pool, "verification-4", 32, 33)  # 33 was found by a run that was lost
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    assert await left(pool) == {20, 23, 25, 27, 28, 29, 30, 31}


async def test_a_deleted_projects_files_go_at_once_and_what_its_jobs_found_in_a_year(pool: asyncpg.Pool) -> None:
    await blobs(pool, *range(40, 50), young=True)
    for number, status, file in ((40, "deleted", 40), (42, "active", 42)):
        await project(pool, number, status, file)
        await event(pool, f"project-{UUID(int=number)}", file, 43, young=True)  # 43 is a file of both
    await event(pool, f"project-{UUID(int=40)}", 41, young=True)  # was replaced before the project was deleted
    await verification(pool, 40, "passed", files={44: [40, 41, 43]}, found=45, young=True)
    await verification(pool, 42, "passed", files={46: [42, 47]}, found=48, young=True)
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    # 49 was stored for a command that was refused; a year is for what somebody spoke of.
    assert await left(pool) == {42, 43, 44, 45, 46, 47, 48}


async def test_files_of_a_deleted_projects_open_job_stay(pool: asyncpg.Pool) -> None:
    await blobs(pool, 50, 51, young=True)
    await project(pool, 50, "deleted", 50)
    await event(pool, f"project-{UUID(int=50)}", 50, young=True)
    await verification(pool, 50, "running", files={51: [50]})
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    assert await left(pool) == {50, 51}


async def test_what_nobody_spoke_of_yet_stays_for_an_hour(pool: asyncpg.Pool) -> None:
    now = SystemClock().now()  # not `NOW`, when the tests were read: a slow machine is some minutes further by now
    for number, minutes in ((60, 50), (61, 70)):
        at = now - timedelta(minutes=minutes)
        await pool.execute("insert into blobs values ($1, 1, 'x', $2)", digest(number), at)
    await clear_out(PostgresAttic(pool), SystemClock(), Retention(logs=None, blobs=None, transit_bytes=0))
    assert await left(pool) == {60}


class AheadClock(SystemClock):
    """A scheduler's whose host was a day ahead when it started: it is believed, and comes back at 1 % only."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=1)


async def test_what_was_put_just_now_stays_whatever_the_schedulers_clock_says(pool: asyncpg.Pool) -> None:
    """Its command is on its way."""
    await PostgresArchive(pool).put(digest(60), b"x")
    await clear_out(PostgresAttic(pool), AheadClock(), RETENTION)
    assert await left(pool) == {60}


async def test_what_a_dead_letter_speaks_of_can_still_be_replayed(pool: asyncpg.Pool) -> None:
    await blobs(pool, 70, 71, young=True)
    for number, replayed_at in ((70, None), (71, YOUNG)):
        letter = json.dumps({"body": {"type": "SubmitBuild", "source_digest": digest(number)}}).encode()
        await pool.execute(
            "insert into dead_letters values (gen_random_uuid(), 'COMMANDS', 'cmd.main.Submit', 'why', $1, $2, $3)",
            letter,
            YOUNG,
            replayed_at,
        )
    await pool.execute("update blobs set created_at = $1 where digest = $2", OLD, digest(71))
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    assert await left(pool) == {70}


async def test_whoever_looks_for_a_blob_keeps_it(pool: asyncpg.Pool) -> None:
    for number in (1, 2):
        await blobs(pool, number)
        await job(pool, number, "complete")
    archive = PostgresArchive(pool)
    assert await archive.has(digest(1))
    assert not await archive.has(digest(3))
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    assert await left(pool) == {1}


async def test_logs_go_after_their_time_in_batches(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.retention.BATCH", 2)
    for number in range(1, 6):
        await job(pool, number, "complete")
    await job(pool, 6, "complete", young=True)
    await job(pool, 7, "running")
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    rows = await pool.fetch("select job_id from job_logs")
    assert {row[0].int for row in rows} == {6, 7}


async def test_for_ever_is_for_ever(pool: asyncpg.Pool) -> None:
    await blobs(pool, 1)
    await job(pool, 1, "complete")
    await clear_out(PostgresAttic(pool), SystemClock(), Retention(logs=None, blobs=None, transit_bytes=0))
    assert await left(pool) == {1}
    assert await pool.fetchval("select count(*) from job_logs") == 1
