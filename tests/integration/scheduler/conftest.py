"""A fresh database and a fresh NATS server for every test: what one test leaves behind must not help the next."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from scheduler_lab import OwnNats

from lutlab_scheduler.settings import Settings
from lutlab_stack.nats import prepare_nats


@pytest.fixture
async def own_database_url(postgres_server_url: str, migrated_template: str) -> AsyncIterator[str]:
    """A migrated database of this test."""
    name = f"scheduler_{uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_server_url)
    await server.execute(f"create database {name} template {migrated_template}")
    yield urlunsplit(urlsplit(postgres_server_url)._replace(path=f"/{name}"))
    await server.execute(f"drop database {name} with (force)")
    await server.close()


@pytest.fixture
def own_nats(server_folder: Path) -> Iterator[OwnNats]:
    """A NATS server of this test."""
    base = server_folder / f"nats-{uuid4().hex[:12]}"
    nats = OwnNats(prepare_nats(base), server_folder / "own-nats.log")
    nats.start()
    yield nats
    nats.stop()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def lab_settings(own_database_url: str, own_nats: OwnNats) -> Settings:
    """Settings for a scheduler on both; tests shorten times with `model_copy`."""
    return Settings(database_url=own_database_url, nats_url=own_nats.url, allow_unsafe_sync=True)
