"""Views rebuilt from zero and checked against the log, while a real scheduler goes on writing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from uuid import uuid4

import asyncpg
import pytest
from scheduler_lab import Lab, lab_with_scheduler

from lutlab_events import commands as c
from lutlab_scheduler.adapters.rebuild import Outcome, ReplayRefused, rebuilding, views_named
from lutlab_scheduler.settings import Settings

BUSY_OWNERS = 8


@pytest.fixture
def settings(postgres_url: str, nats_url: str) -> Settings:
    return Settings(
        database_url=postgres_url, nats_url=nats_url, allow_unsafe_sync=True, agent_lease_s=60, queue_jobs_max=100_000
    )


async def check(url: str) -> Outcome:
    async with rebuilding(url, views_named("all"), lambda *_: None) as rebuild:
        return await rebuild.check()


async def replace(url: str, name: str = "all") -> Outcome:
    async with rebuilding(url, views_named(name), lambda *_: None) as rebuild:
        return await rebuild.replace()


async def busy(lab: Lab, stop: asyncio.Event) -> int:
    """Submit and cancel jobs until told to stop; how many commands were accepted."""
    digest = await lab.upload()
    done = 0

    async def owner(name: str) -> None:
        nonlocal done
        while not stop.is_set():
            job_id = uuid4()
            submit = c.SubmitBuild(job_id=job_id, owner=name, source_digest=digest, filename="design.v")
            assert (await lab.ask(submit)).accepted
            assert (await lab.ask(c.CancelJob(job_id=job_id, owner=name))).accepted
            done += 2

    async with asyncio.TaskGroup() as tasks:
        for number in range(BUSY_OWNERS):
            tasks.create_task(owner(f"owner-{number}"))
    return done


async def test_views_are_rebuilt_and_swapped_while_the_lab_works(settings: Settings, postgres_url: str) -> None:
    async with lab_with_scheduler(settings) as lab:
        await lab.register("b0", "b1")
        await lab.base()
        await lab.reserve()
        stop = asyncio.Event()
        working = asyncio.create_task(busy(lab, stop))
        # Damage of every kind, in views only: a changed row, a lost one, one that never was.
        await lab.db.execute("update boards set owner = 'mallory' where fpga_id = 1")
        await lab.db.execute("delete from agents")
        await lab.db.execute(
            "insert into profiles (profile, base, updated_at) values ('ghost', null, now())",
        )
        before = await check(postgres_url)
        assert {v: n for v, n in before.differing.items() if n} == {"boards": 1, "agents": 1, "profiles": 1}
        shown = {d.view: d for d in before.differences}
        assert shown["boards"].live is not None and shown["boards"].rebuilt is not None
        assert (shown["boards"].live["owner"], shown["boards"].rebuilt["owner"]) == ("mallory", None)
        assert (shown["agents"].live, shown["profiles"].rebuilt) == (None, None)
        for _ in range(3):
            await replace(postgres_url)
            assert not any((await check(postgres_url)).differing.values())
        stop.set()
        done = await working
        assert done > 50, "the lab stood still meanwhile"
        after = await check(postgres_url)
        assert not any(after.differing.values())
        assert after.rows["jobs"] == await lab.db.fetchval("select count(*) from jobs") >= done // 2
        assert after.position == await lab.db.fetchval("select max(position) from events")


async def test_readers_never_see_a_view_half_done(settings: Settings, postgres_url: str) -> None:
    """All rows are wrong before and right after; a reader sees one or the other, and never waits."""
    connection = await asyncpg.connect(postgres_url)
    total = await connection.fetchval("select count(*) from jobs")
    assert total > 20
    await connection.execute("update jobs set owner = 'mallory'")
    stop = asyncio.Event()

    async def read() -> set[int]:
        seen = set()
        while not stop.is_set():
            seen.add(await connection.fetchval("select count(*) from jobs where owner = 'mallory'"))
        return seen

    reading = asyncio.create_task(read())
    outcome = await replace(postgres_url, "jobs")
    stop.set()
    assert await reading <= {total, 0}
    assert outcome.differing == {"jobs": total}
    assert not any((await check(postgres_url)).differing.values())
    await connection.close()


async def test_one_rebuild_at_a_time_and_only_of_what_there_is(postgres_url: str) -> None:
    with pytest.raises(ReplayRefused, match="no view 'events'"):
        views_named("events")
    async with rebuilding(postgres_url, views_named("jobs"), lambda *_: None) as first:
        await first.replace()
        with pytest.raises(ReplayRefused, match="under way"):
            await replace(postgres_url)
    await replace(postgres_url)


@pytest.mark.parametrize(("damage", "code"), [(None, 0), ("update boards set epoch = epoch + 1", 1)])
async def test_the_command_tells_by_its_exit_code(postgres_url: str, damage: str | None, code: int) -> None:
    if damage is not None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(damage)
        await connection.close()
    env = {**os.environ, "LUTLAB_DATABASE_URL": postgres_url}
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lutlab_scheduler.replay", "--verify"],
        env=env,
        capture_output=True,
        check=False,
        timeout=60,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == code, ran.stderr
    assert lines[0]["progress"] == "checking"
    assert bool(lines[-1]["differing"]["boards"]) == bool(code)
