"""The NATS adapters against a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_api.adapters.messaging import NatsBus, NatsMessaging
from lutlab_api.app.ports import MessagingHealth
from lutlab_api.domain.errors import BoardFailure, Unavailable
from lutlab_events import codec, subjects
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb, Lease
from lutlab_events.commands import RevokeKey
from lutlab_events.envelope import Answer
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.connection import settled
from lutlab_transport.streams import ensure_streams, stream_config
from pulling import pull_consumer

SITE = "bench"
LEASE = Lease(fpga_id=3, session_id=UUID(int=7), epoch=2)
EXCHANGE = BusHeaders(verb=BusVerb.EXCHANGE, lease=LEASE, stream_id="s")


@asynccontextmanager
async def messaging(url: str) -> AsyncIterator[NatsMessaging]:
    link = NatsMessaging(url, site=SITE, clock=SystemClock(), ids=RandomIds())
    await link.start()
    try:
        async with asyncio.timeout(20):
            while not link.connected():  # noqa: ASYNC110 - the link has no event for it
                await asyncio.sleep(0.005)
        yield link
    finally:
        await link.stop()


@pytest.fixture
async def link(nats_url: str) -> AsyncIterator[NatsMessaging]:
    async with messaging(nats_url) as link:
        yield link


@pytest.fixture
async def other(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    yield client
    await client.close()


async def ask(link: NatsMessaging, timeout_s: float = 5) -> Answer:
    return await link.request(
        RevokeKey(key_id=UUID(int=1)),
        command_id=uuid4(),
        actor="ada",
        correlation_id=UUID(int=2),
        fingerprint="f",
        timeout_s=timeout_s,
    )


async def test_a_scheduler_answers(link: NatsMessaging, other: Client) -> None:
    js = other.jetstream()
    await ensure_streams(js)
    pull = await pull_consumer(
        js, stream="COMMANDS", durable=subjects.SCHEDULER_DURABLE, subject="cmd.>", ack_wait_s=10, max_ack_pending=64
    )
    health = await link.health()
    assert (health.nats, health.scheduler) == (True, False)
    with pytest.raises(Unavailable, match="may still be carried out"):
        await ask(link, timeout_s=0.2)
    async with asyncio.timeout(20):  # it was sent, but perhaps not stored before the answer was given up
        while (await link.health()).commands_waiting != 1:
            pass

    async def scheduler() -> None:
        while True:
            try:
                messages = await pull.fetch(1, timeout=1)
            except TimeoutError:
                continue
            command = codec.decode_command(messages[0].data)
            assert (command.site, command.actor, command.correlation_id) == (SITE, "ada", UUID(int=2))
            assert command.reply_to is not None
            await other.publish(
                command.reply_to, codec.encode(Answer(command_id=command.command_id, code="ok", data={"n": 1}))
            )
            await messages[0].ack()

    task = asyncio.create_task(scheduler())
    try:
        answer = await ask(link)
        assert (answer.code, answer.data) == ("ok", {"n": 1})
        answers = await asyncio.gather(*(ask(link) for _ in range(20)))
        assert len({a.command_id for a in answers}) == 20
        async with asyncio.timeout(20):  # the last acknowledgement is on its way, and the next fetch too
            while (health := await link.health()) != MessagingHealth(nats=True, scheduler=True, commands_waiting=0):
                assert health.nats
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_bus_requests_carry_the_lease_and_keep_their_order(link: NatsMessaging, other: Client) -> None:
    arrived: list[bytes] = []

    async def agent(message: Msg) -> None:
        headers = BusHeaders.from_headers(message.headers)
        assert headers == EXCHANGE
        arrived.append(message.data)
        reply = BusReply(status=BusStatus.OK, message="fine", frame=message.data)
        await other.publish(message.reply, reply.frame, headers=reply.to_headers())

    await other.subscribe(subjects.bus(SITE, "agent-1"), cb=agent)
    await settled(other)
    bus = NatsBus(link, site=SITE)
    frames = [n.to_bytes(4, "big") for n in range(500)]
    replies = await asyncio.gather(*(bus.request("agent-1", EXCHANGE, frame, 30) for frame in frames))
    assert [r.frame for r in replies] == frames
    assert arrived == frames
    assert {(r.status, r.message) for r in replies} == {(BusStatus.OK, "fine")}


async def test_agents_that_do_not_answer(link: NatsMessaging, other: Client) -> None:
    bus = NatsBus(link, site=SITE)
    with pytest.raises(BoardFailure) as nobody:
        await bus.request("agent-9", EXCHANGE, b"", 5)
    assert nobody.value.code == "board_unreachable"

    async def silent(message: Msg) -> None:
        return

    async def odd(message: Msg) -> None:
        await message.respond(b"?")

    await other.subscribe(subjects.bus(SITE, "silent"), cb=silent)
    await other.subscribe(subjects.bus(SITE, "odd"), cb=odd)
    await settled(other)
    with pytest.raises(BoardFailure) as timed_out:
        await bus.request("silent", EXCHANGE, b"", 0.1)
    assert timed_out.value.code == "board_timeout"
    with pytest.raises(BoardFailure) as nonsense:
        await bus.request("odd", EXCHANGE, b"", 5)
    assert nonsense.value.code == "board_link_failed"


async def test_without_a_server() -> None:
    link = NatsMessaging("nats://127.0.0.1:9", site=SITE, clock=SystemClock(), ids=RandomIds())
    await link.start()
    with pytest.raises(Unavailable, match="nothing was done"):
        await ask(link)
    health = await link.health()
    assert (health.nats, health.scheduler) == (False, False)
    with pytest.raises(BoardFailure) as down:
        await NatsBus(link, site=SITE).request("agent-1", EXCHANGE, b"", 1)
    assert down.value.code == "board_unreachable"
    await link.stop()


async def test_a_command_without_room_is_refused_at_once_and_nothing_was_done(
    link: NatsMessaging, other: Client
) -> None:
    js = other.jetstream()
    await ensure_streams(js)
    await js.purge_stream("COMMANDS")
    config = stream_config(subjects.COMMANDS)
    config.max_bytes = 500
    await js.update_stream(config)
    try:
        with pytest.raises(Unavailable, match="no room for more commands; nothing was done"):
            for _ in range(5):
                with contextlib.suppress(Unavailable):
                    await ask(link, 0.05)
            await ask(link, 60)
    finally:
        await ensure_streams(js)
        await js.purge_stream("COMMANDS")
