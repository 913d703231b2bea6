"""Carry out one piece of build work: fetch the source, build, store the bitstream, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import structlog

from lutlab_builder.app.ports import Artifacts, LogSink, Stage
from lutlab_builder.app.run_build import Builder, Built
from lutlab_builder.app.story import Outlet, Story
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_events.values import BitstreamRef
from lutlab_events.work import BuildWork

log = structlog.get_logger(__name__)

DELIVERIES_MAX = 5
"""So often is work tried again that failed through no fault of the design."""
RETRY_WAIT_S = 5.0
HOST_REST_S = 2 * RETRY_WAIT_S
"""A host that cannot do work takes none for so long: it fails at once, so it would be free for all that there is."""


class SourceMissing(LookupError):
    """The uploaded source is not in the blob store (now)."""


class NoRoom(Exception):
    """NATS had no room for a blob, however long it was tried."""


class Blobs(Protocol):
    """Where sources come from and bitstreams go."""

    async def get(self, digest: str) -> bytes:
        """A blob. Raises: SourceMissing."""
        ...

    async def put(self, data: bytes) -> None:
        """Store a blob; returns once it is safe, however long NATS is away. Raises: NoRoom."""
        ...


class Reports(Protocol):
    """Commands to the scheduler. All but `started` return once they are safe, however long that takes."""

    async def started(self, work: BuildWork, delivery: int) -> bool:
        """This builder took the work; False if nobody wants it any more."""
        ...

    async def succeeded(self, work: BuildWork, bitstream: BitstreamRef, report: dict[str, Any], cached: bool) -> None:
        """The bitstream is in the blob store."""
        ...

    async def failed(self, work: BuildWork, failure: BuildFailure) -> None:
        """There is no bitstream, and why."""
        ...

    async def base_built(self, profile: str, bitstream: BitstreamRef) -> None:
        """The base design of a profile is in the blob store."""
        ...


@dataclass(frozen=True)
class Later:
    """The work could not be done now, through no fault of the design: deliver it again after `wait_s`.

    Attributes:
        rest_s: how long the slot that it was in stays empty, for others to take the work.
    """

    wait_s: float
    rest_s: float = 0.0


HOST_FAILED = Later(RETRY_WAIT_S, HOST_REST_S)
"""It is this host's fault; another builder's may do."""


class BuildService:
    """Carries out build work and keeps the base designs in the blob store."""

    def __init__(
        self,
        *,
        builder: Builder,
        blobs: Blobs,
        reports: Reports,
        outlet: Callable[[BuildWork, int], Outlet[Stage]],
    ) -> None:
        """
        Args:
            outlet: where the story of a delivery of work goes.
        """
        self._builder = builder
        self._blobs = blobs
        self._reports = reports
        self._outlet = outlet

    async def handle(self, work: BuildWork, delivery: int) -> Later | None:
        """Carry out work that was delivered for the `delivery`-th time (from 1); None when it is done with.

        Cancelling kills the build; nothing is reported then.
        """
        if not await self._reports.started(work, delivery):
            log.info("build_unwanted", job_id=str(work.job_id), attempt=work.attempt)
            return None
        started = time.monotonic()
        story = Story(self._outlet(work, delivery))
        try:
            return await self._tell(work, delivery, story, started)
        finally:
            await story.abandon()

    async def _tell(self, work: BuildWork, delivery: int, story: Story[Stage], started: float) -> Later | None:
        try:
            built = await self._build(work, story)
        except SourceMissing as missing:
            if delivery < DELIVERIES_MAX:
                return Later(RETRY_WAIT_S)
            await self._fail(work, BuildFailure(Code.SOURCE_MISSING, str(missing)), story, started)
        except BuildFailure as failure:
            # A sandbox that does not start is this host's fault; another builder may have one.
            if failure.code is Code.SANDBOX_UNAVAILABLE and delivery < DELIVERIES_MAX:
                log.error("sandbox_failed", job_id=str(work.job_id), message=failure.message)
                return HOST_FAILED
            await self._fail(work, failure, story, started)
        else:
            try:
                await self._blobs.put(built.artifacts.bitstream)
            except NoRoom as error:
                await self._fail(work, BuildFailure(Code.TRANSIT_FULL, str(error)), story, started)
                return None
            await story.close()
            report = msgspec.to_builtins(built.artifacts.report)
            await self._reports.succeeded(work, bitstream_ref(built.artifacts), report, built.cached)
            self._log_end("build_succeeded", work, started, cached=built.cached)
        return None

    async def _build(self, work: BuildWork, sink: LogSink) -> Built:
        options = Options(
            profile=work.profile,
            sys_clk_hz=work.sys_clk_hz,
            top=work.top,
            timing_target_mhz=work.timing_target_mhz,
        )
        source = await self._blobs.get(work.source_digest)
        return await self._builder.build(BuildRequest(work.filename, source, options), sink)

    async def _fail(self, work: BuildWork, failure: BuildFailure, story: Story[Stage], started: float) -> None:
        stage = Stage(failure.stage) if failure.stage else Stage.ELABORATE
        story.line(stage, f"error: {failure.code}: {failure.message}")
        await story.close()
        await self._reports.failed(work, failure)
        self._log_end("build_failed", work, started, code=str(failure.code), stage=failure.stage)

    def _log_end(self, event: str, work: BuildWork, started: float, **fields: object) -> None:
        seconds = round(time.monotonic() - started, 3)
        log.info(event, job_id=str(work.job_id), attempt=work.attempt, seconds=seconds, **fields)

    async def crashed(self, work: BuildWork, delivery: int, error: Exception) -> Later | None:
        """The builder itself failed on this work, not the design: try again, but not for ever."""
        if delivery < DELIVERIES_MAX:
            return HOST_FAILED
        await self._reports.failed(work, BuildFailure(Code.INTERNAL_ERROR, f"the builder failed: {error!r}"))
        return None

    async def provide_base(self, profile: str, sink: LogSink) -> None:
        """Build the base design of a profile if need be, store it and report it. Raises: BuildFailure."""
        built = await self._builder.build_base(profile, sink)
        try:
            await self._blobs.put(built.artifacts.bitstream)
        except NoRoom as error:
            raise BuildFailure(Code.TRANSIT_FULL, str(error)) from error
        await self._reports.base_built(profile, bitstream_ref(built.artifacts))
        log.info("base_provided", profile=profile, cached=built.cached)


def bitstream_ref(artifacts: Artifacts) -> BitstreamRef:
    """What an agent must know of a bitstream."""
    report = artifacts.report
    return BitstreamRef(
        digest=report.bitstream_digest,
        size_bytes=report.bitstream_bytes,
        build_key=report.build_key,
        build_id=report.build_id,
        profile=report.profile,
        clk_hz=report.clk_hz,
        baud=report.baud,
        address_words=report.address_words,
    )
