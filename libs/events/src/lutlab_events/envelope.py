"""Envelopes: what travels around a command, an event or an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from lutlab_events.commands import Command
from lutlab_events.events import Event
from lutlab_events.values import Frozen, Json


class CommandEnvelope(Frozen, frozen=True, kw_only=True):
    """A command on its way to the scheduler.

    Attributes:
        command_id: decides sameness: a command id is carried out once, and answered the same for ever.
        body: the command.
        actor: who asks: an owner, `agent:<id>`, `builder:<id>` or `timer`.
        site: the lab.
        correlation_id: shared by everything one request caused.
        issued_at: the sender's clock.
        reply_to: core NATS subject the answer is sent to, None where nobody waits.
        fingerprint: SHA-256 of what the caller asked; a command id seen with another fingerprint is refused.
    """

    command_id: UUID
    body: Command
    actor: str
    site: str
    correlation_id: UUID
    issued_at: datetime
    reply_to: str | None = None
    fingerprint: str = ""


class Answer(Frozen, frozen=True, kw_only=True):
    """The scheduler's decided answer, sent only after the commit.

    Attributes:
        code: `ok`, or the rejection's stable code (see `lutlab_events.rejections`).
        message: for a person; empty when accepted.
        data: what the caller needs, e.g. `{"job_id": ..., "fpga_id": ..., "status": ...}`.
        position: the log position of the first event of the command, None if it made none.
    """

    command_id: UUID
    code: str
    message: str = ""
    data: Json = msgspec.field(default_factory=dict)
    position: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the command was carried out."""
        return self.code == "ok"


class EventEnvelope(Frozen, frozen=True, kw_only=True):
    """A recorded event.

    Attributes:
        position: its place in the whole log, from 1, without gaps, in commit order.
        event_id: derived from the command id and the event's index within it.
        stream: the aggregate, e.g. `board-3`.
        version: its place in the stream, from 1.
        body: the event; its tag is the stored type, e.g. `board.programmed.v1`.
        causation_id: the command that caused it.
        at: the scheduler's clock at the decision.
    """

    position: int
    event_id: UUID
    stream: str
    version: int
    body: Event
    causation_id: UUID
    correlation_id: UUID
    actor: str
    site: str
    at: datetime


class Happened(Protocol):
    """What the fold of an aggregate looks at: an `EventEnvelope` has it, and so has the leaner `Recorded`."""

    @property
    def position(self) -> int:
        """Its place in the whole log."""

    @property
    def stream(self) -> str:
        """The aggregate."""

    @property
    def version(self) -> int:
        """Its place in the stream."""

    @property
    def body(self) -> Event:
        """The event."""

    @property
    def correlation_id(self) -> UUID:
        """Shared by everything one request caused."""

    @property
    def site(self) -> str:
        """The lab."""

    @property
    def at(self) -> datetime:
        """When it was decided."""


class Recorded(Frozen, frozen=True, kw_only=True, array_like=True):
    """A recorded event as a replay reads it, a JSON array in this order; half as long as an envelope to write and read.

    Attributes: see `EventEnvelope`.
        begun_by: the correlation id of a stream's first event, which is all that a fold looks at; None of later ones.
    """

    position: int
    version: int
    stream: str
    begun_by: UUID | None
    site: str
    at: datetime
    body: Event

    @property
    def correlation_id(self) -> UUID:
        """Of a stream's first event."""
        assert self.begun_by is not None, f"event {self.position} is not the first of {self.stream}"
        return self.begun_by
