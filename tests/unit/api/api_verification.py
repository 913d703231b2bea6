"""Verification in memory: the scheduler's own deciders behind the API's ports, and a builder to play."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lutlab_api.adapters.verification import project_view, verification_view
from lutlab_api.app.verification_ports import ProjectFilter, VerificationFilter
from lutlab_api.domain.verification import ProjectView, StageLine, VerificationView
from lutlab_events.commands import Command
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_events.verification import (
    LOG_ATTEMPTS_PER_STAGE,
    ProjectStatus,
    ReportStageCompleted,
    ReportStageStarted,
    StageOutcome,
    project_stream,
    verification_stream,
)
from lutlab_events.work import BuilderHeartbeat, StageProgress
from lutlab_scheduler.app.handlers import HANDLERS
from lutlab_scheduler.app.projections import project as row_of
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.outcome import Rejected, Rules

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
JSON_COLUMNS = frozenset({"files", "stages", "records", "config_overrides"})
RULES = Rules(
    session_ttl=timedelta(hours=1),
    program_deadline=timedelta(seconds=90),
    build_deadline=timedelta(hours=1),
    queue_jobs_max=3,
    profiles=frozenset(),
    default_profile="",
)


class FakeVerification:
    """The ports `VerificationStore` and `Live`."""

    def __init__(self) -> None:
        self.world = World()
        self.position = 0
        self.commands = itertools.count()
        self.log_lines: dict[UUID, list[StageLine]] = {}
        self.told: dict[UUID, StageProgress] = {}
        self.beats: list[BuilderHeartbeat] = []

    # -- the scheduler's part

    def decide(self, body: Command) -> tuple[str, str, dict[str, Any]]:
        number = next(self.commands)
        envelope = CommandEnvelope(
            command_id=derived("command", number),
            body=body,
            actor="test",
            site="main",
            correlation_id=UUID(int=1),
            issued_at=T0,
        )
        now = T0 + timedelta(seconds=number)
        tx = Transaction(world=self.world, command=envelope, rules=RULES, position=self.position, now=now)
        outcome = HANDLERS[type(body)](body, tx)
        if isinstance(outcome, Rejected):
            self.world.undo()
            return outcome.code.value, outcome.message, {}
        self.position = tx.position
        self.world.settle()
        return "ok", "", outcome

    # -- the builder's part

    def begin(self, job_id: UUID) -> None:
        job = self.world.verification(job_id)
        assert job is not None and job.stage is not None
        self.decide(ReportStageStarted(job_id=job_id, stage=job.stage, attempt=job.attempt, builder_id="b"))

    def end(self, job_id: UUID, outcome: StageOutcome) -> None:
        job = self.world.verification(job_id)
        assert job is not None and job.stage is not None
        self.begin(job_id)
        self.decide(ReportStageCompleted(job_id=job_id, stage=job.stage, attempt=job.attempt, outcome=outcome))

    def log(self, job_id: UUID, stage: str, *lines: str, level: str = "INFO") -> None:
        pieces = self.log_lines.setdefault(job_id, [])
        number = ("lint", "simulation", "formal", "crypto", "synthesis").index(stage)
        attempt, text = number * LOG_ATTEMPTS_PER_STAGE + 1, "".join(f"{line}\n" for line in lines)
        pieces.append(StageLine(attempt=attempt, seq=len(pieces), stage=stage, text=text, at=T0, level=level))

    # -- the ports

    def _row(self, stream: str) -> dict[str, Any] | None:
        state = self.world.state(stream)
        if state is None:
            return None
        values = {}
        for name, value in row_of(state).values.items():
            values[name] = json.dumps(value) if name in JSON_COLUMNS else value
            if name.endswith("_at") and value is not None:
                values[name] = datetime.fromisoformat(value)
        return values

    async def project(self, project_id: UUID) -> ProjectView | None:
        row = self._row(project_stream(project_id))
        return None if row is None else project_view(row)

    async def projects(self, wanted: ProjectFilter) -> tuple[Sequence[ProjectView], int]:
        found = [
            project_view(row)
            for stream in list(self.world._states)
            if stream.startswith("project-") and (row := self._row(stream)) is not None
        ]
        fitting = [
            p
            for p in found
            if p.status is not ProjectStatus.DELETED
            and wanted.owner in (None, p.owner)
            and wanted.status in (None, p.status)
            and (wanted.name or "").lower() in p.name.lower()
        ]
        fitting.sort(key=lambda p: p.project_id)
        fitting.sort(key=lambda p: getattr(p, wanted.column), reverse=wanted.falling)
        total = len(fitting)
        if wanted.after is not None:
            value, last = wanted.after
            sign = -1 if wanted.falling else 1
            places = [(getattr(p, wanted.column), p) for p in fitting]
            fitting = [
                p
                for own, p in places
                if (own > value) - (own < value) == sign or (own == value and p.project_id > last)
            ]
        return fitting[wanted.offset :][: wanted.limit], total

    async def verification(self, job_id: UUID) -> VerificationView | None:
        row = self._row(verification_stream(job_id))
        return None if row is None else verification_view(row)

    async def verifications(self, wanted: VerificationFilter) -> tuple[Sequence[VerificationView], int]:
        streams = [stream for stream in self.world._states if stream.startswith("verification-")]
        found = [verification_view(row) for stream in streams if (row := self._row(stream)) is not None]
        mine = [j for j in found if j.project_id == wanted.project_id and wanted.status in (None, j.status)]
        mine.sort(key=lambda j: -j.number)
        last = next((j.number for j in mine if j.job_id == wanted.before), None)
        later = [j for j in mine if wanted.before is None or (last is not None and j.number < last)]
        return later[wanted.offset :][: wanted.limit], len(mine)

    async def stage_seconds(self, project_id: UUID) -> Mapping[str, float]:
        return {"lint": 1.0, "simulation": 329.0}

    async def lines(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[StageLine]:
        found = self.log_lines.get(job_id, [])
        return [piece for piece in found if (piece.attempt, piece.seq) >= (attempt, seq)][:limit]

    async def last_lines(self, job_id: UUID, stage: str | None, limit: int) -> Sequence[StageLine]:
        found = [piece for piece in self.log_lines.get(job_id, []) if stage in (None, piece.stage)]
        return found[-limit:]

    def progress(self, job_id: UUID) -> StageProgress | None:
        return self.told.get(job_id)

    def builders(self) -> Sequence[BuilderHeartbeat]:
        return self.beats

    @contextmanager
    def watch(self, job_id: UUID) -> Iterator[asyncio.Event]:
        yield asyncio.Event()
