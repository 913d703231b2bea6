"""Transport on a real nats-server: streams, blobs, commands with answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ObjectStoreConfig
from nats.js.errors import NotFoundError

from lutlab_events import codec, ids, subjects
from lutlab_events.commands import ReportProgrammed
from lutlab_events.envelope import Answer
from lutlab_transport.blobs import BLOB_BYTES_MAX, CHUNK_BYTES, ORPHAN_S, BlobMissing, BlobStore
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient, CommandNotTaken, CommandUnanswered
from lutlab_transport.connection import connect, settled
from lutlab_transport.room import NoRoom
from lutlab_transport.streams import ensure_streams, stream_config

TINY_BYTES = 100_000
BODY = ReportProgrammed(fpga_id=1, epoch=2)


@pytest.fixture
async def nc(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url, name="test")
    await ensure_streams(client.jetstream())
    yield client
    await client.close()


@pytest.fixture
async def commands(nc: Client) -> CommandClient:
    client = CommandClient(nc, site="main", actor="test", clock=SystemClock(), ids=RandomIds())
    await client.start()
    return client


async def test_settled_means_that_the_server_knows_of_a_subscription(nats_url: str) -> None:
    sent = bytearray()
    ended = asyncio.Event()
    port = urlsplit(nats_url).port

    async def forward(client: StreamReader, client_out: StreamWriter) -> None:
        server, server_out = await asyncio.open_connection("127.0.0.1", port)

        async def pipe(source: StreamReader, to: StreamWriter, record: bytearray) -> None:
            while data := await source.read(65536):
                record += data
                to.write(data)
            to.close()

        await asyncio.gather(pipe(client, server_out, sent), pipe(server, client_out, bytearray()))
        await asyncio.gather(client_out.wait_closed(), server_out.wait_closed())
        ended.set()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        through = proxy.sockets[0].getsockname()[1]
        client = await connect(nats_url.replace(f":{port}", f":{through}"), name="test")
        await client.subscribe("some.subject")
        await settled(client)
        assert b"SUB some.subject" in sent
        assert sent.rindex(b"PING") > sent.index(b"SUB some.subject"), "the answer was to a PING ahead of it"
        await client.close()
        await asyncio.wait_for(ended.wait(), 5)  # or its sockets outlive the loop


async def test_streams_are_created_once(nc: Client) -> None:
    assert await ensure_streams(nc.jetstream()) == []


async def test_wiped_streams_are_noticed(nc: Client) -> None:
    await nc.jetstream().delete_stream("WORK")
    assert await ensure_streams(nc.jetstream()) == ["WORK"]


async def test_blobs_are_named_by_their_content(nc: Client) -> None:
    store = BlobStore(nc.jetstream())
    data = os.urandom(1_500_000)
    name = await store.put(data)
    assert name == ids.digest(data)
    assert await store.put(data) == name
    assert await store.get(name) == data


async def test_a_missing_blob_is_named(nc: Client) -> None:
    with pytest.raises(BlobMissing, match="0" * 64):
        await BlobStore(nc.jetstream()).get("0" * 64)


async def test_an_empty_blob_survives(nc: Client) -> None:
    store = BlobStore(nc.jetstream())
    assert await store.get(await store.put(b"")) == b""


async def test_a_blob_over_the_limit_is_refused(nc: Client) -> None:
    with pytest.raises(ValueError, match=str(BLOB_BYTES_MAX)):
        await BlobStore(nc.jetstream()).put(bytes(BLOB_BYTES_MAX + 1))


async def test_a_request_gets_the_answer_to_its_command(nc: Client, commands: CommandClient) -> None:
    async def scheduler(message: Msg) -> None:
        envelope = codec.decode_command(message.data)
        assert envelope.reply_to is not None
        await nc.publish(envelope.reply_to, codec.encode(Answer(command_id=envelope.command_id, code="ok")))

    await nc.subscribe("cmd.main.ReportProgrammed", cb=scheduler)
    answers = await asyncio.gather(*[commands.request(BODY, timeout_s=5) for _ in range(20)])
    assert all(a.accepted for a in answers)
    assert len({a.command_id for a in answers}) == 20


async def test_no_answer_is_told_and_forgotten(commands: CommandClient) -> None:
    with pytest.raises(CommandUnanswered, match=r"0\.2 s"):
        await commands.request(BODY, timeout_s=0.2)


async def test_a_sent_command_is_in_the_stream(nc: Client, commands: CommandClient) -> None:
    before = (await nc.jetstream().stream_info("COMMANDS")).state.messages
    command_id = await commands.send(BODY)
    info = await nc.jetstream().stream_info("COMMANDS")
    assert info.state.messages == before + 1
    stored = await nc.jetstream().get_msg("COMMANDS", info.state.last_seq)
    assert stored.data is not None
    assert codec.decode_command(stored.data).command_id == command_id
    assert stored.subject == subjects.command("main", "ReportProgrammed")


async def test_sending_waits_for_a_stream_that_is_not_there_yet(nc: Client, commands: CommandClient) -> None:
    await nc.jetstream().delete_stream("COMMANDS")
    sending = asyncio.create_task(commands.send(BODY))
    while not sending.done():
        await ensure_streams(nc.jetstream())
        await asyncio.sleep(0.05)
    await sending
    assert (await nc.jetstream().stream_info("COMMANDS")).state.messages == 1


async def test_a_stream_made_again_begins_where_it_is_told(nc: Client, commands: CommandClient) -> None:
    await nc.jetstream().delete_stream("COMMANDS")
    assert await ensure_streams(nc.jetstream(), first_seq=7 << 40) == ["COMMANDS"]
    await commands.send(BODY)
    assert (await nc.jetstream().stream_info("COMMANDS")).state.last_seq == 7 << 40
    assert await ensure_streams(nc.jetstream(), first_seq=8 << 40) == []


async def test_a_late_answer_is_not_taken_for_that_of_the_next_request(nc: Client, commands: CommandClient) -> None:
    ident, asked = UUID(int=5), asyncio.Queue[str]()

    async def scheduler(message: Msg) -> None:
        asked.put_nowait(codec.decode_command(message.data).reply_to or "")

    await nc.subscribe("cmd.main.ReportProgrammed", cb=scheduler)
    with pytest.raises(CommandUnanswered):
        await commands.request(BODY, timeout_s=0.2, command_id=ident)
    second = asyncio.create_task(commands.request(BODY, timeout_s=5, command_id=ident))
    late, own = await asked.get(), await asked.get()
    await nc.publish(late, codec.encode(Answer(command_id=ident, code="ok")))
    await nc.publish(own, codec.encode(Answer(command_id=ident, code="idempotency_mismatch")))
    assert (await second).code == "idempotency_mismatch"


async def test_a_full_store_is_cleared_of_what_is_not_needed(nc: Client) -> None:
    store = BlobStore(nc.jetstream())
    needed, spare = os.urandom(700_000), os.urandom(600_000)
    for data in (needed, spare):
        await store.put(data)
    assert await store.stored_bytes() > 1_000_000
    assert {ids.digest(needed), ids.digest(spare)} <= {blob.digest for blob in await store.listed()}
    await store.delete(ids.digest(spare))
    assert await store.exists(ids.digest(needed)) and not await store.exists(ids.digest(spare))
    with pytest.raises(BlobMissing):
        await store.get(ids.digest(spare))
    await store.put(spare)
    assert await store.get(ids.digest(spare)) == spare


async def test_what_a_put_left_that_was_cut_off_is_found_and_purged(nc: Client) -> None:
    js, passed = nc.jetstream(), 0.0
    store = BlobStore(js, elapsed=lambda: passed)
    whole, cut = os.urandom(600_000), os.urandom(3_000_000)
    await store.put(whole)
    before = await store.stored_bytes()
    putting = asyncio.create_task(BlobStore(js).put(cut))
    while await store.stored_bytes() < before + CHUNK_BYTES:
        pass
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    assert not await store.exists(ids.digest(cut)), "the record comes last"
    assert ids.digest(cut) not in {blob.digest for blob in await store.listed()}
    passed = ORPHAN_S - 1
    await store.listed()
    assert await store.stored_bytes() > before, "another put may be at it"
    passed = ORPHAN_S
    await store.listed()
    assert await store.stored_bytes() == before
    assert await store.get(ids.digest(whole)) == whole


async def test_a_full_bucket_refuses_by_name_and_can_be_emptied(nats_url: str) -> None:
    """nats-py's own way to delete needs room itself, and destroys what it does not delete."""
    client = await connect(nats_url, name="test")
    js = client.jetstream()
    with contextlib.suppress(NotFoundError):
        await js.delete_object_store(subjects.BLOB_BUCKET)
    await js.create_object_store(subjects.BLOB_BUCKET, ObjectStoreConfig(max_bytes=TINY_BYTES))
    store = BlobStore(js)
    try:
        kept = [await store.put(os.urandom(30_000)) for _ in range(3)]
        with pytest.raises(NoRoom, match="30000 bytes"):
            await store.put(os.urandom(30_000))
        # Fill what is left, to the byte almost.
        with pytest.raises(NoRoom):
            while True:
                await store.put(os.urandom(100))
        assert len(await store.get(kept[2])) == 30_000
        before = await store.stored_bytes()
        await store.delete(kept[0])
        assert not await store.exists(kept[0])
        assert before - await store.stored_bytes() > 30_000, "nothing is left of it"
        for blob in await store.listed():
            if blob.digest != kept[1]:
                await store.delete(blob.digest)
        before_put = SystemClock().now()
        name = await store.put(os.urandom(30_000))
        found = {blob.digest: blob for blob in await store.listed()}
        assert (found.keys(), found[name].size_bytes) == ({name, kept[1]}, 30_000)
        assert found[kept[1]].put_at < before_put <= found[name].put_at
        assert len(await store.get(kept[1])) == 30_000 and not await store.exists(kept[2])
    finally:
        await js.delete_object_store(subjects.BLOB_BUCKET)
        await ensure_streams(js)
        await client.close()


async def fire(commands: CommandClient) -> None:
    """Publish a command that nobody answers. Raises: CommandNotTaken."""
    try:
        await commands.request(BODY, timeout_s=0.05)
    except CommandNotTaken:
        raise
    except CommandUnanswered:
        return


async def test_a_command_that_nats_has_no_room_for_is_not_taken(nc: Client, commands: CommandClient) -> None:
    js = nc.jetstream()
    config = stream_config(subjects.COMMANDS)
    await js.purge_stream("COMMANDS")
    config.max_bytes = 1000
    await js.update_stream(config)
    try:
        with pytest.raises(CommandNotTaken, match="COMMANDS is full"):
            while True:
                await fire(commands)
        sending = asyncio.create_task(commands.send(BODY))
        await asyncio.sleep(0.2)
        assert not sending.done(), "reports wait for room"
        await js.purge_stream("COMMANDS")
        await asyncio.wait_for(sending, 5)
    finally:
        await ensure_streams(js)
        await js.purge_stream("COMMANDS")
