"""NATS as the builder uses it: sources in, bitstreams out, log chunks and reports out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError

from lutlab_builder.app.do_work import NoRoom, SourceMissing
from lutlab_builder.app.ports import Stage
from lutlab_builder.app.story import LinesRefused
from lutlab_builder.domain.errors import BuildFailure
from lutlab_events import codec, commands, subjects
from lutlab_events.ids import derived
from lutlab_events.rejections import Rejection
from lutlab_events.values import BitstreamRef
from lutlab_events.verification import LOG_ATTEMPTS_PER_STAGE, ReportStageCompleted, ReportStageStarted, StageOutcome
from lutlab_events.work import BuildWork, LogChunk, StageProgress, StageWork
from lutlab_transport import tracing
from lutlab_transport.blobs import BlobCorrupt, BlobMissing, BlobStore
from lutlab_transport.commands import Clock, CommandClient, CommandUnanswered
from lutlab_transport.room import is_no_room
from lutlab_verify.stage import Level

log = structlog.get_logger(__name__)

NATS_ERRORS = (nats.errors.Error, JetStreamError, OSError, TimeoutError)
RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
BLOB_TIMEOUT_S = 30.0
BLOB_BYTES_PER_S_MIN = 100_000
"""Of a site's line. A put that is given up leaves its part in NATS, and the next one begins anew."""
PUBLISH_TIMEOUT_S = 5.0
STARTED_TIMEOUT_S = 5.0
BLOB_ROOM_WAIT_S = 300.0
"""How long a blob waits for room in NATS, where the scheduler makes some every minute."""
LOG_ROOM_WAIT_S = 30.0
"""How long lines of a log wait for room; a log is not worth holding a build up."""
SEQ_PER_DELIVERY = 1_000_000
"""A build that another builder begins again numbers its chunks from here on, so that none is taken for a repetition."""
UNWANTED = frozenset({Rejection.STALE_ATTEMPT, Rejection.JOB_NOT_FOUND})
TERMINAL = frozenset({"failed", "cancelled", "complete"})

T = TypeVar("T")


async def insist(what: str, action: Callable[[], Awaitable[T]], *, room_wait_s: float) -> T:
    """Try until NATS lets it happen, however long it is away; cancel it to stop.

    Args:
        room_wait_s: how long to try while NATS is there and refuses for lack of room.

    Raises:
        NoRoom: it refused for so long.
        nats.errors.MaxPayloadError: it is larger than any message may be.
    """
    failures = 0
    refused_since: float | None = None
    while True:
        try:
            return await action()
        except nats.errors.MaxPayloadError:
            raise  # it would never fit
        except NATS_ERRORS as error:
            wait_s = RETRY_WAITS_S[min(failures, len(RETRY_WAITS_S) - 1)]
            now = asyncio.get_running_loop().time()
            refused_since = (refused_since or now) if is_no_room(error) else None
            if refused_since is not None and now - refused_since >= room_wait_s:
                log.error("nats_full", what=what, error=repr(error), waited_s=round(now - refused_since, 1))
                raise NoRoom(f"the lab's message bus had no room for {room_wait_s:g} s: {error}") from error
            failures += 1
            log.warning("nats_retried", what=what, error=repr(error), wait_s=wait_s)
            await asyncio.sleep(wait_s)


class NatsBlobs:
    """Port `Blobs` over NATS' object store."""

    def __init__(self, nc: Client) -> None:
        self._store = BlobStore(nc.jetstream())

    async def get(self, digest: str) -> bytes:
        """See `lutlab_builder.app.do_work.Blobs.get`."""
        try:
            async with asyncio.timeout(BLOB_TIMEOUT_S):
                return await self._store.get(digest)
        except (BlobMissing, BlobCorrupt, *NATS_ERRORS) as error:
            raise SourceMissing(f"the source {digest} cannot be fetched: {error!r}") from error

    async def put(self, data: bytes) -> None:
        """See `lutlab_builder.app.do_work.Blobs.put`."""

        async def once() -> None:
            async with asyncio.timeout(BLOB_TIMEOUT_S + len(data) / BLOB_BYTES_PER_S_MIN):
                await self._store.put(data)

        await insist("blob_put", once, room_wait_s=BLOB_ROOM_WAIT_S)


