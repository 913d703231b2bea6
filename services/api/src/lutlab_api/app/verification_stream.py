"""A verification job as it runs, as the contract's messages: `log`, `progress`, `stage_complete`, `job_complete`.

Each message but `progress` has an `after`: connecting again with the last one goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from lutlab_api.app.follow import Follower
from lutlab_api.app.job_stream import Cursor
from lutlab_api.app.ports import Changes
from lutlab_api.app.verification_ports import Live, VerificationStore
from lutlab_api.domain.verification import StageLine, VerificationView
from lutlab_events.verification import verification_stream
from lutlab_events.work import StageProgress

PIECES_MAX = 200
LOOK_EVERY_S = 0.25
SETTLE_LOOKS = 2
"""Looks after the end: the last lines may be stored a moment later than the end itself."""

Told = dict[str, Any]


class VerificationStreams:
    """Follows verification jobs. `Cursor.version` counts the stages that were told complete."""

    def __init__(self, store: VerificationStore, changes: Changes, live: Live, follower: Follower) -> None:
        self._store = store
        self._changes = changes
        self._live = live
        self._follower = follower

    async def follow(self, job_id: UUID, cursor: Cursor) -> AsyncIterator[Told]:
        """Messages until the job has ended or the server stops. Raises: Unavailable."""
        settling, told_progress = 0, None
        with self._changes.watch(verification_stream(job_id)) as news, self._live.watch(job_id) as moved:
            while not self._follower.closing:
                news.clear()
                moved.clear()
                job = await self._store.verification(job_id)
                assert job is not None, "jobs are never deleted"
                pieces = await self._store.lines(job_id, cursor.attempt, cursor.seq, PIECES_MAX)
                for piece in pieces:
                    for place, told in _lines(piece, cursor):
                        cursor = place
                        yield told
                progress = self._live.progress(job_id)
                if progress is not None and progress != told_progress and not job.ended:
                    told_progress = progress
                    yield progress_message(progress)
                if len(pieces) == PIECES_MAX:
                    continue
                # What a stage logged may be stored a moment after its end: its end is told when the log is quiet.
                settling = settling + 1 if len(ended_stages(job)) > cursor.version or job.ended else 0
                if settling >= SETTLE_LOOKS:
                    for stage in ended_stages(job)[cursor.version :]:
                        cursor = replace(cursor, version=cursor.version + 1)
                        yield stage_message(job, stage) | {"after": str(cursor)}
                    if job.ended:
                        yield end_message(job) | {"after": str(cursor)}
                        return
                    settling = 0
                await _news(news, moved, 0.02 if settling else LOOK_EVERY_S)


async def _news(news: asyncio.Event, moved: asyncio.Event, wait_s: float) -> None:
    """Wait until something happened, at most `wait_s`."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (news, moved)]
    try:
        await asyncio.wait(waiting, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting, return_exceptions=True)


def ended_stages(job: VerificationView) -> list[str]:
    """The stages that have an outcome, in their order."""
    return [record.stage for record in job.records if record.outcome is not None]


def progress_message(progress: StageProgress) -> Told:
    """How far a stage is; the names of the numbers are those of what it counts."""
    return {
        "type": "progress",
        "stage": progress.stage,
        f"{progress.unit}_complete": progress.done,
        f"{progress.unit}_total": progress.total,
    }


def stage_message(job: VerificationView, stage: str) -> Told:
    """A stage has its outcome."""
    told: Told = {"type": "stage_complete", "stage": stage, "status": job.stage_status(stage)}
    outcome = job.outcome(stage)
    return told if outcome is None or outcome.reason is None else told | {"message": outcome.reason}


def end_message(job: VerificationView) -> Told:
    """The job has ended."""
    told: Told = {"type": "job_complete", "status": job.status.value}
    return told if job.error_code is None else told | {"code": job.error_code, "message": job.error_message}


def _lines(piece: StageLine, cursor: Cursor) -> Iterator[tuple[Cursor, Told]]:
    """The lines of a piece that were not told yet."""
    begun = (piece.attempt, piece.seq) == (cursor.attempt, cursor.seq)
    stamp = piece.at.isoformat().replace("+00:00", "Z")
    for number, line in enumerate(piece.text.splitlines(), 1):
        if begun and number <= cursor.lines:
            continue
        at = Cursor(piece.attempt, piece.seq, number, cursor.version)
        yield (
            at,
            {
                "type": "log",
                "stage": piece.stage,
                "level": piece.level or "INFO",
                "message": line,
                "timestamp": stamp,
                "after": str(at),
            },
        )
