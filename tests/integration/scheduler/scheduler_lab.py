"""A lab around a real scheduler: the test plays API, builder and agent over real NATS and Postgres."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events.envelope import Answer
from lutlab_events.values import BitstreamRef, BoardReport
from lutlab_events.work import AgentHeartbeat, BuildWork, ProgramWork
from lutlab_scheduler.__main__ import serve
from lutlab_scheduler.settings import Settings
from lutlab_stack.nats import NatsServer
from lutlab_stack.running import running as server_running
from lutlab_transport.blobs import BlobStore
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.connection import connect
from pulling import pull_consumer

PROFILE = "lfe5u-25f"
SOURCE = b"module top(); endmodule\n"
WAIT_S = 10.0
T = TypeVar("T")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bitstream(data: bytes, profile: str = PROFILE) -> BitstreamRef:
    name = digest(data)
    return BitstreamRef(
        digest=name,
        size_bytes=len(data),
        build_key=name,
        build_id=int(name[:8], 16),
        profile=profile,
        clk_hz=50_000_000,
        baud=1_000_000,
    )


async def until(check: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = WAIT_S) -> T:
    """Ask again until there is something; tests wait for states, never for a length of time."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                found = await check()
                if found:
                    return found
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {timeout_s} s") from None


class OwnNats:
    """A NATS server that a test may stop, wipe and start."""

    def __init__(self, server: NatsServer, log: Path) -> None:
        self.server = server
        self._log = log
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self._running.enter_context(server_running(self.server, self._log))

    def stop(self) -> None:
        self._running.close()

    def wipe(self) -> None:
        shutil.rmtree(self.server.base / "data")


