"""Measured on the shipped scheduler over a real NATS: how soon it serves, answers and hands boards on."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from bench_log import PROFILE, bitstream
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import EventEnvelope
from lutlab_events.ids import digest
from lutlab_events.values import BitstreamRef, BoardReport, BoardState, JobType
from lutlab_events.work import AgentHeartbeat, BuildWork, ProgramWork
from lutlab_scheduler.domain import board as boards_
from lutlab_scheduler.domain import job as jobs_
from lutlab_scheduler.domain.matching import Waiting, match
from lutlab_stack.nats import NatsServer, prepare_nats
from lutlab_stack.running import running
from lutlab_transport.blobs import BlobStore
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient, CommandUnanswered
from lutlab_transport.connection import connect
from lutlab_transport.pull import Pull
from lutlab_transport.streams import ensure_consumer

SITE = "main"
RATE_HZ = 200
BOARDS = 8
JOBS = 400
GHOST = c.RevokeKey(key_id=UUID(int=1))


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@asynccontextmanager
async def scheduler(database_url: str, server: NatsServer) -> AsyncIterator[None]:
    """The scheduler as it is shipped."""
    command = [str(Path(sys.executable).parent / "lutlab-scheduler")]
    settings = {"LUTLAB_DATABASE_URL": database_url, "LUTLAB_LOG_LEVEL": "WARNING"}
    settings |= {"LUTLAB_NATS_URL": server.url, "LUTLAB_NATS_MONITOR_URL": server.monitor_url}
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def client() -> AsyncIterator[tuple[NatsServer, Client, CommandClient]]:
    """A NATS of its own, and one connection to it."""
    base = Path(tempfile.mkdtemp(prefix="lutlab-bench-nats-"))
    base.chmod(0o711)
    server = prepare_nats(base / "nats")
    try:
        with running(server, base / "nats.log"):
            nc = await connect(server.url, name="bench")
            sender = CommandClient(nc, site=SITE, actor="bench", clock=SystemClock(), ids=RandomIds())
            await sender.start()
            yield server, nc, sender
            await nc.close()
    finally:
        shutil.rmtree(base, ignore_errors=True)


async def served(sender: CommandClient) -> None:
    """Wait for the first answer."""
    while True:
        with suppress(CommandUnanswered):
            await sender.request(GHOST, timeout_s=1.0)
            return
        await asyncio.sleep(0.02)


async def start_s(database_url: str) -> float:
    """Seconds from starting the process to its first answer."""
    async with client() as (server, _, sender):
        began = time.perf_counter()
        async with scheduler(database_url, server):
            await served(sender)
            return time.perf_counter() - began


async def latencies(database_url: str, seconds: float) -> list[tuple[str, float, str]]:
    """(what, milliseconds, target)."""
    async with client() as (server, nc, sender), scheduler(database_url, server):
        await served(sender)
        took = await answers(sender, seconds)
        handed = await handovers(database_url, nc, sender)
    return [
        (f"command to answer at {RATE_HZ}/s, p50", percentile(took, 0.5), "< 5 ms"),
        (f"command to answer at {RATE_HZ}/s, p99", percentile(took, 0.99), "< 25 ms"),
        ("board free to next job holding it, p50", percentile(handed, 0.5), ""),
        ("board free to next job holding it, p99", percentile(handed, 0.99), "< 250 ms"),
    ]


async def answers(sender: CommandClient, seconds: float) -> list[float]:
    """Milliseconds of each command; they are sent by the clock, whether or not answers come."""
    took: list[float] = []

    async def one() -> None:
        ident = uuid4()
        began = time.perf_counter()
        body = c.IssueKey(key_id=ident, key_sha256=ident.hex * 2, owner="bench")
        answer = await sender.request(body, timeout_s=10.0)
        assert answer.accepted
        took.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * RATE_HZ)):
            await asyncio.sleep(max(0.0, began + number / RATE_HZ - time.perf_counter()))
            group.create_task(one())
    return took


async def handovers(database_url: str, nc: Client, sender: CommandClient) -> list[float]:
    """Milliseconds from each `BoardReset` to the next `BoardProgrammed`, with loads that take no time."""
    lab = _Lab(nc, sender)
    db = await asyncpg.connect(database_url)
    source = b"module top(); endmodule\n"
    await db.execute("insert into blobs values ($1, $2, $3, now())", digest(source), len(source), source)
    await db.close()
    bits = b"bits"
    ref = BitstreamRef(**{**_fields(bitstream("any")), "digest": digest(bits), "size_bytes": len(bits)})
    await BlobStore(nc.jetstream()).put(bits)
    await sender.request(c.ReportBaseBuilt(profile=PROFILE, bitstream=ref), timeout_s=10.0)
    await nc.subscribe(f"evt.{SITE}.board.>", cb=lab.on_event)
    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(work) for work in (lab.beat(), lab.build(ref), lab.load())]
        submits = [
            c.SubmitBuild(job_id=uuid4(), owner=f"o{i % 8}", source_digest=digest(source), filename="design.v")
            for i in range(JOBS)
        ]
        for body in submits:
            assert (await sender.request(body, timeout_s=10.0)).accepted
        async with asyncio.timeout(120):
            await lab.built.wait()
        reports = tuple(BoardReport(board_key=f"b{i}", profile=PROFILE) for i in range(BOARDS))
        await sender.request(
            c.RegisterAgent(agent_id="bench", incarnation=lab.incarnation, boards=reports), timeout_s=10.0
        )
        async with asyncio.timeout(120):
            await lab.over.wait()
        for helper in helpers:
            helper.cancel()
    return lab.took


def _fields(ref: BitstreamRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in ref.__struct_fields__}


class _Lab:
    """Builder, agent and users in one."""

    def __init__(self, nc: Client, sender: CommandClient) -> None:
        self._nc = nc
        self._sender = sender
        self.incarnation = uuid4()
        self.took: list[float] = []
        self.built = asyncio.Event()
        self.over = asyncio.Event()
        self._free: dict[str, Any] = {}
        self._ended = 0
        self._owners: set[asyncio.Task[Any]] = set()

    async def beat(self) -> None:
        """Heartbeats."""
        data = codec.encode(AgentHeartbeat(agent_id="bench", incarnation=self.incarnation))
        while True:
            await self._nc.publish(subjects.heartbeat(SITE, "bench"), data)
            await asyncio.sleep(1.0)

    async def _work(self, durable: str, subject: str) -> AsyncIterator[Any]:
        await ensure_consumer(
            self._nc.jetstream(),
            stream=subjects.WORK.name,
            durable=durable,
            subject=subject,
            ack_wait_s=30.0,
            max_ack_pending=1000,
        )
        async with Pull(self._nc, stream=subjects.WORK.name, durable=durable, batch_max=16).open() as pull:
            while True:
                for message in await pull.batch():
                    await message.ack()
                    yield codec.decode_work(message.data)

    async def build(self, ref: BitstreamRef) -> None:
        """Every build is done at once."""
        count = 0
        async for work in self._work(subjects.builder_durable(SITE), subjects.build_work(SITE)):
            assert isinstance(work, BuildWork)
            await self._sender.send(c.ReportBuildStarted(job_id=work.job_id, attempt=work.attempt, builder_id="bench"))
            done = c.ReportBuildSucceeded(
                job_id=work.job_id, attempt=work.attempt, bitstream=ref, report={}, cached=True
            )
            await self._sender.send(done)
            count += 1
            if count == JOBS:
                self.built.set()

    async def load(self) -> None:
        """Every load is done at once."""
        async for work in self._work(subjects.agent_durable(SITE, "bench"), subjects.agent_work(SITE, "bench")):
            assert isinstance(work, ProgramWork)
            await self._sender.send(c.ReportProgrammed(fpga_id=work.fpga_id, epoch=work.epoch))

    async def on_event(self, message: Msg) -> None:
        """Users release their board the moment they have it."""
        event: EventEnvelope = codec.decode_event_envelope(message.data)
        if isinstance(event.body, e.BoardReset):
            self._free[event.stream] = event.at
        elif isinstance(event.body, e.BoardProgrammed):
            since = self._free.pop(event.stream, None)
            if since is not None:
                self.took.append(1000 * (event.at - since).total_seconds())
            fpga_id = int(event.stream.partition("-")[2])
            release = c.ReleaseSession(job_id=uuid4(), owner=event.body.owner, fpga_id=fpga_id)
            task = asyncio.ensure_future(self._sender.request(release, timeout_s=30.0))
            self._owners.add(task)
            task.add_done_callback(self._owners.discard)
            self._ended += 1
            if self._ended == JOBS:
                self.over.set()


def matching_ms(boards: int, jobs: int) -> float:
    """Milliseconds of one decision where one board has become free and `jobs` wait: the worst of ten."""
    lab, queue = _boards(boards), Waiting(_jobs(jobs))
    worst = 0.0
    for _ in range(10):
        began = time.perf_counter()
        found = match(queue, lab)
        worst = max(worst, 1000 * (time.perf_counter() - began))
        assert len(found) == 1
    return worst


def _boards(count: int) -> list[boards_.Board]:
    """All reserved but one."""
    fold = _Fold()
    result = []
    for number in range(count):
        registered = e.BoardRegistered(fpga_id=number, board_key=f"b{number}", agent_id="bench", profile=PROFILE)
        found = fold(None, boards_.evolve, f"board-{number}", registered)
        if number:
            job_id, at = uuid4(), SystemClock().now()
            loading = e.ProgrammingStarted(
                job_id=job_id,
                owner=f"o{number % 100}",
                job_created_at=at,
                session_id=job_id,
                epoch=1,
                bitstream=bitstream("any"),
                deadline_at=at,
            )
            found = fold(found, boards_.evolve, f"board-{number}", loading)
        result.append(found)
    assert sum(board.state is BoardState.IDLE for board in result) == 1
    return result


def _jobs(count: int) -> list[jobs_.Job]:
    fold, result = _Fold(), []
    at = SystemClock().now()
    for number in range(count):
        ident = uuid4()
        submitted = e.JobSubmitted(
            job_id=ident,
            job_type=JobType.BUILD_AND_PROGRAM,
            owner=f"o{number % 100}",
            source_digest="0" * 64,
            filename="design.v",
            profile=PROFILE,
        )
        found = fold(None, jobs_.evolve, f"job-{ident}", submitted)
        started = e.BuildStarted(attempt=1, builder_id="b", deadline_at=at)
        found = fold(found, jobs_.evolve, f"job-{ident}", started)
        built = e.BuildSucceeded(attempt=1, bitstream=bitstream("any"), report={}, cached=True)
        result.append(fold(found, jobs_.evolve, f"job-{ident}", built))
    return result


class _Fold:
    """Applies one event after another."""

    def __init__(self) -> None:
        self._position = 0
        self._at = SystemClock().now()

    def __call__(self, state: Any, evolve: Any, stream: str, body: e.Event) -> Any:
        self._position += 1
        none = UUID(int=0)
        return evolve(
            state,
            EventEnvelope(
                position=self._position,
                event_id=none,
                stream=stream,
                version=1 if state is None else state.version + 1,
                body=body,
                causation_id=none,
                correlation_id=none,
                actor="bench",
                site=SITE,
                at=self._at,
            ),
        )
