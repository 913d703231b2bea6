"""The AuditLog port on Postgres, and the Post port on NATS."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import nats.errors

from lutlab_api.adapters.messaging import NatsMessaging
from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.rows import HIDDEN_FIELDS
from lutlab_api.adapters.sql import Query, Where, visible
from lutlab_api.app.audit import AuditFilter, AuditRow, CommandFilter, CommandRow, Letter
from lutlab_api.domain.errors import Unavailable
from lutlab_events import codec, queries, subjects

T = TypeVar("T")

QUERY_TIMEOUT_S = 5.0

AUDIT = """select position, event_id, stream, version, type, data, causation_id, correlation_id, actor, site, at, hash
    from events"""
COMMANDS = "select command_id, type, actor, site, code, answer, received_at from commands"
LETTERS = "select letter_id, origin, subject, reason, data, arrived_at, replayed_at, replayed_by from dead_letters"


def audit_query(wanted: AuditFilter, select: str = AUDIT) -> Query:
    """Events, oldest first."""
    where = Where()
    where.add("position > ?", wanted.after)
    if wanted.until is not None:
        where.add("position <= ?", wanted.until)
    if wanted.stream is not None:
        where.add("stream = ?", wanted.stream)
    if wanted.type is not None:
        where.add("starts_with(type, ?)" if wanted.type.endswith(".") else "type = ?", wanted.type)
    if wanted.actor is not None:
        where.add("actor = ?", wanted.actor)
    if wanted.correlation_id is not None:
        where.add("correlation_id = ?", wanted.correlation_id)
    if wanted.since is not None:
        where.add("at >= ?", wanted.since)
    if wanted.before is not None:
        where.add("at < ?", wanted.before)
    if wanted.visible_to is not None:
        visible(where, wanted.visible_to)
    return where.query(select, "position" if wanted.stream is None else "version", wanted.limit)


def commands_query(wanted: CommandFilter) -> Query:
    """Commands, newest first."""
    where = Where()
    for column, value in (("code", wanted.code), ("type", wanted.type), ("actor", wanted.actor)):
        if value is not None:
            where.add(f"{column} = ?", value)
    # A certain refusal is said to be one, so that the index of refusals is used.
    if wanted.rejected or (wanted.rejected is None and wanted.code not in {None, "ok"}):
        where.add("code <> 'ok'")
    elif wanted.rejected is False:
        where.add("code = 'ok'")
    if wanted.before is not None:
        where.add("received_at < ?", wanted.before)
    return where.query(COMMANDS, "received_at desc, command_id", wanted.limit)


def event(row: Any) -> AuditRow:
    """A row of `events`."""
    data: dict[str, Any] = json.loads(row["data"])
    return AuditRow(
        position=row["position"],
        event_id=row["event_id"],
        stream=row["stream"],
        version=row["version"],
        type=row["type"],
        at=row["at"],
        actor=row["actor"],
        site=row["site"],
        causation_id=row["causation_id"],
        correlation_id=row["correlation_id"],
        hash=bytes(row["hash"]).hex(),
        data={name: value for name, value in data.items() if name not in HIDDEN_FIELDS | {"type"}},
    )


def _command(row: Any) -> CommandRow:
    answer = json.loads(row["answer"])
    return CommandRow(
        command_id=row["command_id"],
        type=row["type"],
        actor=row["actor"],
        site=row["site"],
        code=row["code"],
        message=answer.get("message", ""),
        position=answer.get("position"),
        received_at=row["received_at"],
    )


def _letter(row: Any) -> Letter:
    return Letter(**{**dict(row), "data": bytes(row["data"])})


class PostgresAudit:
    """Implements the port `AuditLog`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def audit(self, wanted: AuditFilter) -> Sequence[AuditRow]:
        """Events, oldest first."""
        return [event(row) for row in await self._postgres.rows(audit_query(wanted))]

    async def commands(self, wanted: CommandFilter) -> Sequence[CommandRow]:
        """Commands, newest first."""
        return [_command(row) for row in await self._postgres.rows(commands_query(wanted))]

    async def letters(self, limit: int, *, with_replayed: bool) -> Sequence[Letter]:
        """Dead letters, newest first."""
        where = Where()
        if not with_replayed:
            where.add("replayed_at is null")
        query = where.query(LETTERS, "arrived_at desc, letter_id", limit)
        return [_letter(row) for row in await self._postgres.rows(query)]

    async def letter(self, letter_id: UUID) -> Letter | None:
        """One dead letter."""
        found = await self._postgres.rows(Query(f"{LETTERS} where letter_id = $1", (letter_id,)))
        return _letter(found[0]) if found else None

    async def note_replayed(self, letter_id: UUID, by: str | None, at: datetime | None) -> None:
        """Note that a letter was sent again, or was not."""
        text = "update dead_letters set replayed_at = $2, replayed_by = $3 where letter_id = $1"
        await self._postgres.rows(Query(text, (letter_id, at, by)))


class NatsPost:
    """Implements the port `Post` over the API's connection."""

    def __init__(self, messaging: NatsMessaging, *, site: str) -> None:
        self._messaging = messaging
        self._site = site

    async def state_at(self, query: queries.StateQuery) -> queries.StateAnswer:
        """Ask the leading scheduler. Raises: Unavailable."""
        return await self._ask(queries.STATE, codec.encode(query), queries.decode_state_answer)

    async def replay(self, letter_id: UUID) -> None:
        """Have the leading scheduler publish a letter: it may publish everything. Raises: Unavailable."""
        wish = msgspec.json.encode(queries.ReplayWish(letter_id=letter_id))
        answer = await self._ask(queries.REPLAY, wish, queries.decode_replay_answer)
        if answer.error:
            raise Unavailable(f"the letter was not sent: {answer.error}")

    async def _ask(self, question: str, data: bytes, decode: Callable[[bytes], T]) -> T:
        client = self._messaging.connected()
        if client is None:
            raise Unavailable("the lab's message bus does not answer; try again in a few seconds")
        try:
            message = await client.request(subjects.query(self._site, question), data, timeout=QUERY_TIMEOUT_S)
            return decode(message.data)
        except (nats.errors.Error, OSError, TimeoutError, codec.Undecodable) as error:
            raise Unavailable("no scheduler answers; try again in a few seconds") from error
