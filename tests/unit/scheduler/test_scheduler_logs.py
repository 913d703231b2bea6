"""The logs of jobs: cut where they get too long."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import scheduler_given as g

from lutlab_events.work import LogChunk
from lutlab_scheduler.app.logs import LogIngest


class MemoryLogs:
    def __init__(self) -> None:
        self.chunks: dict[tuple[UUID, int, int], LogChunk] = {}

    async def log_bytes(self, job_id: UUID) -> int:
        chunks = [chunk for key, chunk in self.chunks.items() if key[0] == job_id]
        return sum(len(line.encode()) + 1 for chunk in chunks for line in chunk.lines)

    async def add_logs(self, chunks: Sequence[LogChunk]) -> None:
        for chunk in chunks:
            self.chunks.setdefault((chunk.job_id, chunk.attempt, chunk.seq), chunk)


def chunk(seq: int, *lines: str, job_id: UUID = g.JOB) -> LogChunk:
    return LogChunk(job_id=job_id, attempt=1, seq=seq, stage="pack", lines=lines, at=g.T0)


async def test_a_log_is_cut_once_even_by_a_process_that_came_later() -> None:
    logs = MemoryLogs()
    ingest = LogIngest(logs, bytes_max=100)
    await ingest.take([chunk(0, "a" * 50), chunk(1, "é" * 20, "b" * 30), chunk(2, "more")])
    assert [c.lines for c in logs.chunks.values()] == [
        ("a" * 50,),
        ("é" * 20, "[lutlab] the log is cut here: it is longer than 100 bytes"),
    ]
    await LogIngest(logs, bytes_max=100).take([chunk(3, "even more"), chunk(0, "x", job_id=g.OTHER_JOB)])
    assert sorted(key[1:] for key in logs.chunks) == [(1, 0), (1, 0), (1, 1)]
