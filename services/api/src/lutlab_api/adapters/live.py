"""What builders say now and nobody keeps: progress of stages, and which tools there are. Port `Live` over NATS."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_api.app.ports import Monotonic
from lutlab_events import codec, subjects
from lutlab_events.work import BuilderHeartbeat, StageProgress

log = structlog.get_logger(__name__)

PENDING_MAX = 16_384
JOBS_MAX = 4096
BUILDERS_MAX = 1000
BUILDER_GONE_S = 12.0
"""A builder that was not heard of for so long is taken to be gone."""


class NatsLive:
    """Remembers the latest of each job and each builder."""

    def __init__(self, *, site: str, monotonic: Monotonic) -> None:
        self._site = site
        self._monotonic = monotonic
        self._progress: OrderedDict[UUID, StageProgress] = OrderedDict()
        self._builders: OrderedDict[str, tuple[float, BuilderHeartbeat]] = OrderedDict()
        self._watchers: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)

    async def subscribe(self, client: Client) -> None:
        """Listen on a connection; it goes on after it was interrupted."""
        with contextlib.suppress(nats.errors.Error):
            await client.subscribe(subjects.live(self._site), cb=self._on_progress, pending_msgs_limit=PENDING_MAX)
            await client.subscribe(subjects.builder_heartbeat(self._site, "*"), cb=self._on_beat)

    async def _on_progress(self, message: Msg) -> None:
        try:
            told = codec.decode_progress(message.data)
        except codec.Undecodable as error:
            log.warning("progress_ignored", reason=str(error))
            return
        self._progress[told.job_id] = told
        self._progress.move_to_end(told.job_id)
        if len(self._progress) > JOBS_MAX:
            self._progress.popitem(last=False)
        for watcher in self._watchers.get(told.job_id, ()):
            watcher.set()

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat = codec.decode_builder_heartbeat(message.data)
        except codec.Undecodable as error:
            log.warning("heartbeat_ignored", reason=str(error))
            return
        self._builders[beat.builder_id] = (self._monotonic(), beat)
        self._builders.move_to_end(beat.builder_id)
        if len(self._builders) > BUILDERS_MAX:
            self._builders.popitem(last=False)

    def progress(self, job_id: UUID) -> StageProgress | None:
        """The latest of a job."""
        return self._progress.get(job_id)

    def builders(self) -> Sequence[BuilderHeartbeat]:
        """Builders heard of lately."""
        now = self._monotonic()
        return [beat for heard, beat in self._builders.values() if now - heard <= BUILDER_GONE_S]

    @contextmanager
    def watch(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever progress of a job is told."""
        watcher = asyncio.Event()
        self._watchers[job_id].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]
