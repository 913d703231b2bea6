"""A real builder: real sandbox, real tools."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from builder_scheduler import Scheduler
from builder_support import TOOLS_DIR, Build, Recorder, building
from nats.aio.client import Client

from lutlab_builder.__main__ import Room, make_room
from lutlab_builder.settings import Settings
from lutlab_transport.connection import connect


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Short limits, a cache of this session."""
    return Settings(cache_dir=tmp_path_factory.mktemp("builder-cache"), tools_dir=TOOLS_DIR, elaborate_wall_s=30)


@pytest.fixture
async def room(settings: Settings) -> AsyncIterator[Room]:
    """A builder in a sandbox."""
    found = await make_room(settings)
    assert found.sandboxed
    yield found
    assert list((settings.cache_dir / "builder" / "work").iterdir()) == []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def build(room: Room, recorder: Recorder) -> Build:
    """Build a source text."""
    return building(room, recorder)


@pytest.fixture
async def hasty_build(settings: Settings, recorder: Recorder) -> Build:
    """Build a source text whose elaboration may take 3 s."""
    return building(await make_room(settings.model_copy(update={"elaborate_wall_s": 3.0})), recorder)


@pytest.fixture
async def nc(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url, name="test")
    yield client
    await client.close()


@pytest.fixture
async def scheduler(nc: Client) -> AsyncIterator[Scheduler]:
    found = Scheduler(nc)
    await found.start()
    yield found
    for name in ("COMMANDS", "LOGS", "WORK"):
        await found.js.delete_stream(name)
