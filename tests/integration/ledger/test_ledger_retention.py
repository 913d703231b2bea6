"""What is not kept for ever goes, and only that; on real Postgres."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
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
insert into events values ($1, gen_random_uuid(), $2, 1, 'some.thing.v1', $3, gen_random_uuid(), gen_random_uuid(),
                           'ada', 'main', now(), '')
"""


def digest(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        await pool.execute("truncate blobs, jobs, job_logs, profiles")
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


async def left(pool: asyncpg.Pool) -> set[int]:
    return {int(row[0], 16) for row in await pool.fetch("select digest from blobs")}


async def test_designs_go_a_year_after_their_job_unless_something_else_needs_them(pool: asyncpg.Pool) -> None:
    await blobs(pool, *range(1, 12))
    await blobs(pool, 12, young=True)
    await job(pool, 1, "complete", built=2)  # both go
    await job(pool, 3, "failed", young=True)
    await job(pool, 4, "running", built=5)
    await job(pool, 6, "cancelled", built=5)  # its source goes; its bitstream is the running job's, too
    await job(pool, 7, "complete", built=8)  # a project's file, and a profile's base design
    await job(pool, 12, "complete")  # uploaded again not long ago
    base = json.dumps({"digest": digest(8)})
    await pool.execute("insert into profiles (profile, base, updated_at) values ('p', $1, now())", base)
    await pool.execute(SQL_EVENT, 1, "project-1", json.dumps({"files": [{"digest": digest(7)}]}))
    await pool.execute(SQL_EVENT, 2, "job-1", json.dumps({"source_digest": digest(1)}))
    await clear_out(PostgresAttic(pool), SystemClock(), RETENTION)
    # 9 to 11 are of no job: whoever made them knows what they are for.
    assert await left(pool) == {3, 4, 5, 7, 8, 9, 10, 11, 12}


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
