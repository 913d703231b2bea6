"""What API processes share, on a real Postgres: limits are exact under racing, seats are counted once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID, uuid4

import pytest

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.shared import PostgresShared
from lutlab_transport.clock import SystemClock

NOW = datetime(2026, 3, 4, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)


@pytest.fixture
async def processes(postgres_url: str) -> AsyncIterator[list[PostgresShared]]:
    pools = [Postgres(postgres_url, SystemClock(), connections_max=3) for _ in range(3)]
    for pool in pools:
        await pool.start()
    yield [PostgresShared(pool) for pool in pools]
    for pool in pools:
        await pool.stop()


async def test_units_are_taken_once_whoever_asks(processes: list[PostgresShared]) -> None:
    bucket = f"jobs:{uuid4()}"
    totals = await asyncio.gather(*(processes[n % 3].take(bucket, 60, 5) for n in range(60)))
    assert sorted(totals) == list(range(5, 301, 5))
    assert await processes[0].take(bucket, 120, 5) == 5  # another window


async def test_taking_is_quick(processes: list[PostgresShared]) -> None:
    """One in twenty requests at most waits for this; the bound is loose because tests share the machine."""
    bucket, took = f"jobs:{uuid4()}", []
    for _ in range(100):
        started = time.perf_counter()
        await processes[0].take(bucket, 60, 1)
        took.append(time.perf_counter() - started)
    assert median(took) < 0.02, median(took)


async def test_seats(processes: list[PostgresShared]) -> None:
    owner = f"ada-{uuid4()}"

    async def take(n: int, now: datetime = NOW, until: datetime = LATER) -> UUID | None:
        holder = uuid4()
        got = await processes[n % 3].take_seat(owner, holder, now=now, until=until, seats_max=10)
        return holder if got else None

    holders = [holder for holder in await asyncio.gather(*(take(n) for n in range(30))) if holder]
    assert len(holders) == 10
    await processes[1].free_seat(holders[0])
    assert await take(0) is not None
    assert await take(1) is None
    await processes[0].keep_seat(holders[1], LATER + timedelta(seconds=30))
    after = LATER + timedelta(seconds=1)  # all but the one that was kept are over
    taken = [await take(n, after, after + timedelta(seconds=30)) for n in range(11)]
    assert [holder is not None for holder in taken] == [True] * 9 + [False] * 2


async def test_the_last_use_never_goes_back_and_what_is_over_is_swept(processes: list[PostgresShared]) -> None:
    key_id, bucket = uuid4(), f"jobs:{uuid4()}"
    await processes[0].record_use({key_id: LATER})
    await processes[1].record_use({key_id: NOW})
    await processes[0].take(bucket, 60, 5)
    await processes[0].sweep(NOW)
    assert await processes[0].take(bucket, 60, 5) == 5
