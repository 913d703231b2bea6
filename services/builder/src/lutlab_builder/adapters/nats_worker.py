"""The builders' work queue: fetches build work, keeps it alive while it is built, acknowledges it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_builder.adapters.nats_io import NATS_ERRORS, RETRY_WAITS_S
from lutlab_builder.app.do_work import BuildService, Later
from lutlab_builder.app.ports import Stage
from lutlab_builder.domain.errors import BuildFailure
from lutlab_events import codec, subjects
from lutlab_events.work import BuildCancelled, BuilderHeartbeat, BuildWork, StageWork, ToolReport
from lutlab_transport.metrics import Sample, handling
from lutlab_transport.pull import Pull
from lutlab_transport.streams import ensure_consumer
from lutlab_transport.work import bury, keep_alive

log = structlog.get_logger(__name__)

IN_PROGRESS_S = subjects.BUILD_ACK_WAIT_S / 3
BUILDS_IN_HAND_MAX = 1000
"""Work that all builders of a site together may have in hand; each one takes no more than its own slots."""
BASE_RETRY_S = 60.0
CANCELLED_REMEMBERED_MAX = 1000
BEAT_S = 3.0
"""How often a builder says that it is alive."""


Job = BuildWork | StageWork
W_contra = TypeVar("W_contra", contravariant=True)


class Service(Protocol[W_contra]):
    """Carries out one kind of work."""

    async def handle(self, work: W_contra, delivery: int) -> Later | None:
        """Carry out work that was delivered for the `delivery`-th time; None when it is done with."""
        ...

    async def crashed(self, work: W_contra, delivery: int, error: Exception) -> Later | None:
        """The builder itself failed on this work."""
        ...


class BuildQueue:
    """One builder on the site's shared durable consumer of the WORK stream."""

    def __init__(
        self,
        nc: Client,
        service: Service[BuildWork],
        *,
        site: str,
        slots: int,
        stages: Service[StageWork] | None = None,
    ) -> None:
        """
        Args:
            slots: builds and stages at once.
            stages: carries out stages of verification jobs; None for a builder that does not.
        """
        self._nc = nc
        self._js = nc.jetstream()
        self._service = service
        self._stages = stages
        self._site = site
        self._slots = asyncio.Semaphore(slots)
        self._builds: defaultdict[UUID, set[asyncio.Task[Later | None]]] = defaultdict(set)
        """By job: after a time without NATS the same work may come again while it is in hand."""
        self._in_hand: set[asyncio.Task[None]] = set()
        self._cancelled: dict[UUID, None] = {}

    async def run(self) -> None:
        """Fetch for ever, through restarts of NATS and before the scheduler has made the stream; cancel it to stop."""
        await self._nc.subscribe(subjects.builders_control(self._site), cb=self._on_control)
        failures = 0
        while True:
            try:
                async with (await self._pull()).open() as pull:
                    failures = 0
                    await self._fetch(pull)
            except NATS_ERRORS as error:
                wait_s = RETRY_WAITS_S[min(failures, len(RETRY_WAITS_S) - 1)]
                failures += 1
                log.warning("work_queue_unavailable", error=repr(error), wait_s=wait_s)
                await asyncio.sleep(wait_s)

    def gauges(self) -> Iterator[Sample]:
        """How busy this builder is."""
        yield Sample("lutlab_builds_in_hand", sum(map(len, self._builds.values())), help="builds that run here now")

    async def stop(self) -> None:
        """Kill the builds in hand and give their work back at once, for another builder."""
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _pull(self) -> Pull:
        durable = subjects.builder_durable(self._site)
        await ensure_consumer(
            self._js,
            stream=subjects.WORK.name,
            durable=durable,
            subject=subjects.build_work(self._site),
            ack_wait_s=subjects.BUILD_ACK_WAIT_S,
            max_ack_pending=BUILDS_IN_HAND_MAX,
        )
        # One at a time: work that waits here for a slot could be built elsewhere.
        return Pull(self._nc, stream=subjects.WORK.name, durable=durable, batch_max=1)

    async def _fetch(self, pull: Pull) -> None:
        """Take messages until the consumer fails."""
        log.info("work_queue_bound", site=self._site)
        while True:
            await self._slots.acquire()
            messages: list[Msg] = []
            try:
                messages = await pull.batch()
            finally:
                if not messages:
                    self._slots.release()
            for message in messages:
                task = asyncio.create_task(self._in_slot(message))
                self._in_hand.add(task)
                task.add_done_callback(self._in_hand.discard)

    async def _in_slot(self, message: Msg) -> None:
        try:
            await asyncio.sleep(await self._handle(message))
        finally:
            self._slots.release()

    async def _handle(self, message: Msg) -> float:
        """Carry out a message; for how many seconds its slot then stays empty."""
        try:
            work = codec.decode_work(message.data)
        except codec.Undecodable as error:
            log.error("work_undecodable", error=str(error))
            await bury(self._js, self._site, message)
            return 0.0
        if not isinstance(work, BuildWork) and not (isinstance(work, StageWork) and self._stages is not None):
            log.error("work_unexpected", kind=type(work).__name__)
            await bury(self._js, self._site, message)
            return 0.0
        alive = asyncio.create_task(keep_alive(message, every_s=IN_PROGRESS_S))
        try:
            with handling(
                "build", headers=message.headers, trace=work.correlation_id, job_id=str(work.job_id)
            ) as handled:
                outcome = await self._build(work, message.metadata.num_delivered)
                handled.outcome = "postponed" if outcome else "done"
            await self._settle(message, outcome)
            return outcome.rest_s if outcome else 0.0
        except asyncio.CancelledError:
            await self._settle(message, Later(0.0))
            raise
        finally:
            alive.cancel()

    @property
    def busy(self) -> int:
        """How much work is in hand."""
        return len(self._in_hand)

    async def _carry_out(self, work: Job, delivery: int) -> Later | None:
        if isinstance(work, BuildWork):
            return await self._service.handle(work, delivery)
        assert self._stages is not None
        return await self._stages.handle(work, delivery)

    async def _crashed(self, work: Job, delivery: int, error: Exception) -> Later | None:
        if isinstance(work, BuildWork):
            return await self._service.crashed(work, delivery, error)
        assert self._stages is not None
        return await self._stages.crashed(work, delivery, error)

    async def _build(self, work: Job, delivery: int) -> Later | None:
        """Run the service, so that a control message can end it without ending this builder."""
        if work.job_id in self._cancelled:
            return None
        build = asyncio.create_task(self._carry_out(work, delivery))
        self._builds[work.job_id].add(build)
        try:
            return await build
        except asyncio.CancelledError:
            if work.job_id in self._cancelled:
                log.info("build_cancelled", job_id=str(work.job_id), attempt=work.attempt)
                return None
            build.cancel()
            await asyncio.gather(build, return_exceptions=True)
            raise
        except Exception as error:
            log.exception("build_crashed", job_id=str(work.job_id), attempt=work.attempt)
            return await self._crashed(work, delivery, error)
        finally:
            self._builds[work.job_id].discard(build)
            if not self._builds[work.job_id]:
                del self._builds[work.job_id]

    async def _settle(self, message: Msg, outcome: Later | None) -> None:
        try:
            if outcome is None:
                await message.ack()
            else:
                await message.nak(delay=outcome.wait_s or None)
        except NATS_ERRORS as error:
            log.warning("work_ack_lost", error=repr(error))  # it comes again, and is found built

    async def _on_control(self, message: Msg) -> None:
        try:
            control = codec.decode_control(message.data)
        except codec.Undecodable as error:
            log.warning("control_undecodable", error=str(error))
            return
        if not isinstance(control, BuildCancelled):
            return
        self._cancelled[control.job_id] = None
        while len(self._cancelled) > CANCELLED_REMEMBERED_MAX:
            del self._cancelled[next(iter(self._cancelled))]
        for build in self._builds.get(control.job_id, ()):
            build.cancel()


