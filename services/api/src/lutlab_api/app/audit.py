"""The whole log, its commands and its dead letters, as the caller may see them; and what was believed when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from lutlab_api.app.auth import require_admin
from lutlab_api.app.ports import Clock
from lutlab_api.domain.errors import Code, Invalid, Missing, NotAllowed, Unavailable
from lutlab_api.domain.views import Caller
from lutlab_events.queries import TOO_LARGE, StateAnswer, StateQuery
from lutlab_events.subjects import is_of

PAGE_MAX = 1000
"""Most rows of one query; longer answers are made of several."""


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which events, oldest first; None for no condition.

    Attributes:
        after, until: positions; after it, up to and with it.
        type: a whole type (`board.programmed.v1`) or its beginning (`board.`).
        since, before: moments; from it on, before it.
        visible_to: only of boards, and of jobs of this owner.
    """

    after: int = 0
    limit: int = PAGE_MAX
    until: int | None = None
    stream: str | None = None
    type: str | None = None
    actor: str | None = None
    correlation_id: UUID | None = None
    since: datetime | None = None
    before: datetime | None = None
    visible_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """An event with everything recorded about it; `hash` is the chain's, in hexadecimal."""

    position: int
    event_id: UUID
    stream: str
    version: int
    type: str
    at: datetime
    actor: str
    site: str
    causation_id: UUID
    correlation_id: UUID
    hash: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandFilter:
    """Which recorded commands, newest first; None for no condition. `rejected`: only those (not) refused."""

    limit: int
    code: str | None = None
    type: str | None = None
    actor: str | None = None
    rejected: bool | None = None
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class CommandRow:
    """A command as it was answered."""

    command_id: UUID
    type: str
    actor: str
    site: str
    code: str
    message: str
    position: int | None
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A message nobody could do anything with."""

    letter_id: UUID
    origin: str
    subject: str
    reason: str
    data: bytes
    arrived_at: datetime
    replayed_at: datetime | None = None
    replayed_by: str | None = None


class AuditLog(Protocol):
    """The ledger, to audit. Every method raises `Unavailable` if the database does not answer."""

    async def audit(self, wanted: AuditFilter) -> Sequence[AuditRow]:
        """Events, oldest first."""
        ...

    async def commands(self, wanted: CommandFilter) -> Sequence[CommandRow]:
        """Commands, newest first."""
        ...

    async def letters(self, limit: int, *, with_replayed: bool) -> Sequence[Letter]:
        """Dead letters, newest first."""
        ...

    async def letter(self, letter_id: UUID) -> Letter | None:
        """One dead letter."""
        ...

    async def note_replayed(self, letter_id: UUID, by: str | None, at: datetime | None) -> None:
        """Note that a letter was sent again, or was not."""
        ...


class Post(Protocol):
    """Questions to the scheduler, and letters that it sends once more. Raises: Unavailable."""

    async def state_at(self, query: StateQuery) -> StateAnswer:
        """What the log said of a stream."""
        ...

    async def replay(self, letter_id: UUID) -> None:
        """Have a dead letter published durably, as it is."""
        ...


class Audit:
    """Answers from the log itself. Members see the boards' events and those of their own jobs; admins everything."""

    def __init__(self, log: AuditLog, post: Post, clock: Clock) -> None:
        self._log = log
        self._post = post
        self._clock = clock

    def seen_by(self, caller: Caller, wanted: AuditFilter) -> AuditFilter:
        """What of the wanted events the caller may see."""
        return replace(wanted, visible_to=None if caller.is_admin else caller.owner)

    async def page(self, caller: Caller, wanted: AuditFilter) -> Sequence[AuditRow]:
        """Up to `wanted.limit` events, at most `PAGE_MAX`."""
        return await self._log.audit(self.seen_by(caller, wanted))

    async def everything(
        self, caller: Caller, wanted: AuditFilter, limit: int | None
    ) -> AsyncIterator[Sequence[AuditRow]]:
        """All events there are now, or `limit` of them, in pages."""
        wanted = self.seen_by(caller, wanted)
        left = limit
        while left is None or left > 0:
            size = PAGE_MAX if left is None else min(left, PAGE_MAX)
            rows = await self._log.audit(replace(wanted, limit=size))
            if rows:
                yield rows
                wanted = replace(wanted, after=rows[-1].position)
            if len(rows) < size:
                return
            left = None if left is None else left - len(rows)

    async def state_at(self, caller: Caller, query: StateQuery) -> StateAnswer:
        """What the log said of a stream at some moment.

        Raises:
            Missing: it said nothing, or there is no such kind of stream.
            Invalid: `answer_too_large`.
            NotAllowed: it is neither a board nor a job of the caller.
            Unavailable: no scheduler leads.
        """
        kind = query.stream.partition("-")[0]
        if not caller.is_admin and kind not in {"board", "job"}:
            raise NotAllowed(Code.ADMIN_ONLY, f"only an admin's key may look at {query.stream!r}")
        answer = await self._post.state_at(query)
        if answer.code == TOO_LARGE:
            way_out = f"ask for an earlier moment, or read its events: GET /api/v1/audit?stream={query.stream}"
            raise Invalid(Code.ANSWER_TOO_LARGE, f"{answer.error}; {way_out}")
        if answer.error or answer.state is None:
            raise Missing(Code.NOT_FOUND, answer.error or f"the log said nothing of {query.stream!r} then")
        if kind == "job" and not caller.is_admin and answer.state.get("owner") != caller.owner:
            raise NotAllowed(Code.NOT_YOUR_JOB, f"{query.stream} belongs to somebody else")
        return answer

    async def commands(self, caller: Caller, wanted: CommandFilter) -> Sequence[CommandRow]:
        """Recorded commands with their answers, the refused ones included; members see their own."""
        if not caller.is_admin:
            if wanted.actor not in {None, caller.owner}:
                require_admin(caller)
            wanted = replace(wanted, actor=caller.owner)
        return await self._log.commands(wanted)

    async def letters(self, caller: Caller, limit: int, *, with_replayed: bool) -> Sequence[Letter]:
        """Dead letters, newest first; for admins."""
        require_admin(caller)
        return await self._log.letters(limit, with_replayed=with_replayed)

    async def replay(self, caller: Caller, letter_id: UUID) -> Letter:
        """Send a dead letter again, to where it came from; for admins. If it still makes no sense it comes back.

        Raises:
            Missing: there is no such letter.
            Invalid: nobody knows where it came from, or it says so and lies.
            Unavailable: it was not sent, as far as is known.
        """
        require_admin(caller)
        letter = await self._log.letter(letter_id)
        if letter is None:
            raise Missing(Code.NOT_FOUND, f"there is no dead letter {letter_id}")
        if not letter.subject:
            raise Invalid(Code.VALIDATION_ERROR, f"letter {letter_id} does not say on which subject it came")
        if not is_of(letter.origin, letter.subject):
            message = f"letter {letter_id} came from {letter.origin}, but names {letter.subject[:80]!r}: it is not sent"
            raise Invalid(Code.VALIDATION_ERROR, message)
        now = self._clock.now()
        # Noted first: the letter may be back, and dead again, before the publication is even acknowledged.
        await self._log.note_replayed(letter_id, caller.owner, now)
        try:
            await self._post.replay(letter_id)
        except Unavailable:
            await self._log.note_replayed(letter_id, letter.replayed_by, letter.replayed_at)
            raise
        return replace(letter, replayed_at=now, replayed_by=caller.owner)