async def _publish_lines(js: JetStreamContext, subject: str, data: bytes, headers: dict[str, str]) -> None:
    """Some lines of a log. Raises: LinesRefused."""

    async def once() -> None:
        await js.publish(subject, data, timeout=PUBLISH_TIMEOUT_S, headers=headers)

    try:
        await insist("log_publish", once, room_wait_s=LOG_ROOM_WAIT_S)
    except (NoRoom, nats.errors.MaxPayloadError) as error:
        raise LinesRefused(str(error)) from error


class NatsOutlet:
    """Port `Outlet`: one delivery of work's log chunks, and its stages as commands."""

    def __init__(
        self, nc: Client, sender: CommandClient, work: BuildWork, delivery: int, *, site: str, clock: Clock
    ) -> None:
        self._js = nc.jetstream()
        self._sender = sender
        self._work = work
        self._clock = clock
        self._subject = subjects.log(site, work.job_id)
        self._seq = (delivery - 1) * SEQ_PER_DELIVERY

    async def lines(self, stage: Stage, lines: Sequence[str]) -> None:
        """See `lutlab_builder.app.story.Outlet.lines`."""
        work, seq = self._work, self._seq
        chunk = LogChunk(
            job_id=work.job_id,
            attempt=work.attempt,
            seq=seq,
            stage=str(stage),
            lines=tuple(lines),
            at=self._clock.now(),
        )
        headers = {"Nats-Msg-Id": f"{work.job_id}-{work.attempt}-{seq}"}
        await _publish_lines(self._js, self._subject, codec.encode(chunk), headers)
        self._seq += 1

    async def stage(self, stage: Stage) -> None:
        """See `lutlab_builder.app.story.Outlet.stage`."""
        work = self._work
        tracing.note("stage", stage=str(stage))
        body = commands.ReportBuildStage(job_id=work.job_id, attempt=work.attempt, stage=str(stage))
        ident = derived("build-stage", work.job_id, work.attempt, self._seq // SEQ_PER_DELIVERY, stage)
        await self._sender.send(body, command_id=ident, correlation_id=work.correlation_id)


class NatsStageOutlet:
    """Port `Outlet` for a delivery of a verification stage: log chunks by how important their lines are."""

    def __init__(self, nc: Client, work: StageWork, delivery: int, *, site: str, clock: Clock) -> None:
        self._js = nc.jetstream()
        self._work = work
        self._clock = clock
        self._subject = subjects.log(site, work.job_id)
        self._attempt = work.number * LOG_ATTEMPTS_PER_STAGE + work.attempt
        self._seq = (delivery - 1) * SEQ_PER_DELIVERY

    async def lines(self, stage: Level, lines: Sequence[str]) -> None:
        """See `lutlab_builder.app.story.Outlet.lines`."""
        work, seq = self._work, self._seq
        chunk = LogChunk(
            job_id=work.job_id,
            attempt=self._attempt,
            seq=seq,
            stage=work.stage,
            lines=tuple(lines),
            at=self._clock.now(),
            level=str(stage),
        )
        headers = {"Nats-Msg-Id": f"{work.job_id}-{self._attempt}-{seq}"}
        await _publish_lines(self._js, self._subject, codec.encode(chunk), headers)
        self._seq += 1

    async def stage(self, stage: Level) -> None:
        """A stage of verification is reported by its own commands."""


class NatsStageReports:
    """Ports `StageReports` and `Live`; each command has an id that a repetition has too."""

    def __init__(self, nc: Client, sender: CommandClient, *, site: str, builder_id: str) -> None:
        self._nc = nc
        self._sender = sender
        self._site = site
        self._builder_id = builder_id

    async def stage_started(self, work: StageWork, delivery: int) -> bool:
        """See `lutlab_builder.app.run_stage.StageReports.stage_started`."""
        body = ReportStageStarted(
            job_id=work.job_id, stage=work.stage, attempt=work.attempt, builder_id=self._builder_id
        )
        ident = derived("stage-started", work.job_id, work.stage, work.attempt, self._builder_id, delivery)
        try:
            answer = await self._sender.request(
                body, timeout_s=STARTED_TIMEOUT_S, command_id=ident, correlation_id=work.correlation_id
            )
        except CommandUnanswered:
            return True  # the scheduler is away: go on, it will be told
        wanted = (answer.data.get("stage", work.stage), answer.data.get("attempt", work.attempt))
        return answer.code not in UNWANTED and wanted == (work.stage, work.attempt)

    async def stage_completed(self, work: StageWork, outcome: StageOutcome) -> None:
        """See `lutlab_builder.app.run_stage.StageReports.stage_completed`."""
        body = ReportStageCompleted(job_id=work.job_id, stage=work.stage, attempt=work.attempt, outcome=outcome)
        ident = derived("stage-completed", work.job_id, work.stage, work.attempt, codec.encode(outcome))
        await self._sender.send(body, command_id=ident, correlation_id=work.correlation_id)

    async def progress(self, work: StageWork, done: int, total: int, unit: str) -> None:
        """See `lutlab_builder.app.run_stage.Live.progress`."""
        told = StageProgress(
            job_id=work.job_id, stage=work.stage, attempt=work.attempt, done=done, total=total, unit=unit
        )
        try:
            await self._nc.publish(subjects.live(self._site, work.job_id), codec.encode(told))
        except NATS_ERRORS as error:
            log.debug("progress_lost", error=repr(error))


class NatsReports:
    """Port `Reports` over commands to the scheduler; each has an id that a repetition has too."""

    def __init__(self, sender: CommandClient, *, builder_id: str) -> None:
        self._sender = sender
        self._builder_id = builder_id

    async def started(self, work: BuildWork, delivery: int) -> bool:
        """See `lutlab_builder.app.do_work.Reports.started`."""
        body = commands.ReportBuildStarted(job_id=work.job_id, attempt=work.attempt, builder_id=self._builder_id)
        ident = derived("build-started", work.job_id, work.attempt, self._builder_id, delivery)
        try:
            answer = await self._sender.request(
                body, timeout_s=STARTED_TIMEOUT_S, command_id=ident, correlation_id=work.correlation_id
            )
        except CommandUnanswered:
            return True  # the scheduler is away: build, it will be told
        return answer.code not in UNWANTED and answer.data.get("status") not in TERMINAL

    async def succeeded(self, work: BuildWork, bitstream: BitstreamRef, report: dict[str, Any], cached: bool) -> None:
        """See `lutlab_builder.app.do_work.Reports.succeeded`."""
        body = commands.ReportBuildSucceeded(
            job_id=work.job_id, attempt=work.attempt, bitstream=bitstream, report=report, cached=cached
        )
        ident = derived("build-succeeded", work.job_id, work.attempt, bitstream.digest)
        await self._sender.send(body, command_id=ident, correlation_id=work.correlation_id)

    async def failed(self, work: BuildWork, failure: BuildFailure) -> None:
        """See `lutlab_builder.app.do_work.Reports.failed`."""
        body = commands.ReportBuildFailed(
            job_id=work.job_id,
            attempt=work.attempt,
            code=str(failure.code),
            message=failure.message,
            stage=failure.stage,
        )
        ident = derived("build-failed", work.job_id, work.attempt, failure.code, failure.message)
        await self._sender.send(body, command_id=ident, correlation_id=work.correlation_id)

    async def base_built(self, profile: str, bitstream: BitstreamRef) -> None:
        """See `lutlab_builder.app.do_work.Reports.base_built`."""
        body = commands.ReportBaseBuilt(profile=profile, bitstream=bitstream)
        await self._sender.send(body, command_id=derived("base-built", profile, bitstream.digest))
