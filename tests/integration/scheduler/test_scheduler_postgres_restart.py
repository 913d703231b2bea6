"""Postgres is restarted under load: nothing acknowledged is lost, and work goes on by itself."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from scheduler_lab import hands, running, streams_are_there
from scheduler_load import CLIENTS, Load, check_everything

from lutlab_ledger.migrate import migrate
from lutlab_scheduler.settings import Settings
from lutlab_stack.lab import create_database
from lutlab_stack.postgres import PostgresCluster, prepare_postgres, remove_postgres
from lutlab_stack.running import running as server_running

RESTARTS = 2


@pytest.fixture
def cluster(server_folder: Path) -> Iterator[PostgresCluster]:
    base = server_folder / f"postgres-{uuid4().hex[:8]}"
    yield prepare_postgres(base)
    remove_postgres(base)
    shutil.rmtree(base, ignore_errors=True)


async def test_postgres_restarts_under_load(cluster: PostgresCluster, nats_url: str, server_folder: Path) -> None:
    log = server_folder / "postgres-restart.log"
    url = cluster.url("lutlab")
    settings = Settings(database_url=url, nats_url=nats_url, allow_unsafe_sync=True)
    first = server_running(cluster, log)
    first.__enter__()
    server = first
    try:
        await create_database(cluster.url(), "lutlab")
        await migrate(url)
        async with hands(settings) as lab, running(settings) as scheduler:
            await streams_are_there(lab)
            load = Load(lab)
            working = asyncio.create_task(load.run())
            await load.answers_after(time.monotonic())
            for _ in range(RESTARTS):
                await asyncio.to_thread(server.__exit__, None, None, None)
                server = server_running(cluster, log)
                await asyncio.to_thread(server.__enter__)
                took_s = await load.answers_after(time.monotonic())
                await load.more(4 * CLIENTS)
                print(f"first answer {took_s:.2f} s after Postgres was back")
            load.stop.set()
            await working
            assert not scheduler.done()
            await check_everything(lab, load, url)
    finally:
        server.__exit__(None, None, None)
