"""Job logs on their way into Postgres, with a limit for each job."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from lutlab_events.verification import LOG_ATTEMPTS_PER_STAGE
from lutlab_events.work import LogChunk
from lutlab_scheduler.app.ports import LogStore
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.verification import Verification

JOBS_REMEMBERED_MAX = 1024


def note_of(job: Job | Verification, line: str, at: datetime) -> LogChunk:
    """A line of the scheduler's own in a job's log, once a build or stage: as attempt 0, for builders count from 1."""
    if isinstance(job, Verification):
        attempt, stage, level = job.current * LOG_ATTEMPTS_PER_STAGE, job.stage or "", "WARNING"
        return LogChunk(job_id=job.job_id, attempt=attempt, seq=0, stage=stage, lines=(line,), at=at, level=level)
    return LogChunk(job_id=job.job_id, attempt=0, seq=0, stage="queue", lines=(line,), at=at)


class LogIngest:
    """Stores chunks until a job's log is full; then a line says so, and the rest is dropped."""

    def __init__(self, store: LogStore, *, bytes_max: int) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._bytes: OrderedDict[UUID, int] = OrderedDict()

    async def take(self, chunks: Sequence[LogChunk]) -> None:
        """Store what fits. Repeated chunks may count twice towards the limit. Raises: StoreUnavailable."""
        fitting = [fit for chunk in chunks if (fit := await self._fit(chunk)) is not None]
        if fitting:
            await self._store.add_logs(fitting)

    async def _fit(self, chunk: LogChunk) -> LogChunk | None:
        stored = await self._stored(chunk.job_id)
        if stored >= self._bytes_max:
            return None
        lines = tuple(line.replace("\0", "\ufffd") for line in chunk.lines)
        size = sum(len(line.encode()) + 1 for line in lines)
        self._bytes[chunk.job_id] = stored + size
        if stored + size <= self._bytes_max:
            return msgspec.structs.replace(chunk, lines=lines)
        self._bytes[chunk.job_id] = self._bytes_max
        return msgspec.structs.replace(chunk, lines=self._cut(lines, self._bytes_max - stored))

    def _cut(self, lines: tuple[str, ...], room_bytes: int) -> tuple[str, ...]:
        kept: list[str] = []
        for line in lines:
            room_bytes -= len(line.encode()) + 1
            if room_bytes < 0:
                break
            kept.append(line)
        return (*kept, f"[lutlab] the log is cut here: it is longer than {self._bytes_max} bytes")

    async def _stored(self, job_id: UUID) -> int:
        if job_id not in self._bytes:
            self._bytes[job_id] = await self._store.log_bytes(job_id)
        self._bytes.move_to_end(job_id)
        while len(self._bytes) > JOBS_REMEMBERED_MAX:
            self._bytes.popitem(last=False)
        return self._bytes[job_id]
