"""The processes of the lab: each is composed as its service's `__main__` does it, around clients in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec

from lutlab_board_agent.agent import Agent
from lutlab_board_agent.fake import DEVICE, fake_bitstream
from lutlab_builder.adapters.nats_io import NatsBlobs, NatsOutlet, NatsReports, NatsStageReports
from lutlab_builder.adapters.nats_worker import BuildQueue, keep_bases
from lutlab_builder.app.do_work import DELIVERIES_MAX, BuildService, Later, SourceMissing
from lutlab_builder.app.ports import Stage
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.ids import digest
from lutlab_events.verification import ArtifactRef, FileRef, StageOutcome
from lutlab_events.work import StageWork
from lutlab_scheduler import __main__ as scheduler
from lutlab_scheduler.adapters.gauges import Gauges
from lutlab_scheduler.settings import Settings
from lutlab_sim.boards import SimHost
from lutlab_sim.loop import Process, SimClock, current
from lutlab_sim.nats import SimClient
from lutlab_sim.store import SimDatabase, SimLedger
from lutlab_transport.commands import CommandClient

SITE = "main"
BASE_ID = 0xBA5E


class SeededIds:
    """Ids from the seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def new(self) -> UUID:
        return UUID(int=self._rng.getrandbits(128), version=4)


class Host:
    """A machine that runs one process, starts it again after it was killed, and keeps its wall clock's error."""

    def __init__(self, world: Any, name: str) -> None:
        self.world = world
        self.name = name
        self.skew_s = 0.0
        self.kills = 0
        self.process = Process(name)
        self.client: SimClient | None = None

    def start(self) -> None:
        """Start the process."""
        self.process = Process(self.name)
        self.process.skew_s = self.skew_s
        token = current.set(self.process)
        try:
            task = asyncio.ensure_future(self._main())
        finally:
            current.reset(token)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or not self.process.alive:
            return
        error = task.exception()
        self.world.fail(f"{self.name} ended by itself: {error!r}", error)

    def kill(self) -> None:
        """kill -9."""
        self.kills += 1
        self.process.kill()
        if self.client is not None:
            self.world.server.clients.remove(self.client)
            self.client = None

    def skew(self, seconds: float) -> None:
        """Move the wall clock."""
        self.skew_s = seconds
        self.process.skew_s = seconds

    def connect(self, reconnected: Callable[[], None] | None = None) -> SimClient:
        """A client of NATS for the process that starts."""
        self.client = SimClient(self.world.server, self.process, reconnected)
        return self.client

    async def _main(self) -> None:
        raise NotImplementedError


class SchedulerHost(Host):
    """`lutlab_scheduler.__main__.serve`, but for the connections."""

    async def _main(self) -> None:
        reconnected = asyncio.Event()
        client = self.connect(reconnected.set)
        settings: Settings = self.world.settings
        around = scheduler.Around(client, reconnected, Gauges())  # type: ignore[arg-type]
        await scheduler._terms(settings, SimClock(self.process), around)


def plant_ledger(database: SimDatabase) -> Callable[[str], Any]:
    """What `lutlab_scheduler.__main__.Ledger` is in this world."""

    def make(_: str) -> Any:
        process = current.get()
        assert process is not None
        return SimLedger(database, process)

    return make


class AgentHost(Host):
    """`lutlab_board_agent.agent.Agent` over boards in memory."""

    def __init__(self, world: Any, name: str, keys: list[str], first: int) -> None:
        super().__init__(world, name)
        self.boards = SimHost(world, keys, first)

    def kill(self) -> None:
        """Its lines end with it."""
        super().kill()
        self.boards.end_lines()

    async def _main(self) -> None:
        ids, clock = SeededIds(self.world.rng), SimClock(self.process)
        client = self.connect(lambda: agent.reconnected())  # noqa: PLW0108 - made below
        commands = CommandClient(client, site=SITE, actor=f"agent:{self.name}", clock=clock, ids=ids)  # type: ignore[arg-type]
        agent = Agent(
            client,  # type: ignore[arg-type]
            [board.lab for board in self.boards.boards.values()],
            site=SITE,
            agent_id=self.name,
            incarnation=ids.new(),
            programmer=self.boards,
            ports=self.boards,
            memories=self.boards.memories,
            commands=commands,
            clock=clock,
            ticks=asyncio.get_running_loop().time,
            ids=ids,
            bridge_host="127.0.0.1",
        )
        await agent.run(asyncio.Event())


