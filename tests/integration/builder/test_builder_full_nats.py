"""What a builder does while NATS is there but has no room, on a real server whose bucket and streams are tiny."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from nats.aio.client import Client
from nats.js.api import ObjectStoreConfig

from lutlab_builder.adapters import nats_io
from lutlab_builder.adapters.nats_io import NatsBlobs, NatsOutlet
from lutlab_builder.app.do_work import NoRoom
from lutlab_builder.app.ports import Stage
from lutlab_builder.app.story import Story
from lutlab_events import codec, subjects
from lutlab_events.work import BuildWork
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.connection import connect
from lutlab_transport.streams import ensure_streams, stream_config

SITE = "full"


@pytest.fixture
async def nc(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(nats_io, "BLOB_ROOM_WAIT_S", 0.5)
    monkeypatch.setattr(nats_io, "LOG_ROOM_WAIT_S", 0.5)
    client = await connect(nats_url, name="test")
    js = client.jetstream()
    await ensure_streams(js)
    await js.delete_object_store(subjects.BLOB_BUCKET)
    await js.create_object_store(subjects.BLOB_BUCKET, ObjectStoreConfig(max_bytes=100_000))
    logs = stream_config(subjects.LOGS)
    logs.max_bytes = 2_000
    await js.update_stream(logs)
    yield client
    for name in (spec.name for spec in subjects.STREAMS):
        await js.delete_stream(name)
    await js.delete_object_store(subjects.BLOB_BUCKET)
    await client.close()


async def test_a_blob_without_room_is_given_up_after_a_while(nc: Client) -> None:
    blobs = NatsBlobs(nc)
    await blobs.put(os.urandom(60_000))
    with pytest.raises(NoRoom, match=r"no room for 0\.5 s"):
        await blobs.put(os.urandom(60_000))
    await blobs.put(os.urandom(20_000))


async def test_a_log_without_room_does_not_hold_the_build_up(nc: Client) -> None:
    job = uuid4()
    work = BuildWork(
        job_id=job, attempt=1, correlation_id=job, source_digest="", filename="design.v", profile="lfe5u-25f"
    )
    sender = CommandClient(nc, site=SITE, actor="builder", clock=SystemClock(), ids=RandomIds())
    story = Story(NatsOutlet(nc, sender, work, 1, site=SITE, clock=SystemClock()))
    for number in range(1000):
        story.line(Stage.PACK, f"line {number}")
    await story.close()
    js = nc.jetstream()
    assert (await js.stream_info(subjects.LOGS.name)).state.messages < 3
    await js.purge_stream(subjects.LOGS.name)
    await NatsOutlet(nc, sender, work, 2, site=SITE, clock=SystemClock()).lines(Stage.PACK, ["again"])
    kept = await js.get_last_msg(subjects.LOGS.name, subjects.log(SITE, job))
    assert codec.decode_log_chunk(kept.data or b"").lines == ("again",)
