"""One run: a lab, its load, its faults, and what must hold while it runs and after it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from lutlab_events import codec
from lutlab_events.busmsg import Lease
from lutlab_events.commands import ReportSessionUsed
from lutlab_events.envelope import CommandEnvelope, EventEnvelope
from lutlab_events.events import (
    AgentLost,
    AgentRegistered,
    BoardProgrammed,
    BoardReset,
    BoardRestored,
    ProgrammingStarted,
    ResetStarted,
    ResetSupplied,
    RestoreStarted,
)
from lutlab_events.values import BitstreamRef
from lutlab_events.work import BuildWork, StageWork
from lutlab_scheduler import __main__ as scheduler
from lutlab_scheduler.app import checkpoints
from lutlab_scheduler.settings import Settings
from lutlab_sim import checks
from lutlab_sim.clients import ApiHost
from lutlab_sim.hosts import SITE, AgentHost, BuilderHost, Host, SchedulerHost, plant_ledger
from lutlab_sim.loop import SimLoop, Stuck
from lutlab_sim.nats_server import SimServer, Stored, Weather
from lutlab_sim.store import SimDatabase, SimLetters
from lutlab_sim.subscriber import SubscriberHost

USERS = (4, 12)
"""Some labs have boards to spare, in others the next session begins as soon as one ends."""
AGENT_LEASE_S = 6.0
AGENT_KEPT_S = AGENT_LEASE_S / 3
"""A registered agent has a whole lease; but clocks may jump by half of one without being noticed, and perhaps twice."""
LOAD_S = 25.0
FAULTS_S = 25.0
END_S = 240.0
"""Everything must be over by then: more than every deadline, retried as often as it may be."""


class Broken(Exception):
    """Something that must never happen has happened."""


@dataclass(slots=True)
class Result:
    """How a run ended; two runs of one seed have the same `digest`."""

    seed: int
    failure: str | None
    digest: str
    end_s: float
    commands: int
    events: int
    writes: int
    kills: int
    terms: int
    messages: int
    story: list[str] = field(default_factory=list)


class World:
    """Everything in one run. `fail` stops it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.settings = Settings(
            site=SITE,
            allow_unsafe_sync=True,
            session_ttl_s=12.0,
            program_deadline_s=8.0,
            build_deadline_s=15.0,
            stage_limit_s=15.0,
            agent_lease_s=AGENT_LEASE_S,
        )
        self.server = SimServer(self.rng, Weather())
        self.server.stored = self._stored
        self.server.acked = self._acked
        self.server.routed = self._routed
        self.server.mistaken = self._mistaken
        self.database = SimDatabase(self.rng)
        self.database.committed = self._committed
        self.leases: dict[int, Lease] = {}
        self.writes = 0
        self.load_s = LOAD_S
        self.load_over = asyncio.Event()
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._registered: dict[str, float] = {}
        self._orders: dict[tuple[int, int], BitstreamRef] = {}
        self._orders_position = 0
        self.schedulers = [SchedulerHost(self, f"scheduler{i}") for i in range(2)]
        self.agents = [AgentHost(self, "agent0", ["bench0", "bench1"], 0), AgentHost(self, "agent1", ["bench2"], 2)]
        self.builders = [BuilderHost(self, f"builder{i}") for i in range(2)]
        self.api = ApiHost(self, users=self.rng.choice(USERS))
        self.subscriber = SubscriberHost(self)
        self.hosts: list[Host] = [*self.schedulers, *self.agents, *self.builders, self.api]

    def fail(self, reason: str, cause: BaseException | None = None) -> None:
        """Something that must never happen has happened."""
        if not self.broken.done():
            broken = Broken(f"at {asyncio.get_running_loop().time():.3f} s: {reason}")
            broken.__cause__ = cause
            self.broken.set_exception(broken)

    # -- the log, as checks need it ---------------------------------------------------------------

    def ordered(self, fpga_id: int | None, epoch: int) -> BitstreamRef | None:
        """What the ledger ordered to be loaded into a board under an epoch."""
        for event in self.database.events[self._orders_position :]:
            body = event.body
            if isinstance(body, ProgrammingStarted | ResetStarted | ResetSupplied | RestoreStarted) and body.bitstream:
                self._orders[int(event.stream.partition("-")[2]), body.epoch] = body.bitstream
        self._orders_position = len(self.database.events)
        return self._orders.get((fpga_id or 0, epoch))

    def _committed(self, event: EventEnvelope) -> None:
        """An event was stored: the ledger must not believe in a load that has not happened, and not give up an agent
        that has just registered."""
        now_s = asyncio.get_running_loop().time()
        if isinstance(event.body, AgentRegistered):
            self._registered[event.stream] = now_s
        elif isinstance(event.body, AgentLost) and now_s - self._registered[event.stream] < AGENT_KEPT_S:
            self.fail(f"{event.stream} is given up {now_s - self._registered[event.stream]:.1f} s after it registered")
        if isinstance(event.body, BoardProgrammed | BoardReset | BoardRestored):
            key = self.database.views["boards"][event.stream.partition("-")[2]]["board_key"]
            done = next(a.boards.truths[key].done for a in self.agents if key in a.boards.truths)
            if done < event.body.epoch:
                self.fail(f"{key} is taken for loaded under epoch {event.body.epoch}; the newest that was is {done}")

    def _stored(self, subject: str, data: bytes) -> None:
        """A message enters a stream: work and events must be of what was committed."""
        if subject.startswith("work."):
            work = codec.decode_work(data)
            if isinstance(work, BuildWork | StageWork):
                if (
                    str(work.job_id)
                    not in self.database.views["jobs" if isinstance(work, BuildWork) else "verifications"]
                ):
                    self.fail(f"work for job {work.job_id} was sent, but the job is not in the log")
            elif self.ordered(work.fpga_id, work.epoch) != work.bitstream:
                self.fail(f"work for fpga {work.fpga_id} under epoch {work.epoch} was sent, but is not in the log")
        elif subject.startswith("evt."):
            event = codec.decode_event_envelope(data)
            if event.position > len(self.database.events) or self.database.events[event.position - 1] != event:
                self.fail(f"event {event.position} ({event.event_id}) was published, but is not in the log")

    def _acked(self, stored: Stored) -> None:
        """A message leaves a work queue: a command must have been decided by then."""
        if not stored.subject.startswith("cmd."):
            return
        command: CommandEnvelope = codec.decode_command(stored.data)
        if isinstance(command.body, ReportSessionUsed):
            return  # one that renews nothing leaves no trace
        if command.command_id not in self.database.commands:
            self.fail(f"{type(command.body).__name__} {command.command_id} was acknowledged before it was decided")

    def _mistaken(self, before: Stored, now: Stored) -> None:
        """A message is delivered under a number that another one of that stream had."""
        self.fail(f"an acknowledgement of {before.subject} {before.seq} would be taken for one of {now.subject}")

    def _routed(self, subject: str, data: bytes) -> None:
        """A core message: an answer must be of what was committed."""
        if subject.startswith("ans."):
            answer = codec.decode_answer(data)
            if answer.command_id not in self.database.commands:
                self.fail(f"command {answer.command_id} was answered {answer.code}, but is not in the log")

    # -- running ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """From start to rest. Raises: Broken."""
        nemesis = self.nemesis
        serving = [asyncio.ensure_future(self.server.run()), asyncio.ensure_future(nemesis.run(FAULTS_S))]
        for host in [*self.hosts, self.subscriber]:
            host.start()
        whole = asyncio.ensure_future(self._whole(serving[1]))
        await asyncio.wait([whole, self.broken], return_when=asyncio.FIRST_COMPLETED)
        if self.broken.done():
            self.broken.result()
        whole.result()

    async def _whole(self, faults: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        await faults
        while loop.time() < END_S and not (self.load_over.is_set() and self._at_rest()):  # noqa: ASYNC110 - virtual
            await asyncio.sleep(0.5)
        checks.after(self)

    def _at_rest(self) -> bool:
        return not checks.unfinished(self) and self.subscriber.position >= len(self.database.events)

    @property
    def nemesis(self) -> Any:
        """The faults; made late, so that planted bugs do not change what a seed draws."""
        if not hasattr(self, "_nemesis"):
            from lutlab_sim.nemesis import Nemesis  # noqa: PLC0415 - a cycle otherwise

            self._nemesis = Nemesis(self)
        return self._nemesis


def run(seed: int) -> Result:
    """One run of one seed."""
    loop = SimLoop()
    asyncio.set_event_loop(loop)
    world: World | None = None
    failure = None
    real = scheduler.Ledger, scheduler.PostgresLetters, scheduler.calm
    often = checkpoints.LOOK_EVERY_S, checkpoints.EVENTS_BETWEEN
    loop.set_exception_handler(lambda _, context: world.fail(f"unhandled: {context}") if world else None)

    async def whole() -> None:
        nonlocal world
        world = World(seed)
        scheduler.Ledger = plant_ledger(world.database)  # type: ignore[assignment, misc]
        scheduler.PostgresLetters = SimLetters  # type: ignore[assignment, misc]
        # A collection of all garbage at each take-over would take longer than the rest of the run.
        scheduler.calm = lambda: None
        checkpoints.LOOK_EVERY_S, checkpoints.EVENTS_BETWEEN = 2.0, 3
        await world.run()

    try:
        loop.run_until_complete(whole())
    except (Broken, Stuck) as error:
        failure = f"{type(error).__name__}: {error}"
        if error.__cause__ is not None:
            failure += f" <- {error.__cause__!r}"
    finally:
        scheduler.Ledger, scheduler.PostgresLetters, scheduler.calm = real  # type: ignore[misc]
        _stop(loop)
        checkpoints.LOOK_EVERY_S, checkpoints.EVENTS_BETWEEN = often
    assert world is not None
    return _result(world, failure, loop)


def _stop(loop: SimLoop) -> None:
    """End every task without caring how."""
    loop.set_exception_handler(lambda *_: None)
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    for _ in range(20):
        tasks = [task for task in tasks if not task.done()]
        for task in tasks:
            task.cancel()
        if not tasks:
            break
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()
    asyncio.set_event_loop(None)
    loop.close()


def _result(world: World, failure: str | None, loop: SimLoop) -> Result:
    trace = hashlib.sha256()
    for item in world.database.hashes:
        trace.update(item)
    trace.update(f"{world.server.sent} {world.server.dropped} {loop.now_s:.6f} {failure}".encode())
    return Result(
        seed=world.seed,
        failure=failure,
        digest=trace.hexdigest()[:16],
        end_s=loop.now_s,
        commands=len(world.database.commands),
        events=len(world.database.events),
        writes=world.writes,
        kills=sum(host.kills for host in world.hosts),
        terms=world.database.terms,
        messages=world.server.sent,
        story=world.nemesis.story,
    )
