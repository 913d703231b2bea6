"""A job as it runs: its log line by line, its stages, its end, as the contract's messages, resumable at each."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from lutlab_api.app.follow import Follower, LogPiece, LogSource
from lutlab_api.app.ports import Changes, EventFilter, Ledger
from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.views import EventView
from lutlab_events.designs import BUILD_STAGES
from lutlab_events.ids import job_stream

PIECES_MAX = 200
EVENTS_MAX = 200
LOOK_EVERY_S = 0.25
SETTLE_LOOKS = 3
"""Looks after the end: the last lines may be stored a moment later than the end itself."""
CURSOR = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.(\d{1,9})")
ENDS = {"job.completed.v1": "passed", "job.failed.v1": "failed", "job.cancelled.v1": "cancelled"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """What was told: lines of a piece of the log, and the events up to a version."""

    attempt: int = 0
    seq: int = 0
    lines: int = 0
    version: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}.{self.seq}.{self.lines}.{self.version}"

    @staticmethod
    def parse(text: str | None) -> Cursor:
        """From a message's `after`. Raises: Invalid."""
        if not text:
            return Cursor()
        found = CURSOR.fullmatch(text)
        if found is None:
            message = f"after {text[:40]!r} was not made here; pass `after` of the last message you have"
            raise Invalid(Code.INVALID_CURSOR, message, details={"field": "after"})
        return Cursor(*(int(part) for part in found.groups()))


Told = dict[str, Any]


class JobStreams:
    """Follows jobs."""

    def __init__(self, source: LogSource, ledger: Ledger, changes: Changes, follower: Follower) -> None:
        self._source = source
        self._ledger = ledger
        self._changes = changes
        self._follower = follower

    async def follow(self, job_id: UUID, cursor: Cursor) -> AsyncIterator[Told]:
        """Messages until the job has ended or the server stops. Raises: Unavailable."""
        stage, settling, ended = None, 0, None
        with self._changes.watch(job_stream(job_id)) as news:
            while not self._follower.closing:
                news.clear()
                events = await self._events(job_id, 0 if stage is None else cursor.version)
                pieces = await self._source.lines_after(job_id, cursor.attempt, cursor.seq, PIECES_MAX)
                for piece in pieces:
                    for place, told in _lines(piece, cursor):
                        cursor = place
                        yield told
                for event in events:
                    is_new = event.version > cursor.version
                    cursor = replace(cursor, version=max(event.version, cursor.version))
                    for told in _of_event(event, stage, cursor) if is_new else ():
                        yield told
                    stage = _stage_after(event, stage)
                    if event.type in ENDS or event.type == "job.run_recorded.v1":
                        ended = event
                if ended is not None:
                    settling = 0 if pieces and len(pieces) == PIECES_MAX else settling + 1
                    if settling >= SETTLE_LOOKS:
                        yield _end(ended, cursor)
                        return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_EVERY_S)

    async def _events(self, job_id: UUID, after_version: int) -> list[EventView]:
        """A job's events; few, so that all of them are read until the stage is known."""
        found = await self._ledger.events(EventFilter(after=0, limit=EVENTS_MAX, stream=job_stream(job_id)))
        return [event for event in found if event.version > after_version]


def _lines(piece: LogPiece, cursor: Cursor) -> list[tuple[Cursor, Told]]:
    """The lines of a piece that were not told yet."""
    begun = (piece.attempt, piece.seq) == (cursor.attempt, cursor.seq)
    found: list[tuple[Cursor, Told]] = []
    for number, line in enumerate(piece.text.splitlines(), 1):
        if begun and number <= cursor.lines:
            continue
        at = Cursor(piece.attempt, piece.seq, number, cursor.version)
        stamp = piece.at.isoformat().replace("+00:00", "Z")
        told = {"type": "log", "stage": piece.stage, "message": line, "timestamp": stamp, "after": str(at)}
        found.append((at, told))
    return found


def _of_event(event: EventView, stage: str | None, cursor: Cursor) -> list[Told]:
    told: list[Told] = []
    after = str(cursor)
    entered = event.type == "job.build_stage_entered.v1"
    if stage is not None and (entered or event.type == "job.build_succeeded.v1"):
        told.append({"type": "stage_complete", "stage": stage, "status": "passed", "after": after})
    if entered:
        name = str(event.data["stage"])
        done = BUILD_STAGES.index(name) if name in BUILD_STAGES else 0
        total = len(BUILD_STAGES)
        told.append({"type": "progress", "stage": name, "stages_complete": done, "stages_total": total, "after": after})
    if stage is not None and event.type == "job.failed.v1":
        told.append({"type": "stage_complete", "stage": stage, "status": "failed", "after": after})
    return told


def _stage_after(event: EventView, stage: str | None) -> str | None:
    if event.type == "job.build_stage_entered.v1":
        return str(event.data["stage"])
    return None if event.type in ("job.build_succeeded.v1", "job.build_retried.v1") or event.type in ENDS else stage


def _end(event: EventView, cursor: Cursor) -> Told:
    status = ENDS.get(event.type) or ("failed" if event.data.get("failure") else "passed")
    told = {"type": "job_complete", "status": status, "after": str(cursor)}
    if event.type == "job.failed.v1":
        told |= {"code": event.data["code"], "message": event.data["message"]}
    return told