class Lab:
    """Hands of API, builder and agent."""

    def __init__(self, settings: Settings, nc: Client, db: asyncpg.Pool, client: CommandClient) -> None:
        self.settings = settings
        self.nc = nc
        self.db = db
        self.client = client
        self.agent_id = "bench"
        self.incarnation = uuid4()

    # -- API -------------------------------------------------------------------------------------

    async def ask(self, command: c.Command, command_id: UUID | None = None, **more: Any) -> Answer:
        return await self.client.request(command, timeout_s=WAIT_S, command_id=command_id, **more)

    async def upload(self, data: bytes = SOURCE) -> str:
        name = digest(data)
        await self.db.execute(
            "insert into blobs values ($1, $2, $3, now()) on conflict do nothing", name, len(data), data
        )
        return name

    async def submit(self, *, owner: str = "ada", fpga_id: int | None = None, source: bytes = SOURCE) -> UUID:
        job_id = uuid4()
        name = await self.upload(source)
        answer = await self.ask(
            c.SubmitBuild(job_id=job_id, owner=owner, source_digest=name, filename="design.v", fpga_id=fpga_id)
        )
        assert answer.accepted, answer
        return job_id

    async def row(self, table: str, key: Any) -> dict[str, Any] | None:
        names = {"boards": "fpga_id", "jobs": "job_id"}
        record = await self.db.fetchrow(f"select * from {table} where {names[table]} = $1", key)
        return dict(record) if record else None

    async def job(self, job_id: UUID, status: str) -> dict[str, Any]:
        async def check() -> dict[str, Any] | None:
            row = await self.row("jobs", job_id)
            return row if row and row["status"] == status else None

        return await until(check, f"job {status}")

    async def board(self, fpga_id: int, state: str) -> dict[str, Any]:
        async def check() -> dict[str, Any] | None:
            row = await self.row("boards", fpga_id)
            return row if row and row["state"] == state else None

        return await until(check, f"fpga {fpga_id} {state}")

    async def event_types(self, stream: str) -> list[str]:
        rows = await self.db.fetch("select type from events where stream = $1 order by version", stream)
        return [row["type"] for row in rows]

    # -- builder ---------------------------------------------------------------------------------

    async def _take(self, durable: str, subject: str, timeout_s: float) -> Any:
        async def take() -> Msg | None:
            # NATS may be away, and its streams may be about to be made again.
            with suppress(nats.errors.Error, nats.js.errors.Error):
                sub = await pull_consumer(
                    self.nc.jetstream(timeout=1),
                    stream=subjects.WORK.name,
                    durable=durable,
                    subject=subject,
                    ack_wait_s=subjects.BUILD_ACK_WAIT_S,
                    max_ack_pending=64,
                )
                try:
                    messages: list[Msg] = await sub.fetch(1, timeout=0.5)
                    await messages[0].ack()
                    return messages[0]
                finally:
                    await sub.unsubscribe()
            return None

        message = await until(take, f"work on {subject}", timeout_s)
        return codec.decode_work(message.data)

    async def build_work(self, timeout_s: float = WAIT_S) -> BuildWork:
        site = self.settings.site
        work: BuildWork = await self._take(subjects.builder_durable(site), subjects.build_work(site), timeout_s)
        return work

    async def put_blob(self, data: bytes) -> None:
        await BlobStore(self.nc.jetstream()).put(data)

    async def begun(self, work: BuildWork) -> Answer:
        return await self.ask(
            c.ReportBuildStarted(job_id=work.job_id, attempt=work.attempt, builder_id="builder-1"),
        )

    async def built(self, work: BuildWork, data: bytes) -> Answer:
        """Report a build from start to success."""
        await self.put_blob(data)
        assert (await self.begun(work)).accepted
        stage = c.ReportBuildStage(job_id=work.job_id, attempt=work.attempt, stage="synthesize")
        assert (await self.ask(stage)).accepted
        return await self.ask(
            c.ReportBuildSucceeded(
                job_id=work.job_id, attempt=work.attempt, bitstream=bitstream(data), report={"ok": True}, cached=False
            )
        )

    async def base(self, data: bytes = b"base design") -> Answer:
        await self.put_blob(data)
        return await self.ask(c.ReportBaseBuilt(profile=PROFILE, bitstream=bitstream(data)))

    # -- agent -----------------------------------------------------------------------------------

    async def register(self, *keys: str, running: dict[str, tuple[int, int]] | None = None) -> dict[str, Any]:
        """Register boards; `running` gives (build id, epoch) of what a board was found with."""
        found = running or {}
        reports = tuple(
            BoardReport(
                board_key=key,
                profile=PROFILE,
                running_build_id=found[key][0] if key in found else None,
                epoch=found[key][1] if key in found else 0,
            )
            for key in keys
        )
        answer = await self.ask(c.RegisterAgent(agent_id=self.agent_id, incarnation=self.incarnation, boards=reports))
        assert answer.accepted, answer
        boards: dict[str, Any] = answer.data["boards"]
        return boards

    async def beat(self) -> None:
        beat = AgentHeartbeat(agent_id=self.agent_id, incarnation=self.incarnation)
        await self.nc.publish(subjects.heartbeat(self.settings.site, self.agent_id), codec.encode(beat))

    @asynccontextmanager
    async def beating(self, every_s: float = 0.1) -> AsyncIterator[None]:
        async def loop() -> None:
            while True:
                await self.beat()
                await asyncio.sleep(every_s)

        task = asyncio.create_task(loop())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def control_message(self) -> Any:
        """The next control message to this agent."""
        sub = await self.nc.subscribe(subjects.agent_control(self.settings.site, self.agent_id))
        message = await sub.next_msg(timeout=WAIT_S)
        await sub.unsubscribe()
        return codec.decode_control(message.data)

    async def program_work(self, timeout_s: float = WAIT_S) -> ProgramWork:
        site = self.settings.site
        work: ProgramWork = await self._take(
            subjects.agent_durable(site, self.agent_id), subjects.agent_work(site, self.agent_id), timeout_s
        )
        return work

    async def programmed(self, work: ProgramWork) -> Answer:
        return await self.ask(c.ReportProgrammed(fpga_id=work.fpga_id, epoch=work.epoch))

    async def reserve(self, *, data: bytes = b"bits", owner: str = "ada", fpga_id: int | None = None) -> UUID:
        """From submit to session; the job's id."""
        job_id = await self.submit(owner=owner, fpga_id=fpga_id)
        assert (await self.built(await self.build_work(), data)).accepted
        assert (await self.programmed(await self.program_work())).accepted
        await self.job(job_id, "complete")
        return job_id


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """A scheduler in this process; a failure of it fails the test."""
    task = asyncio.create_task(serve(settings))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def hands(settings: Settings) -> AsyncIterator[Lab]:
    """A lab's hands, without a scheduler."""
    nc = await connect(settings.nats_url, name="test")
    client = CommandClient(nc, site=settings.site, actor="test", clock=SystemClock(), ids=RandomIds())
    await client.start()
    async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=2) as db:
        try:
            yield Lab(settings, nc, db, client)
        finally:
            await nc.close()


async def streams_are_there(lab: Lab) -> None:
    """Wait until the scheduler has declared the streams."""

    async def check() -> bool:
        with suppress(Exception):
            await lab.nc.jetstream().stream_info(subjects.COMMANDS.name)
            await lab.nc.jetstream().consumer_info(subjects.COMMANDS.name, subjects.SCHEDULER_DURABLE)
            return True
        return False

    await until(check, "streams")


@asynccontextmanager
async def lab_with_scheduler(settings: Settings) -> AsyncIterator[Lab]:
    """Hands and a scheduler that consumes commands already."""
    async with hands(settings) as lab, running(settings) as task:
        await streams_are_there(lab)
        yield lab
        assert not task.done(), task
