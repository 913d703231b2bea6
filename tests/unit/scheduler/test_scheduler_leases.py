"""Leases, log limits, the dispatcher's blobs: what is kept in memory only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import scheduler_given as g

from lutlab_events import events as e
from lutlab_events.ids import derived
from lutlab_events.work import AgentHeartbeat, LogChunk
from lutlab_scheduler.app.dispatch import Carrier
from lutlab_scheduler.app.leases import Leases
from lutlab_scheduler.app.logs import LogIngest
from lutlab_scheduler.app.ports import BlobUnavailable
from lutlab_scheduler.app.retention import make_room
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain import agent
from lutlab_scheduler.domain.agent import Agent, AgentState

LEASE = timedelta(seconds=10)
FIRST = derived("first")
BEAT = AgentHeartbeat(agent_id=g.AGENT, incarnation=FIRST)


class ManualClock:
    def __init__(self) -> None:
        self.time = g.T0

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


def known() -> Agent:
    registered = e.AgentRegistered(agent_id=g.AGENT, incarnation=FIRST, board_keys=())
    result: Agent = g.fold(agent.evolve, "agent-bench", [registered])
    return result


def test_an_agent_is_lost_when_it_was_silent_for_a_lease() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    leases.listen()
    for _ in range(10):
        assert leases.lapsed([known()], clock.advance(1)) == []
    assert not leases.heard(BEAT, known())
    for _ in range(10):
        assert leases.lapsed([known()], clock.advance(1)) == []
    assert len(leases.lapsed([known()], clock.advance(1))) == 1


def test_nobody_is_lost_while_nobody_listens_or_after_the_process_stood_still() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    assert leases.lapsed([known()], clock.advance(100)) == []
    leases.listen()
    assert leases.lapsed([known()], clock.advance(100)) == []  # suspended: it could not have heard anything
    assert leases.lapsed([known()], clock.advance(4)) == []
    leases.deafen()
    assert leases.lapsed([known()], clock.advance(4)) == []
    leases.listen()
    assert [len(leases.lapsed([known()], clock.advance(4))) for _ in range(3)] == [0, 0, 1]


def test_who_is_not_known_is_asked_to_register_but_not_too_often() -> None:
    clock = ManualClock()
    leases = Leases(lease=LEASE, clock=clock)
    assert leases.heard(BEAT, None)
    assert not leases.heard(BEAT, None)
    clock.advance(2)
    assert leases.heard(BEAT, replace(known(), state=AgentState.LOST))
    clock.advance(2)
    assert leases.heard(BEAT, replace(known(), incarnation=derived("second")))
    clock.advance(2)
    assert not leases.heard(BEAT, known())


class MemoryLogs:
    def __init__(self) -> None:
        self.chunks: dict[tuple[UUID, int, int], LogChunk] = {}

    async def log_bytes(self, job_id: UUID) -> int:
        chunks = [chunk for key, chunk in self.chunks.items() if key[0] == job_id]
        return sum(len(line.encode()) + 1 for chunk in chunks for line in chunk.lines)

    async def add_logs(self, chunks: Sequence[LogChunk]) -> None:
        for chunk in chunks:
            self.chunks.setdefault((chunk.job_id, chunk.attempt, chunk.seq), chunk)


def chunk(seq: int, *lines: str, job_id: UUID = g.JOB) -> LogChunk:
    return LogChunk(job_id=job_id, attempt=1, seq=seq, stage="pack", lines=lines, at=g.T0)


async def test_a_log_is_cut_once_even_by_a_process_that_came_later() -> None:
    logs = MemoryLogs()
    ingest = LogIngest(logs, bytes_max=100)
    await ingest.take([chunk(0, "a" * 50), chunk(1, "é" * 20, "b" * 30), chunk(2, "more")])
    assert [c.lines for c in logs.chunks.values()] == [
        ("a" * 50,),
        ("é" * 20, "[lutlab] the log is cut here: it is longer than 100 bytes"),
    ]
    await LogIngest(logs, bytes_max=100).take([chunk(3, "even more"), chunk(0, "x", job_id=g.OTHER_JOB)])
    assert sorted(key[1:] for key in logs.chunks) == [(1, 0), (1, 0), (1, 1)]


class MemoryBlobs:
    def __init__(self, *digests: str) -> None:
        self.digests = set(digests)
        self.asked = 0
        self.young: set[str] = set()

    async def has(self, digest: str) -> bool:
        return digest in self.digests

    async def exists(self, digest: str) -> bool:
        self.asked += 1
        return digest in self.digests

    async def get(self, digest: str) -> bytes:
        if digest not in self.digests:
            raise BlobUnavailable(digest)
        return digest.encode()

    async def put(self, data: bytes) -> None:
        self.digests.add(data.decode())

    async def delete(self, digest: str) -> None:
        self.digests.discard(digest)

    async def stored_bytes(self) -> int:
        return sum(map(len, self.digests))

    async def held(self, digests: Iterable[str]) -> set[str]:
        return set(digests) & self.digests

    async def recent(self, since: datetime) -> set[str]:
        return self.young & self.digests

    async def prune(self, bytes_max: int, needed: frozenset[str]) -> int:
        assert await self.stored_bytes() > bytes_max
        before = len(self.digests)
        self.digests &= needed
        return before - len(self.digests)


class MemoryArchive(MemoryBlobs):
    async def put(self, digest: str, data: bytes) -> None:  # type: ignore[override]
        self.digests.add(digest)


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
