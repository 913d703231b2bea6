"""NATS as the agent uses it: bitstreams in, bus requests answered, heartbeats out, control messages in."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from uuid import UUID

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import Error as JetStreamError

from lutlab_board_agent.app.register import Registration
from lutlab_board_agent.app.serve_bus import BusService
from lutlab_events import codec, subjects
from lutlab_events.busmsg import PLAIN_BYTES_MAX, BusReply, KeyAnswer
from lutlab_events.work import AgentHeartbeat, RegistrationWanted
from lutlab_transport import tracing
from lutlab_transport.blobs import BlobCorrupt, BlobMissing, BlobStore

log = structlog.get_logger(__name__)

HEARTBEAT_S = 2.0
BLOB_TIMEOUT_S = 30.0
KEY_TIMEOUT_S = 2.0
REGISTER_GAP_S = 1.0
"""The scheduler may ask several times before the first registration reached it; one answer is enough."""
OTHERS_MAX = 64
TWIN_BEATS = 2
"""One may be the last word of the process before this one."""
TWIN_GAP_S = 60.0
"""The same beside another agent of this name: asked in turn, for ever, each answer would be an event in the ledger."""
TWIN_SILENT_S = 3 * HEARTBEAT_S
"""A twin that was not heard for so long is gone."""


class NatsBitstreams:
    """Port `Bitstreams` over NATS' object store."""

    def __init__(self, nc: Client) -> None:
        self._store = BlobStore(nc.jetstream())

    async def get(self, digest: str) -> bytes | None:
        """The bitstream, verified; None if it is not there or cannot be had now."""
        try:
            async with asyncio.timeout(BLOB_TIMEOUT_S):
                return await self._store.get(digest)
        except BlobMissing:
            return None
        except (BlobCorrupt, TimeoutError, nats.errors.Error, JetStreamError, OSError) as error:
            log.warning("bitstream_unavailable", digest=digest, error=repr(error))
            return None


class NatsKeys:
    """Port `Keys`: asks an API of the lab."""

    def __init__(self, nc: Client, *, site: str) -> None:
        self._nc = nc
        self._subject = subjects.key_question(site)

    async def refusal(self, key: str) -> str | None:
        """Why a key is no longer good; None while it is, or while no API answers."""
        try:
            answer = await self._nc.request(self._subject, key.encode(), timeout=KEY_TIMEOUT_S)
            return msgspec.json.decode(answer.data, type=KeyAnswer).refused or None
        except (nats.errors.Error, OSError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("key_not_asked_for", reason=repr(error))
            return None


class BusServer:
    """Answers bus requests on the agent's subject."""

    def __init__(self, nc: Client, service: BusService, *, site: str, agent_id: str) -> None:
        self._nc = nc
        self._service = service
        self._subject = subjects.bus(site, agent_id)
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe; the client subscribes again by itself after a reconnect."""
        self._subscription = await self._nc.subscribe(self._subject, cb=self._on_request)

    async def stop(self) -> None:
        """Take no more requests; whoever asks now learns at once that nobody answers."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def _on_request(self, message: Msg) -> None:
        answered = tracing.begin("bus exchange", "server", message.headers)

        async def answer(reply: BusReply) -> None:
            answered()
            if not message.reply:
                return
            headers, payload = reply.to_headers(), reply.frame
            if len(payload) > PLAIN_BYTES_MAX:  # deflating takes a while, in which other boards would wait
                headers, payload = await asyncio.to_thread(reply.to_message, self._nc.max_payload)
            try:
                await self._nc.publish(message.reply, payload, headers=headers)
            except nats.errors.Error as error:
                # Whoever asked has a time limit of its own.
                log.warning("bus_answer_lost", error=repr(error))

        try:
            await self._service.handle(message.headers, message.data, answer)
        except Exception:
            log.exception("bus_request_failed")


class Heartbeats:
    """Says that the agent lives, and registers again when asked."""

    def __init__(self, nc: Client, registration: Registration, *, site: str, agent_id: str, incarnation: UUID) -> None:
        self._nc = nc
        self._registration = registration
        self._wanted = asyncio.Event()
        self._control = subjects.agent_control(site, agent_id)
        self._subject = subjects.heartbeat(site, agent_id)
        self._beat = AgentHeartbeat(agent_id=agent_id, incarnation=incarnation)
        self._others: Counter[UUID] = Counter()
        self._twin_heard_s = -math.inf

    async def start(self) -> None:
        """Listen for the scheduler's wish to hear the registration again, and for a twin."""
        await self._nc.subscribe(self._control, cb=self._on_control)
        await self._nc.subscribe(self._subject, cb=self._on_beat)

    async def _on_beat(self, message: Msg) -> None:
        """Two agents of one name take each other's work, and their boards are lost and found in turn."""
        with contextlib.suppress(codec.Undecodable):
            heard = codec.decode_heartbeat(message.data)
            if heard.incarnation == self._beat.incarnation:
                return
            if len(self._others) >= OTHERS_MAX:
                self._others.clear()
            self._others[heard.incarnation] += 1
            beats = self._others[heard.incarnation]
            if beats < TWIN_BEATS:
                return
            self._twin_heard_s = asyncio.get_running_loop().time()
            if beats == TWIN_BEATS:
                hint = "another agent runs under this name; give one of them another LUTLAB_AGENT_ID"
                log.error("agent_name_taken", agent_id=heard.agent_id, incarnation=str(heard.incarnation), hint=hint)

    async def _on_control(self, message: Msg) -> None:
        try:
            wish = codec.decode_control(message.data)
        except codec.Undecodable as error:
            log.warning("control_undecodable", error=str(error))
            return
        if isinstance(wish, RegistrationWanted):
            self._wanted.set()

    async def beat(self) -> None:
        """Heartbeats for ever."""
        while True:
            try:
                beat = msgspec.structs.replace(self._beat, boards=self._registration.attached())
                await self._nc.publish(self._subject, codec.encode(beat))
            except nats.errors.Error as error:
                log.warning("heartbeat_lost", error=repr(error))
            await asyncio.sleep(HEARTBEAT_S)

    async def register_when_wanted(self) -> None:
        """Answers wishes for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._registration.register()
            has_twin = asyncio.get_running_loop().time() - self._twin_heard_s < TWIN_SILENT_S
            await asyncio.sleep(TWIN_GAP_S if has_twin else REGISTER_GAP_S)
