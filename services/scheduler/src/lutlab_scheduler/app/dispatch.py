"""The dispatcher: work for builders and agents, derived from the log and checked against the present.

Work that is overtaken (a cancelled job, a newer epoch) is not sent. What is sent is named after the attempt or the
epoch, so sending it twice is harmless. If NATS lost its streams, everything outstanding is sent again. Work whose
source or bitstream is nowhere to be found fails, and work that NATS has no room for waits (`app.postponed`): neither
must hold up the work behind it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import msgspec
import structlog

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events import subjects
from lutlab_events import verification as v
from lutlab_events.envelope import EventEnvelope
from lutlab_events.ids import derived
from lutlab_events.values import JobType
from lutlab_events.work import BuildCancelled, BuildWork, ProgramWork, StageWork
from lutlab_scheduler.app.inside import Inside
from lutlab_scheduler.app.ports import Archive, Blobs, BlobUnavailable, Bus
from lutlab_scheduler.app.postponed import LOAD_WAITS, WORK_WAITS, Postponed
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job, JobState
from lutlab_scheduler.domain.outcome import Rules
from lutlab_scheduler.domain.policies import Due
from lutlab_scheduler.domain.verification import Verification

log = structlog.get_logger(__name__)

KNOWN_BLOBS_MAX = 16_384
KNOWN_FILE_SETS_MAX = 256
SOURCE_MISSING = "source_missing"
TRANSIT_FULL = "transit_full"
"""NATS had no room for what a build, a stage or a load needs, for too long."""
BITSTREAM_MISSING = "bitstream_missing"
NO_ROOM = "[lutlab] waits: the lab's message bus has no room for it now"


class Carrier:
    """Makes sure that a blob is in NATS before work that needs it is sent."""

    def __init__(self, archive: Archive, blobs: Blobs) -> None:
        self._archive = archive
        self._blobs = blobs
        self._known: OrderedDict[str, None] = OrderedDict()
        self._file_sets: OrderedDict[str, list[str]] = OrderedDict()

    def forget(self) -> None:
        """NATS may have lost its blobs."""
        self._known.clear()

    def knows(self, digest: str) -> bool:
        """Whether somebody may be sent to this blob in NATS."""
        return digest in self._known

    def note(self, digest: str) -> None:
        """This blob is in NATS."""
        self._known[digest] = None
        while len(self._known) > KNOWN_BLOBS_MAX:
            self._known.popitem(last=False)

    async def arriving(self, digests: set[str]) -> set[str]:
        """Those of these blobs in NATS that Postgres does not have yet: nobody could provide them again."""
        return digests - await self._archive.held(digests) if digests else set()

    async def provide(self, digest: str) -> None:
        """Put the blob from Postgres into NATS unless it is there.

        Raises:
            BusUnavailable: not now.
            BlobUnavailable: it is nowhere.
        """
        if digest in self._known:
            return
        if not await self._blobs.exists(digest):
            await self._blobs.put(await self._archive.get(digest))
        self.note(digest)

    async def files_of(self, files_digest: str) -> list[str]:
        """The digests of a file set's files. Raises: BlobUnavailable."""
        if files_digest not in self._file_sets:
            files = msgspec.json.decode(await self._archive.get(files_digest), type=dict[str, v.FileRef])
            self._file_sets[files_digest] = sorted({file.digest for file in files.values()})
            while len(self._file_sets) > KNOWN_FILE_SETS_MAX:
                self._file_sets.popitem(last=False)
        return self._file_sets[files_digest]


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
        tell: Callable[[Job | Verification, str], Awaitable[None]],
    ) -> None:
        """
        Args:
            postponed: where work waits that NATS has no room for.
            tell: puts a line into a job's log.
        """
        self._postponed = postponed
        self._tell = tell
        self._inside = inside
        self._world = world
        self._bus = bus
        self._carrier = carrier
        self._rules = rules

    async def on_event(self, envelope: EventEnvelope) -> None:
        """Send what an event calls for. Raises: BusUnavailable."""
        match envelope.body:
            case e.JobSubmitted(job_id=job_id, job_type=JobType.BUILD_AND_PROGRAM):
                await self._build(job_id, envelope.correlation_id)
            case e.BuildRetried():
                await self._build(UUID(envelope.stream.partition("-")[2]), envelope.correlation_id)
            case e.JobCancelled() | e.JobFailed():
                await self._stop_build(UUID(envelope.stream.partition("-")[2]))
            case e.ProgrammingStarted() | e.ResetStarted() | e.ResetSupplied() | e.RestoreStarted():
                fpga_id = int(envelope.stream.partition("-")[2])
                await self._program(fpga_id, envelope.body.epoch, envelope.correlation_id)
            case v.VerificationSubmitted() | v.StageCompleted() | v.StageRetried():
                await self._stage(UUID(envelope.stream.partition("-")[2]), envelope.correlation_id)
            case v.VerificationCancelled():
                await self._stop_stage(UUID(envelope.stream.partition("-")[2]))
            case _:
                pass

    async def send_all(self) -> int:
        """Send all outstanding work again; how much that was. Raises: BusUnavailable."""
        jobs = [j for j in self._world.open_jobs() if _to_build(j)]
        boards = [b for b in self._world.boards() if b.loading is not None]
        for job in sorted(jobs, key=lambda j: j.number):
            await self._build(job.job_id, job.correlation_id)
        for board in boards:
            await self._program(board.fpga_id, board.epoch, _correlation(self._world, board))
        verifications = sorted(self._world.open_verifications(), key=lambda j: j.number)
        for verification in verifications:
            await self._stage(verification.job_id, verification.correlation_id)
        return len(jobs) + len(boards) + len(verifications)

    async def _build(self, job_id: UUID, correlation_id: UUID) -> None:
        async def give_up(reason: str) -> None:
            job = self._world.job(job_id)
            if job is not None:
                failed = c.ReportBuildFailed(job_id=job_id, attempt=job.attempt, code=TRANSIT_FULL, message=reason)
                await self._inside.carry_out(Due(derived(TRANSIT_FULL, job_id, job.version), failed, correlation_id))

        job = self._world.job(job_id)
        if job is None:
            return
        send = partial(self._send_build, job_id, correlation_id)
        if not await self._postponed.now_or_later(_build_name(job), send, give_up, WORK_WAITS):
            await self._tell(job, NO_ROOM)

    async def _send_build(self, job_id: UUID, correlation_id: UUID) -> None:
        job = self._world.job(job_id)
        if job is None or not _to_build(job):
            return
        assert job.source_digest is not None and job.filename is not None and job.profile is not None
        try:
            await self._carrier.provide(job.source_digest)
        except BlobUnavailable as error:
            failed = c.ReportBuildFailed(job_id=job_id, attempt=job.attempt, code=SOURCE_MISSING, message=str(error))
            await self._inside.carry_out(Due(derived(SOURCE_MISSING, job_id, job.version), failed, correlation_id))
            return
        work = BuildWork(
            job_id=job_id,
            attempt=job.attempt,
            correlation_id=correlation_id,
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

    async def _stage(self, job_id: UUID, correlation_id: UUID) -> None:
        """Send the stage a job is at; sent again when it was sent already, it is recognised by its name."""

        async def give_up(reason: str) -> None:
            job = self._world.verification(job_id)
            if job is not None and job.stage is not None:
                outcome = v.StageOutcome(status="error", code=TRANSIT_FULL, reason=reason)
                lost = v.ReportStageCompleted(job_id=job_id, stage=job.stage, attempt=job.attempt, outcome=outcome)
                await self._inside.carry_out(Due(derived(TRANSIT_FULL, job_id, job.version), lost, correlation_id))

        job = self._world.verification(job_id)
        if job is None:
            return
        send = partial(self._send_stage, job_id, correlation_id)
        if not await self._postponed.now_or_later(_stage_name(job), send, give_up, WORK_WAITS):
            await self._tell(job, NO_ROOM)

    async def _send_stage(self, job_id: UUID, correlation_id: UUID) -> None:
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
            await self._inside.carry_out(Due(derived(SOURCE_MISSING, job_id, job.version), lost, correlation_id))
            return
        work = StageWork(
            job_id=job_id,
            project_id=job.project_id,
            stage=job.stage,
            number=job.current,
            attempt=job.attempt,
            correlation_id=correlation_id,
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


def _to_build(job: Job) -> bool:
    return job.type is JobType.BUILD_AND_PROGRAM and job.state in {JobState.QUEUED, JobState.BUILDING}


def _correlation(world: World, board: Board) -> UUID:
    """What the load under way belongs to, as far as it is known."""
    job_id = board.claim.job_id if board.claim else board.reset.job_id if board.reset else None
    job_id = job_id or (board.session.job_id if board.session else None)
    job = world.job(job_id) if job_id else None
    return job.correlation_id if job else UUID(int=0)
