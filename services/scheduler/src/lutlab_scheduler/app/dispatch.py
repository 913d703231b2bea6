"""The dispatcher: work for builders and agents, derived from the log and checked against the present.

Work that is overtaken (a cancelled job, a newer epoch) is not sent. What is sent is named after the attempt or the
epoch, so sending it twice is harmless. If NATS lost its streams, everything outstanding is sent again. Builders get
theirs in turn (`app.line`). Work whose source or bitstream is nowhere to be found fails, and work that NATS has no room
for waits (`app.postponed`): neither must hold up the work behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import structlog

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events import subjects
from lutlab_events import verification as v
from lutlab_events.envelope import EventEnvelope
from lutlab_events.ids import derived, job_stream
from lutlab_events.values import JobType
from lutlab_events.verification import verification_stream
from lutlab_events.work import BuildCancelled, BuildWork, ProgramWork, StageWork
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.inside import Inside
from lutlab_scheduler.app.line import Line, Wanted
from lutlab_scheduler.app.ports import BlobUnavailable, Bus
from lutlab_scheduler.app.postponed import LOAD_WAITS, WORK_WAITS, Postponed
from lutlab_scheduler.app.world import State, World
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job, JobState
from lutlab_scheduler.domain.outcome import Rules
from lutlab_scheduler.domain.policies import Due
from lutlab_scheduler.domain.verification import Verification

log = structlog.get_logger(__name__)

SOURCE_MISSING = "source_missing"
TRANSIT_FULL = "transit_full"
"""NATS had no room for what a build, a stage or a load needs, for too long."""
BITSTREAM_MISSING = "bitstream_missing"
LOOK_EVERY_S = 15.0
"""How often to see whether the builders' queue stands still."""
NO_ROOM = "[lutlab] waits: the lab's message bus has no room for it now"


