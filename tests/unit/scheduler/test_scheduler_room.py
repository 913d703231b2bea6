"""Blobs in NATS, which only carries them: provided where they are needed, taken out where there is no room."""

from __future__ import annotations

import asyncio

import pytest
from scheduler_fakes import ManualClock, MemoryArchive, MemoryBlobs

from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.ports import BlobUnavailable
from lutlab_scheduler.app.retention import make_room
from lutlab_scheduler.app.world import World


async def test_room_is_made_in_nats_only_where_there_is_too_little() -> None:
    archive, blobs = MemoryArchive("old", "older"), MemoryBlobs()
    carrier = Carrier(archive, blobs)
    for digest in ("old", "older"):
        await carrier.provide(digest)
    clock = ManualClock()
    await make_room(blobs, carrier, World(), clock, 8)
    assert blobs.digests == {"old", "older"}
    await make_room(blobs, carrier, World(), clock, 7)
    assert blobs.digests == set()
    await carrier.provide("old")  # it is looked for again
    assert blobs.digests == {"old"}


class SlowBlobs(MemoryBlobs):
    """Takes its time to delete, as NATS does."""

    def __init__(self, *digests: str) -> None:
        super().__init__(*digests)
        self.deleting, self.go_on = asyncio.Event(), asyncio.Event()

    async def delete(self, digest: str) -> None:
        self.deleting.set()
        await self.go_on.wait()
        await super().delete(digest)


async def test_what_work_is_sent_for_while_room_is_made_is_there_when_it_is_sent() -> None:
    archive, blobs = MemoryArchive("a", "b", "c"), SlowBlobs()
    carrier = Carrier(archive, blobs)
    for digest in ("a", "b", "c"):
        await carrier.provide(digest)
    making = asyncio.create_task(make_room(blobs, carrier, World(), ManualClock(), 0))
    await blobs.deleting.wait()  # of `a`
    providing = asyncio.gather(carrier.provide("a"), carrier.provide("b"))
    await asyncio.sleep(0)
    blobs.go_on.set()
    await providing
    await making
    assert blobs.digests == {"a", "b"}


async def test_a_finding_that_is_also_somebodys_file_is_there_when_work_is_sent_for_it() -> None:
    archive, blobs = MemoryArchive("empty"), SlowBlobs("empty")
    carrier = Carrier(archive, blobs)
    taking = asyncio.create_task(carrier.take_over("empty"))
    await blobs.deleting.wait()
    providing = asyncio.create_task(carrier.provide("empty"))
    await asyncio.sleep(0)
    blobs.go_on.set()
    await asyncio.gather(taking, providing)
    assert blobs.digests == {"empty"}


async def test_what_was_made_just_now_and_is_nowhere_else_stays_in_nats() -> None:
    archive, blobs = MemoryArchive("archived"), MemoryBlobs("made", "archived", "orphan")
    blobs.young = {"made", "archived"}
    await make_room(blobs, Carrier(archive, blobs), World(), ManualClock(), 0)
    assert blobs.digests == {"made"}


async def test_a_blob_is_put_into_nats_once_and_again_when_nats_forgot_it() -> None:
    archive, blobs = MemoryArchive("source"), MemoryBlobs()
    carrier = Carrier(archive, blobs)
    await carrier.provide("source")
    await carrier.provide("source")
    assert (blobs.digests, blobs.asked) == ({"source"}, 1)
    blobs.digests.clear()
    carrier.forget()
    await carrier.provide("source")
    assert blobs.digests == {"source"}
    with pytest.raises(BlobUnavailable):
        await carrier.provide("nowhere")
