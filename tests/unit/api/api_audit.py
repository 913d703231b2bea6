"""The log, commands, dead letters and the queue in memory, to set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_api.app.audit import AuditFilter, AuditRow, CommandFilter, CommandRow, Letter
from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.queue import Queue
from lutlab_events.queries import StateAnswer, StateQuery


@dataclass
class FakeAudit:
    """A log, commands and letters to set by hand; remembers what was asked and posted."""

    rows: list[AuditRow] = field(default_factory=list)
    command_rows: list[CommandRow] = field(default_factory=list)
    kept: dict[UUID, Letter] = field(default_factory=dict)
    states: dict[str, StateAnswer] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    queues: dict[UUID, Queue] = field(default_factory=dict)
    posted: list[UUID] = field(default_factory=list)
    is_mute: bool = False
    is_down: bool = False

    async def audit(self, wanted: AuditFilter) -> list[AuditRow]:
        self.asked.append(wanted)
        if self.is_down:
            raise Unavailable("the lab's database does not answer")
        return [row for row in self.rows if row.position > wanted.after][: wanted.limit]

    async def commands(self, wanted: CommandFilter) -> list[CommandRow]:
        self.asked.append(wanted)
        return self.command_rows[: wanted.limit]

    async def letters(self, limit: int, *, with_replayed: bool) -> list[Letter]:
        return [x for x in self.kept.values() if with_replayed or x.replayed_at is None][:limit]

    async def letter(self, letter_id: UUID) -> Letter | None:
        return self.kept.get(letter_id)

    async def note_replayed(self, letter_id: UUID, by: str | None, at: datetime | None) -> None:
        self.kept[letter_id] = replace(self.kept[letter_id], replayed_by=by, replayed_at=at)

    async def state_at(self, query: StateQuery) -> StateAnswer:
        self.asked.append(query)
        return self.states.get(query.stream, StateAnswer(stream=query.stream))

    async def queue(self, job_id: UUID) -> Queue | None:
        return self.queues.get(job_id)

    async def replay(self, letter_id: UUID) -> None:
        if self.is_mute:
            raise Unavailable("no scheduler answers")
        self.posted.append(letter_id)