class Dispatcher:
    """Sends the work that events call for."""

    def __init__(
        self,
        *,
        world: World,
        bus: Bus,
        carrier: Carrier,
        inside: Inside,
        rules: Rules,
        postponed: Postponed,
        line: Line,
        tell: Callable[[Job | Verification, str], Awaitable[None]],
    ) -> None:
        """
        Args:
            postponed: where work waits that NATS has no room for.
            line: where work waits until it is its turn with the builders.
            tell: puts a line into a job's log.
        """
        self._postponed = postponed
        self._line = line
        self._turn = asyncio.Lock()
        self._tell = tell
        self._inside = inside
        self._world = world
        self._bus = bus
        self._carrier = carrier
        self._rules = rules

    async def on_event(self, envelope: EventEnvelope) -> None:
        """Send what an event calls for. Raises: BusUnavailable."""
        match envelope.body:
            case e.JobCancelled() | e.JobFailed():
                await self._stop_build(UUID(envelope.stream.partition("-")[2]))
            case e.ProgrammingStarted() | e.ResetStarted() | e.ResetSupplied() | e.RestoreStarted():
                fpga_id = int(envelope.stream.partition("-")[2])
                await self._program(fpga_id, envelope.body.epoch, envelope.correlation_id)
            case v.VerificationCancelled():
                await self._stop_stage(UUID(envelope.stream.partition("-")[2]))
            case _:
                pass
        if envelope.stream.startswith(("job-", "verification-")):
            self._line.see(envelope.stream, _wanted(self._world.state(envelope.stream)))
            await self._send_in_turn()

    async def send_all(self) -> int:
        """Send all outstanding work again; how much that was. Raises: BusUnavailable."""
        jobs = [j for j in self._world.open_jobs() if _to_build(j) and _wanted(j) is None]
        boards = [b for b in self._world.boards() if b.loading is not None]
        for job in sorted(jobs, key=lambda j: j.number):
            await self._build(job.job_id)
        for board in boards:
            await self._program(board.fpga_id, board.epoch, _correlation(self._world, board))
        stages = [j for j in self._world.open_verifications() if _wanted(j) is None]
        for verification in sorted(stages, key=lambda j: j.number):
            await self._stage(verification.job_id)
        self._line.clear()  # nothing of what was sent is in the builders' queue any more
        return len(jobs) + len(boards) + len(stages) + await self.line_up()

    async def line_up(self) -> int:
        """Gather what builders are to take and have not begun, and send what has its turn; how much waited for it.

        What an earlier leader sent of it may be sent again. Raises: BusUnavailable.
        """
        for job in self._world.open_jobs():
            self._line.see(job_stream(job.job_id), _wanted(job))
        for verification in self._world.open_verifications():
            self._line.see(verification_stream(verification.job_id), _wanted(verification))
        count = self._line.waiting
        await self._send_in_turn()
        return count

    async def run(self) -> None:
        """See to it that the builders' queue does not stand still, until cancelled. Raises: BusUnavailable."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._line.is_stalled():
                log.info("builders_queue_stands", waiting=self._line.waiting)
                await self._send_in_turn()

    async def _send_in_turn(self) -> None:
        """Send to the builders what has its turn."""
        async with self._turn:
            while (work := self._line.next(self._under_way)) is not None:
                send = self._stage if work.stream.startswith("verification-") else self._build
                sent = await send(UUID(work.stream.partition("-")[2]))
                self._line.take(work, in_queue=sent)

    def _under_way(self) -> Counter[str]:
        """How many builds and stages of each owner builders have begun."""
        begun = Counter(job.owner for job in self._world.timed_jobs())
        begun.update(job.owner for job in self._world.open_verifications() if job.deadline_at is not None)
        return begun

    async def _build(self, job_id: UUID) -> bool:
        """Send a build; False if it waits for room."""

        async def give_up(reason: str) -> None:
            job = self._world.job(job_id)
            if job is not None:
                failed = c.ReportBuildFailed(job_id=job_id, attempt=job.attempt, code=TRANSIT_FULL, message=reason)
                ident = derived(TRANSIT_FULL, job_id, job.version)
                await self._inside.carry_out(Due(ident, failed, job.correlation_id))

        job = self._world.job(job_id)
        if job is None:
            return True
        sent = await self._postponed.now_or_later(
            _build_name(job), partial(self._send_build, job_id), give_up, WORK_WAITS
        )
        if not sent:
            await self._tell(job, NO_ROOM)
        return sent

    async def _send_build(self, job_id: UUID) -> None:
        job = self._world.job(job_id)
        if job is None or not _to_build(job):
            return
        assert job.source_digest is not None and job.filename is not None and job.profile is not None
        try:
            await self._carrier.provide(job.source_digest)
        except BlobUnavailable as error:
            failed = c.ReportBuildFailed(job_id=job_id, attempt=job.attempt, code=SOURCE_MISSING, message=str(error))
            await self._inside.carry_out(Due(derived(SOURCE_MISSING, job_id, job.version), failed, job.correlation_id))
            return
        work = BuildWork(
            job_id=job_id,
            attempt=job.attempt,
            correlation_id=job.correlation_id,
            source_digest=job.source_digest,
            filename=job.filename,
            profile=job.profile,
            top=job.top,
            sys_clk_hz=job.sys_clk_hz,
            timing_target_mhz=job.timing_target_mhz,
        )
        await self._bus.publish_work(subjects.build_work(job.site), _build_name(job), work)
        log.info("build_dispatched", job_id=str(job_id), attempt=job.attempt)

    async def _stop_build(self, job_id: UUID) -> None:
        job = self._world.job(job_id)
        if job is not None and job.type is JobType.BUILD_AND_PROGRAM and job.bitstream is None:
            await self._bus.control(subjects.builders_control(job.site), BuildCancelled(job_id=job_id))

    async def _stage(self, job_id: UUID) -> bool:
        """Send the stage a job is at; False if it waits for room. Sent again, it is recognised by its name."""

        async def give_up(reason: str) -> None:
            job = self._world.verification(job_id)
            if job is not None and job.stage is not None:
                outcome = v.StageOutcome(status="error", code=TRANSIT_FULL, reason=reason)
                lost = v.ReportStageCompleted(job_id=job_id, stage=job.stage, attempt=job.attempt, outcome=outcome)
                await self._inside.carry_out(Due(derived(TRANSIT_FULL, job_id, job.version), lost, job.correlation_id))

        job = self._world.verification(job_id)
        if job is None:
            return True
        sent = await self._postponed.now_or_later(
            _stage_name(job), partial(self._send_stage, job_id), give_up, WORK_WAITS
        )
        if not sent:
            await self._tell(job, NO_ROOM)
        return sent

    async def _send_stage(self, job_id: UUID) -> None:
        job = self._world.verification(job_id)
        if job is None or job.stage is None:
            return
        try:
            await self._carrier.provide(job.files_digest)
            for digest in await self._carrier.files_of(job.files_digest):
                await self._carrier.provide(digest)
        except BlobUnavailable as error:
            outcome = v.StageOutcome(status="error", code=SOURCE_MISSING, reason=str(error))
            lost = v.ReportStageCompleted(job_id=job_id, stage=job.stage, attempt=job.attempt, outcome=outcome)
            await self._inside.carry_out(Due(derived(SOURCE_MISSING, job_id, job.version), lost, job.correlation_id))
            return
        work = StageWork(
            job_id=job_id,
            project_id=job.project_id,
            stage=job.stage,
            number=job.current,
            attempt=job.attempt,
            correlation_id=job.correlation_id,
            files_digest=job.files_digest,
            seed=job.seed,
            limit_s=self._rules.stage_limit.total_seconds(),
            config_overrides=job.config_overrides,
        )
        await self._bus.publish_work(subjects.build_work(job.site), _stage_name(job), work)
        log.info("stage_dispatched", job_id=str(job_id), stage=job.stage, attempt=job.attempt)

    async def _stop_stage(self, job_id: UUID) -> None:
        job = self._world.verification(job_id)
        if job is not None:
            await self._bus.control(subjects.builders_control(job.site), BuildCancelled(job_id=job_id))

    async def _program(self, fpga_id: int, epoch: int, correlation_id: UUID) -> None:
        async def give_up(reason: str) -> None:
            lost = c.ReportProgramFailed(fpga_id=fpga_id, epoch=epoch, code=TRANSIT_FULL, message=reason)
            await self._inside.carry_out(Due(derived(TRANSIT_FULL, fpga_id, epoch), lost, correlation_id))

        send = partial(self._send_program, fpga_id, epoch, correlation_id)
        await self._postponed.now_or_later(_load_name(fpga_id, epoch), send, give_up, LOAD_WAITS)

    async def _send_program(self, fpga_id: int, epoch: int, correlation_id: UUID) -> None:
        board = self._world.board(fpga_id)
        if board is None or board.epoch != epoch or board.loading is None or board.loading.bitstream is None:
            return
        bitstream = board.loading.bitstream
        try:
            await self._carrier.provide(bitstream.digest)
        except BlobUnavailable as error:
            lost = c.ReportProgramFailed(fpga_id=fpga_id, epoch=epoch, code=BITSTREAM_MISSING, message=str(error))
            await self._inside.carry_out(Due(derived(BITSTREAM_MISSING, fpga_id, epoch), lost, correlation_id))
            return
        session_id = board.loading.session_id
        work = ProgramWork(
            fpga_id=fpga_id,
            board_key=board.board_key,
            epoch=epoch,
            correlation_id=correlation_id,
            bitstream=bitstream,
            deadline_at=board.loading.deadline_at,
            session_id=session_id,
            session_ttl_s=self._rules.session_ttl.total_seconds() if session_id else 0.0,
        )
        subject = subjects.agent_work(board.site, board.agent_id)
        await self._bus.publish_work(subject, _load_name(fpga_id, epoch), work)
        log.info("load_dispatched", fpga_id=fpga_id, epoch=epoch, agent_id=board.agent_id)


# Work has the same name whenever it is sent: NATS knows a repetition by it, and what waits is found by it.


def _build_name(job: Job) -> str:
    return f"build-{job.job_id}-{job.attempt}"


def _stage_name(job: Verification) -> str:
    return f"stage-{job.job_id}-{job.current}-{job.attempt}"


def _load_name(fpga_id: int, epoch: int) -> str:
    return f"program-{fpga_id}-{epoch}"


def _wanted(state: State | None) -> Wanted | None:
    """What a builder is to take for a job and has not begun."""
    match state:
        case Job(state=JobState.QUEUED) if _to_build(state):
            stream, name = job_stream(state.job_id), _build_name(state)
            return Wanted(name, stream, state.site, state.owner, state.priority, state.number)
        case Verification(starts=0) if state.stage is not None:
            stream, name = verification_stream(state.job_id), _stage_name(state)
            return Wanted(name, stream, state.site, state.owner, 0, state.number)
    return None


def _to_build(job: Job) -> bool:
    return job.type is JobType.BUILD_AND_PROGRAM and job.state in {JobState.QUEUED, JobState.BUILDING}


def _correlation(world: World, board: Board) -> UUID:
    """What the load under way belongs to, as far as it is known."""
    job_id = board.claim.job_id if board.claim else board.reset.job_id if board.reset else None
    job_id = job_id or (board.session.job_id if board.session else None)
    job = world.job(job_id) if job_id else None
    return job.correlation_id if job else UUID(int=0)
