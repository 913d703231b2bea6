"""A NATS server in memory: core subjects, streams with deduplication, durable pull consumers; and its faults.

Messages take different times, so they overtake each other; a client that is cut off hears nothing and is told when it
is back.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

NANOS = 1_000_000_000
DETOUR_S = 6.0
"""How late a message of a subject in `SimServer.detours` may be: what it is about may be over by then."""
IDLE_HEARTBEAT = {"Status": "100", "Description": "Idle Heartbeat"}
TIMED_OUT = {"Status": "408", "Description": "Request Timeout"}
DELETED = {"Status": "409", "Description": "Consumer Deleted"}


@dataclass(slots=True)
class Weather:
    """How bad the network is: chances for each message, and times in seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    latency_s: float = 0.002
    slow_s: float = 3.0


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject falls under a subscription."""
    if pattern == subject:
        return True
    if "*" not in pattern and ">" not in pattern:
        return False
    want, have = pattern.split("."), subject.split(".")
    for index, part in enumerate(want):
        if part == ">":
            return len(have) > index
        if index >= len(have) or part not in {"*", have[index]}:
            return False
    return len(want) == len(have)


@dataclass(slots=True)
class Stored:
    """A message in a stream."""

    seq: int
    subject: str
    data: bytes
    headers: dict[str, str] | None


class Listener(Protocol):
    """A client, as the server sees it."""

    @property
    def reachable(self) -> bool:
        """Messages pass between this client and the server."""

    def disconnected(self) -> None:
        """The server went away."""

    def connected(self) -> None:
        """The connection is back."""

    def listens(self, subject: str) -> bool:
        """Whether a subscription covers the subject."""

    def hear(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> bool:
        """A core message; True if somebody here listens."""

    def arrive(self, to: str, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        """A message has reached this client on the subscription that covers `to`."""


@dataclass(slots=True)
class Request:
    """An open pull request."""

    client: Listener
    reply: str
    left: int
    expires_at: float
    heartbeat_s: float = 0.0


@dataclass(slots=True)
class Consumer:
    """A durable pull consumer."""

    name: str
    pattern: str
    ack_wait_s: float
    requests: deque[Request] = field(default_factory=deque)
    next_seq: int = 1
    again: deque[int] = field(default_factory=deque)
    pending: dict[int, tuple[float, int]] = field(default_factory=dict)
    delivered: dict[int, int] = field(default_factory=dict)
    deliveries: int = 0


class Stream:
    """Messages in order; a work queue forgets what was acknowledged."""

    def __init__(self, name: str, patterns: list[str], *, work_queue: bool, window_s: float, first_seq: int) -> None:
        self.name = name
        self.patterns = patterns
        self.work_queue = work_queue
        self.window_s = window_s
        self.messages: OrderedDict[int, Stored] = OrderedDict()
        self.last_seq = first_seq - 1
        self.seen: dict[str, tuple[int, float]] = {}
        self.consumers: dict[str, Consumer] = {}


class SimServer:
    """The server (or cluster) that all clients see."""

    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.rng = rng
        self.weather = weather
        self.detours: frozenset[str] = frozenset()
        self.swallowed: frozenset[str] = frozenset()
        self.up = True
        self.full = False
        self.streams: dict[str, Stream] = {}
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.put_at_s: dict[str, float] = {}
        self.clients: list[Listener] = []
        self.lost_events: set[str] = set()
        self.sent = 0
        self.dropped = 0
        self.stored: Callable[[str, bytes], None] = lambda subject, data: None
        self.acked: Callable[[Stored], None] = lambda stored: None
        self.routed: Callable[[str, bytes], None] = lambda subject, data: None
        self.mistaken: Callable[[Stored, Stored], None] = lambda before, now: None
        self._tokens: dict[tuple[str, str, int], Stored] = {}

    # -- the network ------------------------------------------------------------------------------

    def carry(self, action: Callable[[], None], *, faulty: bool = True, subject: str = "") -> None:
        """Let a message arrive some time later: perhaps never, twice, late."""
        detour = any(matches(pattern, subject) for pattern in self.detours)
        self.sent += 1
        rng, weather, loop = self.rng, self.weather, asyncio.get_running_loop()
        lost = faulty and rng.random() < weather.drop
        if lost or any(matches(pattern, subject) for pattern in self.swallowed):
            self.dropped += 1
            return
        copies = 2 if faulty and rng.random() < weather.duplicate else 1
        for _ in range(copies):
            delay_s = weather.latency_s * (0.2 + rng.random())
            if faulty and rng.random() < weather.slow:
                delay_s += weather.slow_s * rng.random()
            if detour:
                delay_s += DETOUR_S * rng.random()
            # In nobody's name: what was sent arrives, even if its sender is frozen by then.
            loop.call_later(delay_s, action, context=contextvars.Context())

    def publish(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        """A message has reached the server."""
        if not self.up:
            return
        if subject.startswith("$JS."):
            self._api(subject, data, reply)
            return
        for stream in self.streams.values():
            if any(matches(p, subject) for p in stream.patterns):
                self.stored(subject, data)
                answer = self._store(stream, subject, data, headers)
                if reply:
                    self.route(reply, json.dumps(answer).encode(), "", None)
                return
        self.route(subject, data, reply, headers)

    def route(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        """To every client that listens."""
        self.routed(subject, data)
        heard = False
        for client in self.clients:
            heard = client.hear(subject, data, reply, headers) or heard
        if not heard and reply:
            self.route(reply, b"", "", {"Status": "503"})

    # -- streams ----------------------------------------------------------------------------------

    def _store(self, stream: Stream, subject: str, data: bytes, headers: dict[str, str] | None) -> dict[str, Any]:
        now_s = asyncio.get_running_loop().time()
        ident = (headers or {}).get("Nats-Msg-Id")
        if ident is not None:
            known = stream.seen.get(ident)
            if known is not None and now_s - known[1] < stream.window_s:
                return {"stream": stream.name, "seq": known[0], "duplicate": True}
        stream.last_seq += 1
        stream.messages[stream.last_seq] = Stored(stream.last_seq, subject, data, headers)
        if ident is not None:
            stream.seen[ident] = (stream.last_seq, now_s)
        self.pump(stream)
        return {"stream": stream.name, "seq": stream.last_seq}

    def pump(self, stream: Stream) -> None:
        """Hand out what is there to whoever asked."""
        for consumer in stream.consumers.values():
            while consumer.requests:
                stored = self._next(stream, consumer)
                if stored is None:
                    break
                request = consumer.requests[0]
                request.left -= 1
                if request.left == 0:
                    consumer.requests.popleft()
                self._deliver(stream, consumer, stored, request)

    def _next(self, stream: Stream, consumer: Consumer) -> Stored | None:
        while consumer.again:
            stored = stream.messages.get(consumer.again.popleft())
            if stored is not None and stored.seq not in consumer.pending:
                return stored
        while consumer.next_seq <= stream.last_seq:
            stored = stream.messages.get(consumer.next_seq)
            consumer.next_seq += 1
            if stored is not None and matches(consumer.pattern, stored.subject):
                return stored
        return None

    def _deliver(self, stream: Stream, consumer: Consumer, stored: Stored, request: Request) -> None:
        now_s = asyncio.get_running_loop().time()
        count = consumer.delivered.get(stored.seq, 0) + 1
        consumer.delivered[stored.seq] = count
        consumer.deliveries += 1
        consumer.pending[stored.seq] = (now_s + consumer.ack_wait_s, count)
        # All that an acknowledgement says of its message; one on its way must never fit another.
        before = self._tokens.setdefault((stream.name, consumer.name, stored.seq), stored)
        if before is not stored:
            self.mistaken(before, stored)
        ack = f"$JS.ACK.{stream.name}.{consumer.name}.{count}.{stored.seq}.{consumer.deliveries}.{int(now_s * NANOS)}.0"
        client = request.client
        self.carry(lambda: client.arrive(request.reply, stored.subject, stored.data, ack, stored.headers))

    def _acked(self, subject: str, data: bytes) -> None:
        _, _, name, durable, count, seq, *_ = subject.split(".")
        stream = self.streams.get(name)
        consumer = stream.consumers.get(durable) if stream else None
        if stream is None or consumer is None or int(seq) not in consumer.pending:
            return
        number, now_s = int(seq), asyncio.get_running_loop().time()
        if data.startswith(b"-NAK"):
            if consumer.pending[number][1] != int(count):
                return
            wait_s = json.loads(data[5:])["delay"] / NANOS if len(data) > 5 else 0.0
            consumer.pending[number] = (now_s + wait_s, int(count))
            if not wait_s:
                self._sweep(stream, consumer, now_s)
        elif data == b"+WPI":
            consumer.pending[number] = (now_s + consumer.ack_wait_s, consumer.pending[number][1])
        else:
            del consumer.pending[number]
            if stream.work_queue and number in stream.messages:
                self.acked(stream.messages.pop(number))

    def _sweep(self, stream: Stream, consumer: Consumer, now_s: float) -> None:
        """Deliver again what was not acknowledged in time."""
        late = [seq for seq, (at_s, _) in consumer.pending.items() if at_s <= now_s]
        for seq in late:
            del consumer.pending[seq]
            consumer.again.append(seq)
        if late:
            self.pump(stream)

    def _api(self, subject: str, data: bytes, reply: str) -> None:
        if subject.startswith("$JS.ACK."):
            self._acked(subject, data)
            return
        name, durable = subject.split(".")[-2:]
        consumer = self.streams[name].consumers.get(durable) if name in self.streams else None
        client = next((c for c in self.clients if c.listens(reply)), None)
        if client is None:
            return
        if consumer is None:
            client.arrive(reply, reply, b"", "", DELETED)
            return
        body = json.loads(data)
        now_s = asyncio.get_running_loop().time()
        beat_s = body.get("idle_heartbeat", 0) / NANOS
        consumer.requests.append(Request(client, reply, body["batch"], now_s + body["expires"] / NANOS, beat_s))
        self.pump(self.streams[name])

    async def run(self) -> None:
        """What the server does by itself: acknowledgements and requests that ran out, heartbeats."""
        while True:
            await asyncio.sleep(0.5)
            if not self.up:
                continue
            now_s = asyncio.get_running_loop().time()
            for stream in self.streams.values():
                for consumer in stream.consumers.values():
                    self._sweep(stream, consumer, now_s)
                    self._expire(consumer, now_s)

    def _expire(self, consumer: Consumer, now_s: float) -> None:
        for request in list(consumer.requests):
            client = request.client
            if not client.reachable:
                consumer.requests.remove(request)
            elif now_s >= request.expires_at:
                consumer.requests.remove(request)
                self.carry(lambda c=client, r=request.reply: c.arrive(r, r, b"", "", TIMED_OUT))  # type: ignore[misc]
            elif request.heartbeat_s:
                self.carry(lambda c=client, r=request.reply: c.arrive(r, r, b"", "", IDLE_HEARTBEAT))  # type: ignore[misc]

    # -- faults -----------------------------------------------------------------------------------

    def crash(self, *, wipe: bool = False, lose_tail: int = 0) -> None:
        """Go down; perhaps with everything lost, or the newest messages that were not on disk yet."""
        self.up = False
        for client in self.clients:
            client.disconnected()
        for stream in self.streams.values():
            for consumer in stream.consumers.values():
                consumer.requests.clear()
        if lose_tail:
            for stream in self.streams.values():
                for seq in list(stream.messages)[-lose_tail:]:
                    self._note_lost(stream, stream.messages.pop(seq))
        if wipe:
            for stream in self.streams.values():
                for stored in stream.messages.values():
                    self._note_lost(stream, stored)
            self.streams.clear()
            self.buckets.clear()

    def _note_lost(self, stream: Stream, stored: Stored) -> None:
        if stream.name == "EVENTS":
            self.lost_events.add((stored.headers or {}).get("Nats-Msg-Id", ""))

    def restart(self) -> None:
        """Come back; clients connect again."""
        self.up = True
        for client in self.clients:
            client.connected()