class _Unheard:
    """A LogSink for base designs, whose log nobody reads."""

    def stage(self, stage: Stage) -> None:
        """Nothing."""

    def line(self, stage: Stage, text: str) -> None:
        """Nothing."""


async def keep_bases(service: BuildService, profiles: Sequence[str], wanted: asyncio.Event) -> None:
    """Provide the base designs now and whenever `wanted` is set (NATS may have lost them); cancel it to stop."""
    while True:
        wanted.clear()
        failed = False
        for profile in profiles:
            try:
                await service.provide_base(profile, _Unheard())
            except BuildFailure as failure:
                failed = True
                log.error("base_failed", profile=profile, code=str(failure.code), message=failure.message)
            except Exception:
                # A full disk, say. Users' builds go on; the base design is tried again.
                failed = True
                log.exception("base_crashed", profile=profile)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BASE_RETRY_S if failed else None):
                await wanted.wait()


class Pulse:
    """Says every `BEAT_S` that this builder is alive, how busy it is, and which tools it has."""

    def __init__(self, nc: Client, queue: BuildQueue, *, site: str, builder_id: str, slots: int) -> None:
        self._nc = nc
        self._queue = queue
        self._subject = subjects.builder_heartbeat(site, builder_id)
        self._builder_id = builder_id
        self._slots = slots

    async def run(self, tools: Callable[[], Sequence[ToolReport]]) -> None:
        """Beat until cancelled; `tools` is asked once, in a thread."""
        found: tuple[ToolReport, ...] = ()
        try:
            found = tuple(await asyncio.to_thread(tools))
        except Exception:  # a tool that is installed by half, say: no reason to build nothing
            log.exception("tools_unknown")
        while True:
            message = BuilderHeartbeat(
                builder_id=self._builder_id, slots=self._slots, busy=self._queue.busy, tools=found
            )
            with contextlib.suppress(*NATS_ERRORS):
                await self._nc.publish(self._subject, codec.encode(message))
            await asyncio.sleep(BEAT_S)
