"""The shipped API and scheduler as processes over real servers; the test plays builder and agent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_api.app.cancelling import end
from lutlab_bus import LinkCounters, batch
from lutlab_bus.operations import Modify, Operation, Poll, Read, Result, Status, Write
from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb
from lutlab_events.values import BitstreamRef, BoardReport
from lutlab_events.work import AgentHeartbeat, BuildWork, LogChunk, ProgramWork
from lutlab_stack.ports import free_port
from lutlab_transport.blobs import BlobStore
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from pulling import pull_consumer

BIN = Path(sys.executable).parent
ADMIN_KEY = "the-first-key-of-all"
PROFILE = "lfe5u-25f"
AGENT = "bench"
START_TIMEOUT_S = 30.0
WAIT_S = 10.0
LINK = {
    "open": True,
    "in_step": True,
    "device": None,
    "line_baud": None,
    "latency_timer": None,
    "counters": LinkCounters().as_dict(),
}
T = TypeVar("T")


async def until(what: str, probe: Callable[[], Awaitable[T | None]], timeout_s: float = WAIT_S) -> T:
    """The first truthy answer of a probe."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = await probe()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(0.02)


@dataclass
class Service:
    """One of our services as a process."""

    name: str
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [BIN / self.name], env={**os.environ, **self.env}, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit code, after it was asked to stop."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.name} did not stop:\n{self.log.read_text()[-3000:]}")

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Whole:
    """Two APIs, one scheduler."""

    nats_url: str
    scheduler: Service
    apis: list[Service]
    ports: list[int]

    def url(self, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    def client(self, key: str | None = ADMIN_KEY, number: int = 0) -> httpx.AsyncClient:
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.AsyncClient(base_url=self.url(number), headers=headers, timeout=15)

    def wait_ok(self, number: int = 0) -> None:
        """Wait until an API says that everything is there."""
        deadline = time.monotonic() + START_TIMEOUT_S
        told = "nothing"
        while time.monotonic() < deadline:
            assert self.apis[number].is_running(), self.apis[number].log.read_text()[-3000:]
            with suppress(httpx.TransportError):
                told = httpx.get(f"{self.url(number)}/health", timeout=5).text
                if '"status":"ok"' in told:
                    return
            time.sleep(0.05)
        pytest.fail(f"not ready: {told}\n{self.scheduler.log.read_text()[-3000:]}")


@contextmanager
def whole(postgres_url: str, nats_url: str, folder: Path, apis: int = 1, **settings: str) -> Iterator[Whole]:
    """Start everything; stop it at the end, whatever happens."""
    env = {
        "LUTLAB_DATABASE_URL": postgres_url,
        "LUTLAB_NATS_URL": nats_url,
        "LUTLAB_BOOTSTRAP_KEY": ADMIN_KEY,
        "LUTLAB_ALLOW_UNSAFE_SYNC": "true",
        **settings,
    }
    ports = [free_port() for _ in range(apis)]
    services = [
        Service("lutlab-api", {**env, "LUTLAB_API_PORT": str(port)}, folder / f"api-{n}.log").start()
        for n, port in enumerate(ports)
    ]
    scheduler = Service("lutlab-scheduler", env, folder / "scheduler.log").start()
    lab = Whole(nats_url, scheduler, services, ports)
    try:
        for number in range(apis):
            lab.wait_ok(number)
        yield lab
    finally:
        for service in [*services, scheduler]:
            service.stop()


def bitstream(data: bytes) -> BitstreamRef:
    name = hashlib.sha256(data).hexdigest()
    return BitstreamRef(
        digest=name,
        size_bytes=len(data),
        build_key=name,
        build_id=int(name[:8], 16),
        profile=PROFILE,
        clk_hz=50_000_000,
        baud=12_500_000,
    )


@dataclass
class Hands:
    """A builder and an agent with echo memories, for as long as a test needs them.

    Attributes:
        build_error: makes every build fail with this code and message.
        silent: the agent does not answer bus requests.
        broken: the agent says that its link failed.
    """

    nc: Client
    commands: CommandClient
    site: str = "main"
    memory: dict[int, dict[int, int]] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)
    leases: dict[int, tuple[object, int]] = field(default_factory=dict)
    build_error: tuple[str, str] | None = None
    build_gate: asyncio.Event = field(default_factory=asyncio.Event)
    silent: bool = False
    broken: bool = False
    exchanges: int = 0

    async def register(self, boards: int) -> None:
        reports = tuple(BoardReport(board_key=f"b{n}", profile=PROFILE) for n in range(boards))
        self.incarnation = uuid4()
        answer = await self.commands.request(
            c.RegisterAgent(agent_id=AGENT, incarnation=self.incarnation, boards=reports), timeout_s=WAIT_S
        )
        assert answer.accepted, answer
        await self._put(b"base design")
        await self.commands.request(
            c.ReportBaseBuilt(profile=PROFILE, bitstream=bitstream(b"base design")), timeout_s=WAIT_S
        )

    async def _put(self, data: bytes) -> None:
        await BlobStore(self.nc.jetstream()).put(data)

    async def beat(self) -> None:
        while True:
            beat = AgentHeartbeat(agent_id=AGENT, incarnation=self.incarnation)
            await self.nc.publish(subjects.heartbeat(self.site, AGENT), codec.encode(beat))
            await asyncio.sleep(1)

    async def work(self, durable: str, subject: str, do: Callable[[Any], Awaitable[None]]) -> None:
        pull = await pull_consumer(
            self.nc.jetstream(),
            stream=subjects.WORK.name,
            durable=durable,
            subject=subject,
            ack_wait_s=15,
            max_ack_pending=64,
        )
        while True:
            try:
                messages: list[Msg] = await pull.fetch(1, timeout=1)
            except TimeoutError:
                continue
            await do(codec.decode_work(messages[0].data))
            await messages[0].ack()

    async def build(self, work: BuildWork) -> None:
        job: dict[str, Any] = {"job_id": work.job_id, "attempt": work.attempt}
        await self.commands.send(c.ReportBuildStarted(**job, builder_id="builder-1"))
        await self.commands.send(c.ReportBuildStage(**job, stage="synthesize"))
        chunk = LogChunk(**job, seq=0, stage="synthesize", lines=("yosys was here",), at=SystemClock().now())
        await self.nc.jetstream().publish(subjects.log(self.site, work.job_id), codec.encode(chunk))
        await self.build_gate.wait()
        if self.build_error is not None:
            code, message = self.build_error
            await self.commands.send(c.ReportBuildFailed(**job, code=code, message=message, stage="synthesize"))
            return
        data = f"bits of {work.source_digest}".encode()
        await self._put(data)
        report = {"fmax_mhz": 88.5, "ok": True}
        await self.commands.send(c.ReportBuildSucceeded(**job, bitstream=bitstream(data), report=report, cached=False))

    async def program(self, work: ProgramWork) -> None:
        self.memory[work.fpga_id] = {}
        self.leases[work.fpga_id] = (work.session_id, work.epoch)
        await self.commands.send(c.ReportProgrammed(fpga_id=work.fpga_id, epoch=work.epoch))

    async def on_bus(self, message: Msg) -> None:
        if not self.silent:
            reply = self._reply(BusHeaders.from_headers(message.headers), message.data)
            await self.nc.publish(message.reply, reply.frame, headers=reply.to_headers())

    def _reply(self, request: BusHeaders, frame: bytes) -> BusReply:
        board, stream = request.lease.fpga_id, request.stream_id
        if request.verb is BusVerb.STATS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(LINK).encode())
        if self.leases.get(board) != (request.lease.session_id, request.lease.epoch):
            return BusReply(status=BusStatus.STALE_LEASE)
        if self.broken:
            return BusReply(status=BusStatus.LINK_FAILED, message="cable pulled")
        if request.verb is BusVerb.CLOSE:
            self.holders.pop(board, None)
        elif self.holders.get(board, stream) != stream:
            return BusReply(status=BusStatus.BUSY)
        elif request.verb is BusVerb.OPEN:
            self.holders[board] = stream
        elif request.verb is BusVerb.EXCHANGE:
            self.exchanges += 1
            return BusReply(status=BusStatus.OK, frame=self._exchange(self.memory[board], frame))
        elif request.verb is BusVerb.BATCH:
            results = [_operate(self.memory[board], operation) for operation in batch.decode(frame)]
            return BusReply(status=BusStatus.OK, frame=batch.encode_results(results))
        return BusReply(status=BusStatus.OK)

    def _exchange(self, memory: dict[int, int], frame: bytes) -> bytes:
        head, address, *words = struct.unpack(f">{len(frame) // 4}I", frame)
        index = address // 4
        if head >> 24 == 2:
            values = [memory.get(index + n, 0) for n in range(words[0])]
            return struct.pack(f">{1 + len(values)}I", len(values), *values)
        memory.update({index + n: word for n, word in enumerate(words)})
        return bytes(4)


