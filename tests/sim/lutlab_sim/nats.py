"""NATS in memory, the client's side: it speaks to the services' own adapters, in place of nats-py's `Client`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from lutlab_events.subjects import STREAMS
from lutlab_sim.loop import EPOCH, Process
from lutlab_sim.nats_server import Consumer, SimServer, Stream, matches

API_TIMEOUT_S = 5.0
FILLED = ("cmd.", "work.", "log.")
"""Subjects of the streams that refuse what they have no room for."""
OUTBOX_MAX = 1000


class SimClient:
    """What the services use of `nats.aio.client.Client`."""

    def __init__(self, server: SimServer, process: Process, reconnected: Callable[[], None] | None = None) -> None:
        self._server = server
        self._process = process
        self._reconnected = reconnected
        self._subscriptions: dict[int, tuple[str, Callable[[Msg], Awaitable[None]]]] = {}
        self._next_sid = 0
        self._inboxes = 0
        self._outbox: list[tuple[str, bytes, str, dict[str, str] | None]] = []
        self._serial: dict[int, asyncio.Queue[Msg]] = {}
        self.parted = False
        self.is_closed = False
        server.clients.append(self)

    @property
    def reachable(self) -> bool:
        """Messages pass between this client and the server."""
        return self._process.alive and self._server.up and not self.parted and not self.is_closed

    def part(self) -> None:
        """Cut it off."""
        self.parted = True

    def heal(self) -> None:
        """Let it be reached again."""
        self.parted = False
        self.connected()

    def disconnected(self) -> None:
        """The server went away."""

    def connected(self) -> None:
        """The connection is back: what was published meanwhile is sent now."""
        if not self.reachable:
            return
        waiting, self._outbox = self._outbox, []
        for item in waiting:
            self._send(*item)
        if self._reconnected is not None:
            self._reconnected()

    # -- from the server --------------------------------------------------------------------------

    def listens(self, subject: str) -> bool:
        """Whether a subscription covers the subject."""
        return any(matches(pattern, subject) for pattern, _ in self._subscriptions.values())

    def hear(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> bool:
        """A core message; True if somebody here listens."""
        if not self.reachable or not self.listens(subject):
            return False
        self._server.carry(lambda: self.arrive(subject, subject, data, reply, headers))
        return True

    def arrive(self, to: str, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        """A message has reached this client on the subscription that covers `to`."""
        if not self.reachable:
            return
        for sid, (pattern, _) in list(self._subscriptions.items()):
            if matches(pattern, to):
                message = Msg(_client=self, subject=subject, reply=reply, data=data, headers=headers)
                self._serial[sid].put_nowait(message)

    async def _call(self, sid: int, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """One message of a subscription after another, as nats-py does."""
        queue = self._serial[sid]
        while sid in self._subscriptions:
            await callback(await queue.get())

    # -- what the services call -------------------------------------------------------------------

    def _send(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        def arrive() -> None:
            if self.reachable:
                self._server.publish(subject, data, reply, headers)

        self._server.carry(arrive, subject=subject)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if not self._process.alive:
            return
        if self.reachable:
            self._send(subject, payload, reply, headers)
        elif len(self._outbox) < OUTBOX_MAX:
            self._outbox.append((subject, payload, reply, headers))

    async def subscribe(self, subject: str, cb: Callable[[Msg], Awaitable[None]], **_: Any) -> Any:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        sid = self._next_sid
        self._next_sid += 1
        self._subscriptions[sid] = (subject, cb)
        self._serial[sid] = asyncio.Queue()
        task = asyncio.ensure_future(self._call(sid, cb))

        async def unsubscribe() -> None:
            self._subscriptions.pop(sid, None)
            task.cancel()

        return SimpleNamespace(unsubscribe=unsubscribe)

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"_INBOX.{self._process.name}.{self._server.clients.index(self)}.{self._inboxes}"

    async def request(self, subject: str, payload: bytes, timeout: float, headers: dict[str, str] | None = None) -> Msg:
        inbox = self.new_inbox()
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        async def answered(message: Msg) -> None:
            if not future.done():
                future.set_result(message)

        subscription = await self.subscribe(inbox, answered)
        try:
            await self.publish(subject, payload, inbox, headers)
            async with asyncio.timeout(timeout):
                message = await future
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        finally:
            await subscription.unsubscribe()
        if not message.data and (message.headers or {}).get("Status") == "503":
            raise nats.errors.NoRespondersError
        return message

    async def flush(self, timeout: float = 10) -> None:
        pass

    async def close(self) -> None:
        self.is_closed = True
        self._subscriptions.clear()

    def jetstream(self, **_: Any) -> SimJetStream:
        return SimJetStream(self, self._server)


class SimJetStream:
    """What the services use of `nats.js.JetStreamContext`."""

    def __init__(self, client: SimClient, server: SimServer) -> None:
        self._client = client
        self._server = server

    async def _round_trip(self) -> None:
        """A request to the server's API, before it is carried out; it may go unanswered."""
        server, client = self._server, self._client
        if client.is_closed:
            raise nats.errors.ConnectionClosedError
        await asyncio.sleep(server.weather.latency_s * (0.4 + server.rng.random()))
        if not client.reachable or server.rng.random() < server.weather.drop:
            await asyncio.sleep(API_TIMEOUT_S)
            raise nats.errors.TimeoutError

    def _stream(self, name: str) -> Stream:
        if name not in self._server.streams:
            raise nats.js.errors.NotFoundError
        return self._server.streams[name]

    async def publish(
        self, subject: str, payload: bytes, timeout: float = 5.0, headers: dict[str, str] | None = None
    ) -> Any:
        if self._server.full and subject.startswith(FILLED):
            await self._refused()
        try:
            message = await self._client.request(subject, payload, timeout, headers)
        except nats.errors.NoRespondersError:
            raise nats.js.errors.NoStreamResponseError from None
        return json.loads(message.data)

    async def _refused(self) -> None:
        """What the server says when there is no room. Raises: APIError, always."""
        await self._round_trip()
        raise nats.js.errors.APIError(code=503, err_code=10077, description="maximum bytes exceeded")

    async def stream_info(self, name: str, subjects_filter: str | None = None) -> Any:
        await self._round_trip()
        if name.startswith("OBJ_"):
            if name[4:] not in self._server.buckets:
                raise nats.js.errors.NotFoundError
            stored = sum(map(len, self._server.buckets[name[4:]].values()))
            return SimpleNamespace(state=SimpleNamespace(bytes=stored, subjects=None))
        spec = next(s for s in STREAMS if s.name == self._stream(name).name)
        return SimpleNamespace(config=SimpleNamespace(name=name, subjects=list(spec.subjects)))

    async def update_stream(self, config: Any) -> None:
        await self._round_trip()
        self._stream(config.name)

    async def add_stream(self, config: Any) -> None:
        await self._round_trip()
        if config.name not in self._server.streams:
            work_queue = config.retention == "workqueue"
            stream = Stream(
                config.name,
                list(config.subjects),
                work_queue=work_queue,
                window_s=config.duplicate_window or 120,
                first_seq=config.first_seq or 1,
            )
            self._server.streams[config.name] = stream

    async def add_consumer(self, stream: str, config: Any) -> None:
        await self._round_trip()
        consumers = self._stream(stream).consumers
        if config.durable_name not in consumers:
            consumer = Consumer(config.durable_name, config.filter_subject, config.ack_wait)
            consumer.next_seq = next(iter(self._stream(stream).messages), self._stream(stream).last_seq + 1)
            consumers[config.durable_name] = consumer

    async def delete_consumer(self, stream: str, durable: str) -> None:
        """What it had not acknowledged is delivered again by the next consumer, which begins at the first message."""
        await self._round_trip()
        if self._stream(stream).consumers.pop(durable, None) is None:
            raise nats.js.errors.NotFoundError

    async def consumer_info(self, stream: str, durable: str) -> None:
        await self._round_trip()
        if durable not in self._stream(stream).consumers:
            raise nats.js.errors.NotFoundError

    async def create_object_store(self, bucket: str, config: Any = None) -> None:
        await self._round_trip()
        self._server.buckets.setdefault(bucket, {})

    async def object_store(self, bucket: str) -> SimBucket:
        await self._round_trip()
        if bucket not in self._server.buckets:
            raise nats.js.errors.NotFoundError
        return SimBucket(self, bucket)

    async def purge_stream(self, stream: str, subject: str) -> None:
        """Take away the record of an object, which is all that a bucket has of it here."""
        await self._round_trip()
        name = base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode()
        self.bucket(stream.removeprefix("OBJ_")).pop(name, None)

    def bucket(self, name: str) -> dict[str, bytes]:
        """The bucket's contents, for `SimBucket`. Raises: NotFoundError."""
        if name not in self._server.buckets:
            raise nats.js.errors.NotFoundError
        return self._server.buckets[name]


class SimBucket:
    """What the services use of an object store."""

    def __init__(self, js: SimJetStream, bucket: str) -> None:
        self._js = js
        self._bucket = bucket

    async def get_info(self, name: str) -> Any:
        await self._js._round_trip()
        if name not in self._js.bucket(self._bucket):
            raise nats.js.errors.ObjectNotFoundError
        return SimpleNamespace(nuid=None)

    async def get(self, name: str) -> Any:
        await self.get_info(name)
        return SimpleNamespace(data=self._js.bucket(self._bucket)[name])

    async def put(self, name: str, data: bytes, meta: Any = None) -> None:
        if self._js._server.full:
            await self._js._refused()
        await self._js._round_trip()
        self._js.bucket(self._bucket)[name] = data
        self._js._server.put_at_s[name] = asyncio.get_running_loop().time()

    async def list(self, ignore_deletes: bool = False) -> list[Any]:
        await self._js._round_trip()
        return [
            SimpleNamespace(name=name, nuid=name, size=len(data), mtime=(EPOCH + self._age(name)).isoformat())
            for name, data in self._js.bucket(self._bucket).items()
        ]

    def _age(self, name: str) -> timedelta:
        return timedelta(seconds=self._js._server.put_at_s[name])
