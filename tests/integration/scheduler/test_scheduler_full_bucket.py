"""A full blob bucket of NATS: work waits visibly, holds up no other work, and is sent or given up in the end."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import UUID

import pytest
from nats.js.api import ObjectStoreConfig
from scheduler_lab import Lab, hands, running, streams_are_there, until

from lutlab_events.subjects import BLOB_BUCKET
from lutlab_scheduler.adapters.nats_link import POSTPONED
from lutlab_scheduler.settings import Settings

TINY_BYTES, SOURCE_BYTES = 100_000, 60_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.postponed.LOOK_EVERY_S", 0.1)


async def tiny_bucket(lab: Lab) -> None:
    await lab.nc.jetstream().create_object_store(BLOB_BUCKET, ObjectStoreConfig(max_bytes=TINY_BYTES))


async def two_large_ones(lab: Lab) -> tuple[UUID, UUID]:
    """Two jobs of which only the first one's source has room; the second one waits."""
    first = await lab.submit(source=os.urandom(SOURCE_BYTES))
    second = await lab.submit(source=os.urandom(SOURCE_BYTES))

    async def waits() -> bool:
        return "waits" in (await log_of(lab, second))

    await until(waits, "the second job says that it waits")
    assert await lab.db.fetchval("select position from subscriptions where name = $1", POSTPONED) == 1
    return first, second


async def log_of(lab: Lab, job_id: UUID) -> str:
    rows = await lab.db.fetch("select text from job_logs where job_id = $1 order by attempt, seq", job_id)
    return "".join(row["text"] for row in rows)


async def nothing_waits(lab: Lab) -> bool:
    return await lab.db.fetchval("select position from subscriptions where name = $1", POSTPONED) == 0


async def test_work_without_room_waits_holds_nothing_up_and_is_sent_when_there_is_room(lab_settings: Settings) -> None:
    async with hands(lab_settings) as lab:
        await tiny_bucket(lab)
        async with running(lab_settings):
            await streams_are_there(lab)
            await lab.register("b0")
            first, second = await two_large_ones(lab)
            third = await lab.submit(source=b"small")
            work = await lab.build_work()
            assert work.job_id == first
            assert (await lab.build_work()).job_id == third, "sent although the second one waits before it"
            assert (await lab.row("jobs", second) or {})["status"] == "queued"
            # The first one's source is not needed any more once it is built; its load passes the waiting one, too.
            assert (await lab.built(work, b"bits")).accepted
            assert (await lab.programmed(await lab.program_work())).accepted
            await lab.job(first, "complete")
            assert (await lab.build_work()).job_id == second
            await until(lambda: nothing_waits(lab), "nothing waits any more")


async def test_what_waits_is_not_forgotten_by_a_restart(lab_settings: Settings) -> None:
    async with hands(lab_settings) as lab:
        await tiny_bucket(lab)
        async with running(lab_settings):
            await streams_are_there(lab)
            first, second = await two_large_ones(lab)
            work = await lab.build_work()
        async with running(lab_settings):
            await streams_are_there(lab)
            assert (await lab.built(work, b"bits")).accepted
            assert (await lab.build_work()).job_id == second
            await until(lambda: nothing_waits(lab), "nothing waits any more")
            assert (await lab.row("jobs", first) or {})["status"] == "running"


async def test_what_waits_too_long_fails_and_says_why(lab_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.dispatch.WORK_WAITS", timedelta(seconds=1))
    async with hands(lab_settings) as lab:
        await tiny_bucket(lab)
        async with running(lab_settings):
            await streams_are_there(lab)
            first, second = await two_large_ones(lab)
            failed = await lab.job(second, "failed")
            assert failed["error_code"] == "transit_full"
            assert "no room" in failed["error_message"] and "60000 bytes" in failed["error_message"]
            assert (await lab.build_work()).job_id == first
            await until(lambda: nothing_waits(lab), "nothing waits any more")