class SimReport(msgspec.Struct, frozen=True):
    """The fields of a build report that are passed on."""

    bitstream_digest: str
    bitstream_bytes: int
    build_key: str
    build_id: int
    profile: str = DEVICE
    clk_hz: int = 50_000_000
    baud: int = 12_500_000
    address_words: int = 512


class SimBuilder:
    """In place of `lutlab_builder.app.run_build.Builder`: the source's first word says what becomes of it."""

    def __init__(self, world: Any) -> None:
        self._world = world

    async def build(self, request: Any, sink: Any) -> Any:
        sink.stage(Stage.SYNTHESIZE)
        sink.line(Stage.SYNTHESIZE, "synthesizing")
        slow_s = 30.0 if request.source.startswith(b"slow") else 2.0
        await asyncio.sleep(0.2 + slow_s * self._world.rng.random())
        sink.stage(Stage.PLACE_AND_ROUTE)
        sink.line(Stage.PLACE_AND_ROUTE, "placing")
        await asyncio.sleep(0.2 + self._world.rng.random())
        if request.source.startswith(b"bad"):
            raise BuildFailure(Code.SYNTAX_ERROR, "bad from the first word", "synthesize")
        return self._built(int(digest(request.source)[:8], 16))

    async def build_base(self, profile: str, sink: Any) -> Any:
        await asyncio.sleep(0.5)
        return self._built(BASE_ID)

    def _built(self, build_id: int) -> Any:
        data = fake_bitstream(build_id)
        report = SimReport(digest(data), len(data), f"{build_id:08x}", build_id)
        return SimpleNamespace(artifacts=SimpleNamespace(bitstream=data, report=report), cached=False)


FOUND_BY_ALL = b"the same in every stage"
"""An artifact that all stages leave: its blob is brought, archived and taken out of NATS again and again."""


class SimStages:
    """In place of `lutlab_builder.app.run_stage.StageService`: fetches the files, takes its time, leaves findings."""

    def __init__(self, world: Any, blobs: NatsBlobs, reports: NatsStageReports) -> None:
        self._world = world
        self._blobs = blobs
        self._reports = reports

    async def handle(self, work: StageWork, delivery: int) -> Later | None:
        if not await self._reports.stage_started(work, delivery):
            return None
        try:
            files = msgspec.json.decode(await self._blobs.get(work.files_digest), type=dict[str, FileRef])
            for file in files.values():
                await self._blobs.get(file.digest)
        except SourceMissing as missing:
            if delivery < DELIVERIES_MAX:
                return Later(1.0)
            lost = StageOutcome(status="error", code="source_missing", reason=str(missing))
            await self._reports.stage_completed(work, lost)
            return None
        await asyncio.sleep(0.2 + 2.0 * self._world.rng.random())
        details = f"{work.job_id} {work.stage}".encode()
        for data in (details, FOUND_BY_ALL):
            await self._blobs.put(data)
        same = ArtifactRef(name="a", digest=digest(FOUND_BY_ALL), size_bytes=len(FOUND_BY_ALL), media_type="text/plain")
        outcome = StageOutcome(status="passed", details_digest=digest(details), artifacts=(same,))
        await self._reports.stage_completed(work, outcome)
        return None

    async def crashed(self, work: StageWork, delivery: int, error: Exception) -> Later | None:
        self._world.fail(f"stage {work.stage} of {work.job_id} crashed: {error!r}", error)
        return None


class BuilderHost(Host):
    """`lutlab_builder.__main__.serve` around `SimBuilder` and `SimStages`."""

    async def _main(self) -> None:
        ids, clock, wanted = SeededIds(self.world.rng), SimClock(self.process), asyncio.Event()
        client: Any = self.connect(wanted.set)
        builder_id = f"{self.name}-{ids.new().hex[:8]}"
        sender = CommandClient(client, site=SITE, actor=f"builder:{builder_id}", clock=clock, ids=ids)
        await sender.start()
        builder: Any = SimBuilder(self.world)
        blobs = NatsBlobs(client)
        stages = SimStages(self.world, blobs, NatsStageReports(client, sender, site=SITE, builder_id=builder_id))
        service = BuildService(
            builder=builder,
            blobs=blobs,
            reports=NatsReports(sender, builder_id=builder_id),
            outlet=lambda work, delivery: NatsOutlet(client, sender, work, delivery, site=SITE, clock=clock),
        )
        queue = BuildQueue(client, service, site=SITE, slots=2, stages=stages)
        await together([queue.run(), keep_bases(service, [DEVICE], wanted)])


async def together(coroutines: Sequence[Awaitable[None]]) -> None:
    """All of them, until one fails."""
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)  # type: ignore[arg-type]