def _operate(memory: dict[int, int], operation: Operation) -> Result:
    """What a board of plain memory does; a word that it does not hold yet never comes."""
    address = operation.address_words
    if isinstance(operation, Write):
        memory.update({address + n: word for n, word in enumerate(operation.words)})
        return Result(Status.OK)
    before = memory.get(address, 0)
    if isinstance(operation, Modify):
        memory[address] = before & ~operation.mask | operation.value & operation.mask
    if isinstance(operation, Poll):
        status = Status.OK if before & operation.mask == operation.value & operation.mask else Status.POLL_TIMEOUT
        return Result(status, array("I", [before]))
    if isinstance(operation, Read):
        return Result(Status.OK, array("I", [memory.get(address + n, 0) for n in range(operation.count)]))
    return Result(Status.OK, array("I", [before]))


@asynccontextmanager
async def hands(nats_url: str, boards: int = 2) -> AsyncIterator[Hands]:
    """A builder and an agent that work until the end of the block."""
    nc = await nats.connect(nats_url)
    commands = CommandClient(nc, site="main", actor="agent:bench", clock=SystemClock(), ids=RandomIds())
    await commands.start()
    helper = Hands(nc, commands)
    helper.build_gate.set()
    await helper.register(boards)
    await nc.subscribe(subjects.bus("main", AGENT), cb=helper.on_bus)

    async def program(work: ProgramWork) -> None:
        await helper.program(work)  # looked up each time, so that a test may put another in its place

    loops = [
        asyncio.create_task(helper.beat()),
        asyncio.create_task(helper.work(subjects.builder_durable("main"), subjects.build_work("main"), helper.build)),
        asyncio.create_task(
            helper.work(subjects.agent_durable("main", AGENT), subjects.agent_work("main", AGENT), program)
        ),
    ]
    try:
        yield helper
    finally:
        await end(loops)
        await nc.close()
