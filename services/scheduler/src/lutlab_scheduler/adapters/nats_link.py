"""Everything that needs NATS, for as long as NATS is there; started over whenever it was away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from lutlab_events import codec, subjects
from lutlab_events.envelope import EventEnvelope
from lutlab_events.work import RegistrationWanted
from lutlab_scheduler.adapters.nats_bus import NatsBus, translated
from lutlab_scheduler.adapters.nats_commands import CommandConsumer
from lutlab_scheduler.adapters.nats_letters import keep_letters, replay_letters
from lutlab_scheduler.adapters.nats_logs import consume_logs
from lutlab_scheduler.adapters.nats_queries import answer_queries
from lutlab_scheduler.adapters.nats_sync import check_sync
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.dispatch import Dispatcher
from lutlab_scheduler.app.leases import Leases, agrees
from lutlab_scheduler.app.logs import LogIngest
from lutlab_scheduler.app.ports import BusUnavailable, History, Letters, Positions, first_reason
from lutlab_scheduler.app.postponed import Postponed
from lutlab_scheduler.app.readers import follow_log
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.world import World
from lutlab_transport import tracing
from lutlab_transport.streams import ensure_streams

log = structlog.get_logger(__name__)

RETRY_WAITS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
STREAM_CHECK_S = 2.0
HEARTBEATS = "hb.*.agent.*"
RELAY, DISPATCH, OWED = "relay", "dispatch", "dispatch-all-owed"
POSTPONED = "dispatch-postponed"
"""Whether work waits for room that the dispatcher has read past."""
GENERATION = "nats-generation"
GENERATION_BITS = 40
"""Streams made in generation n begin at sequence n << 40, so that no acknowledgement of an earlier one fits them. Not
even a crash of Postgres may give a generation twice."""


@dataclass(slots=True, kw_only=True)
class NatsLink:
    """The scheduler's side of NATS during one term of leadership.

    Attributes:
        postponed: what NATS had no room for.
        reconnected: set by the client's callback after each reconnection.
        replicas: copies of each stream.
        monitor_url, allow_unsafe_sync: see `check_sync`.
    """

    nc: Client
    bus: NatsBus
    commands: CommandConsumer
    ingest: LogIngest
    dispatcher: Dispatcher
    carrier: Carrier
    leases: Leases
    positions: Positions
    tail: Tail
    world: World
    letters: Letters
    history: History
    reconnected: asyncio.Event
    postponed: Postponed
    replicas: int = 1
    monitor_url: str = ""
    allow_unsafe_sync: bool = False

    async def run(self) -> None:
        """Keep the link up until cancelled. Raises what is not NATS' fault, e.g. StoreUnavailable."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                # In a task of its own: before Python 3.13 a task group leaves its task marked as being cancelled.
                await asyncio.create_task(self._once())
            except* BusUnavailable as group:
                attempt = 0 if loop.time() - began > RETRY_WAITS_S[-1] else attempt + 1
                wait_s = RETRY_WAITS_S[min(attempt, len(RETRY_WAITS_S) - 1)]
                log.warning("nats_link_lost", reason=first_reason(group), retry_in_s=wait_s)
            finally:
                self.leases.deafen()
            await asyncio.sleep(wait_s)

    async def _once(self) -> None:
        """Declare the streams, send what is owed, then do everything at once until something fails."""
        self.reconnected.clear()
        await check_sync(self.monitor_url, allow_unsafe=self.allow_unsafe_sync)
        await self._declare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._hear())
            tasks.create_task(self.commands.run())
            tasks.create_task(consume_logs(self.nc, self.letters, self.ingest))
            tasks.create_task(keep_letters(self.nc, self.letters))
            tasks.create_task(replay_letters(self.nc, self.letters))
            tasks.create_task(answer_queries(self.nc, self.history))
            tasks.create_task(follow_log(RELAY, self.tail, self.positions, self.bus.publish_event))
            tasks.create_task(self._dispatch())
            tasks.create_task(self.postponed.run())
            tasks.create_task(self.dispatcher.run())
            log.info("nats_link_up")

    async def _declare(self) -> None:
        """Make sure all streams exist; if work or blobs were lost, note that everything must be sent again."""
        if await self._missing():
            self.carrier.forget()
            # Noted before the streams are made: a crash in between must not make us forget what we owe.
            await self.positions.keep(OWED, 1)
        generation = await self.positions.get(GENERATION) + 1
        await self.positions.keep(GENERATION, generation)
        first_seq = generation << GENERATION_BITS
        with translated():
            created = await ensure_streams(self.nc.jetstream(), replicas=self.replicas, first_seq=first_seq)
        if created:
            log.warning("streams_created", streams=created)

    async def _missing(self) -> bool:
        """Whether the stream of work items or the blobs are gone."""
        js = self.nc.jetstream()
        with translated():
            try:
                await js.stream_info(subjects.WORK.name)
                await js.stream_info(f"OBJ_{subjects.BLOB_BUCKET}")
            except NotFoundError:
                return True
        return False

    async def _dispatch(self) -> None:
        # What waits in this process waits on; of what waited in another only the log knows.
        was_postponed = not self.postponed.waiting and await self.positions.get(POSTPONED)
        if await self.positions.get(OWED) or was_postponed:
            count = await self.dispatcher.send_all()
            await self.positions.set(OWED, 0)
            await self.postponed.settle()
            log.info("work_sent_again", count=count)
        else:
            await self.dispatcher.line_up()
        await follow_log(DISPATCH, self.tail, self.positions, self._on_event)

    async def _on_event(self, envelope: EventEnvelope) -> None:
        with tracing.under(envelope.correlation_id, envelope.causation_id):
            await self.dispatcher.on_event(envelope)

    async def _watch(self) -> None:
        """Wait until NATS was away or a stream is gone. Raises: BusUnavailable, always."""
        js = self.nc.jetstream()
        while True:
            try:
                async with asyncio.timeout(STREAM_CHECK_S):
                    await self.reconnected.wait()
                raise BusUnavailable("the connection to NATS was lost and is back; streams may have changed")
            except TimeoutError:
                pass
            with translated():
                for spec in subjects.STREAMS:
                    await js.stream_info(spec.name)

    async def _hear(self) -> None:
        """Listen to heartbeats until cancelled."""
        with translated():
            subscription = await self.nc.subscribe(HEARTBEATS, cb=self._heard)
        self.leases.listen()
        try:
            await asyncio.Event().wait()
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def _heard(self, message: Msg) -> None:
        try:
            beat = codec.decode_heartbeat(message.data)
            site = message.subject.split(".")[1]
            agent = self.world.agent(beat.agent_id)
            keys = {*(beat.boards or ()), *(agent.board_keys if agent else ())}
            agreed = agrees(beat, agent, (self.world.board_by_key(site, key) for key in keys))
            if self.leases.heard(beat, agent, agrees=agreed):
                subject = subjects.agent_control(site, beat.agent_id)
                await self.bus.control(subject, RegistrationWanted(agent_id=beat.agent_id))
        except (codec.Undecodable, subjects.InvalidToken, BusUnavailable) as error:
            log.warning("heartbeat_ignored", subject=message.subject, reason=str(error))
