"""The audit routes: the log filtered, exported and followed; commands and refusals; dead letters; the past."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from lutlab_api.app.audit import PAGE_MAX, AuditFilter, AuditRow, CommandFilter, CommandRow, Letter
from lutlab_api.domain.errors import Code, Invalid, Missing
from lutlab_api.web.asked import Api, Asked, Reading
from lutlab_api.web.documented import ASK, READ, errors_v1
from lutlab_api.web.models import TEXT, Model
from lutlab_api.web.models_v1 import RECORDED, Recorded
from lutlab_api.web.moments import Moment
from lutlab_api.web.routes_live import FOLLOWING, POSITION_DIGITS_MAX, follow_events
from lutlab_events.queries import StateAnswer, StateQuery
from lutlab_events.rejections import Rejection

POSITION_MAX = 2**63 - 1
PAGE_DEFAULT = 100
LETTER_TEXT_CHARS_MAX = 2000
CSV_COLUMNS = (*RECORDED, "data")
SECRETS = frozenset({"key_sha256", "previous_sha256", "digests", "secret_box", "previous_box"})
"""Fields of states that are shown to nobody."""
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)

Text = Annotated[str, Field(max_length=200, pattern=TEXT)]
"""Something to compare with."""

router = APIRouter(prefix="/api/v1", tags=["audit"])


class Format(StrEnum):
    """How the log is told."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class WhichEvents(BaseModel):
    """Which events; conditions that are left out do not count."""

    after: int = Field(0, ge=0, le=POSITION_MAX, description="only events after this position")
    until: int | None = Field(None, ge=0, le=POSITION_MAX, description="only events up to and with this position")
    stream: Text | None = Field(None, description="only of this stream", examples=["board-3"])
    type: Text | None = Field(None, description="only of this type; `board.` for all whose type begins so")
    actor: Text | None = Field(None, description="only those this actor caused")
    correlation_id: UUID | None = Field(None, description="only those one request caused")
    since: Moment | None = Field(None, description="only from this moment on")
    before: Moment | None = Field(None, description="only before this moment")

    def wanted(self, limit: int = PAGE_MAX) -> AuditFilter:
        """As the application knows it."""
        fields = {name: getattr(self, name) for name in WhichEvents.model_fields}
        return AuditFilter(**fields, limit=limit)


class AuditQuery(WhichEvents):
    """Which events, how many, and in which form."""

    limit: int | None = Field(
        None,
        ge=1,
        description=f"most events; default {PAGE_DEFAULT} and at most {PAGE_MAX} in a JSON page, otherwise all of them",
    )
    format: Format | None = Field(None, description="default: what `Accept` asks for, else a JSON page")


class RecordedPage(Model):
    """A page of events, oldest first."""

    events: list[Recorded]
    next_after: int = Field(description="pass as `after` for the next page")


class Command(Model):
    """A command as it was answered; a repetition is answered the same for ever."""

    command_id: UUID
    type: str
    actor: str
    site: str
    code: str = Field(description="`ok`, or why it was refused")
    message: str
    position: int | None = Field(description="of its first event, if it made any")
    received_at: datetime

    @staticmethod
    def of(row: CommandRow) -> Command:
        """From the ledger."""
        return Command(**{name: getattr(row, name) for name in Command.model_fields})


class DeadLetter(Model):
    """A message nobody could do anything with. `text` is its beginning where it is text, `base64` all of it."""

    letter_id: UUID
    origin: str = Field(description="the NATS stream it came from", examples=["COMMANDS"])
    subject: str
    reason: str
    text: str | None
    base64: str
    arrived_at: datetime
    replayed_at: datetime | None
    replayed_by: str | None

    @staticmethod
    def of(letter: Letter) -> DeadLetter:
        """From the ledger."""
        try:
            text = letter.data.decode()[:LETTER_TEXT_CHARS_MAX]
        except UnicodeDecodeError:
            text = None
        return DeadLetter(
            letter_id=letter.letter_id,
            origin=letter.origin,
            subject=letter.subject,
            reason=letter.reason,
            text=text,
            base64=base64.b64encode(letter.data).decode(),
            arrived_at=letter.arrived_at,
            replayed_at=letter.replayed_at,
            replayed_by=letter.replayed_by,
        )


class Believed(Model):
    """What the system believed of a stream at some moment: the fold of its events up to there."""

    stream: str
    state: dict[str, Any] = Field(description="the aggregate, as the scheduler decided by it")
    view: dict[str, Any] = Field(description="its row, as the API read it")
    events: int = Field(description="how many events were folded")
    position: int = Field(description="of the last of them")
    event_type: str
    at: datetime = Field(description="when that was")

    @staticmethod
    def of(answer: StateAnswer) -> Believed:
        """From the scheduler's answer."""
        state = {name: value for name, value in (answer.state or {}).items() if name not in SECRETS}
        view = {name: value for name, value in (answer.view or {}).items() if name not in SECRETS}
        assert answer.position is not None and answer.event_type is not None and answer.at is not None
        return Believed(
            stream=answer.stream,
            state=state,
            view=view,
            events=answer.events,
            position=answer.position,
            event_type=answer.event_type,
            at=answer.at,
        )


# -- the log -----------------------------------------------------------------------------------------


def _jsonl(rows: Sequence[AuditRow], first: bool) -> str:
    return "".join(f"{Recorded.of(row).model_dump_json()}\n" for row in rows)


def _csv(rows: Sequence[AuditRow], first: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    if first:
        writer.writerow(CSV_COLUMNS)
    for row in rows:
        values = Recorded.of(row).model_dump(mode="json")
        data = json.dumps(values["data"], ensure_ascii=False, separators=(",", ":"))
        writer.writerow([*(values[name] for name in RECORDED), data])
    return text.getvalue()


WRITERS: dict[Format, tuple[str, Callable[[Sequence[AuditRow], bool], str]]] = {
    Format.JSONL: ("application/jsonl", _jsonl),
    Format.CSV: ("text/csv; charset=utf-8", _csv),
}
ACCEPTED = {
    "application/jsonl": Format.JSONL,
    "application/x-ndjson": Format.JSONL,
    "application/json-lines": Format.JSONL,
    "text/csv": Format.CSV,
}


def _format(query: AuditQuery, accept: str) -> Format:
    if query.format is not None:
        return query.format
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    return next((ACCEPTED[kind] for kind in kinds if kind in ACCEPTED), Format.JSON)


@router.get(
    "/audit",
    summary="The whole log, filtered",
    response_model=RecordedPage,
    responses={
        200: {"content": {"application/jsonl": {}, "text/csv": {}}},
        **errors_v1(*READ, Code.VALIDATION_ERROR),
    },
)
async def audit(
    api: Api, caller: Reading, query: Annotated[AuditQuery, Query()], accept: Annotated[str, Header()] = ""
) -> Response | RecordedPage:
    """Events with everything recorded about them, oldest first: a JSON page, or all of them as JSON Lines or CSV.

    Admins see everything; members the boards' events and those of their own jobs.
    """
    form = _format(query, accept)
    if form is Format.JSON:
        rows = await api.audit.page(caller, query.wanted(min(query.limit or PAGE_DEFAULT, PAGE_MAX)))
        next_after = rows[-1].position if rows else query.after
        return RecordedPage(events=[Recorded.of(row) for row in rows], next_after=next_after)
    media_type, write = WRITERS[form]
    pages = api.audit.everything(caller, query.wanted(), query.limit)
    # The first page is read before the answer begins, so that a database that is away is still a 503.
    # (A list: with a tuple as the default, CPython 3.11 fails where there is no page.)
    head = await anext(pages, list[AuditRow]())

    async def body() -> AsyncIterator[str]:
        yield write(head, True)
        async for rows in pages:
            yield write(rows, False)

    return StreamingResponse(body(), media_type=media_type)


@router.get("/events/stream", summary="Follow the log", **FOLLOWING)
async def follow(
    request: Request,
    api: Api,
    caller: Reading,
    query: Annotated[WhichEvents, Query()],
    from_now: Annotated[
        bool, Query(description="begin with what happens next, unless `Last-Event-ID` is there")
    ] = False,
) -> StreamingResponse:
    """Server-sent events, for ever: each has its position as `id`, its type as `event`, and itself as JSON in `data`.

    Begins after `after`, or after `Last-Event-ID` where a connection is resumed: nothing is missed or told twice. What
    `/api/v1/events` says of slow readers holds here too.
    """
    return await follow_events(request, api, caller, query.wanted(), from_now=from_now)


# -- the past ----------------------------------------------------------------------------------------


@router.get(
    "/audit/state/{stream}",
    summary="What was believed",
    responses=errors_v1(
        *READ, Code.VALIDATION_ERROR, Code.ANSWER_TOO_LARGE, Code.NOT_FOUND, Code.ADMIN_ONLY, Rejection.NOT_YOUR_JOB
    ),
)
async def state(
    stream: Annotated[str, Path(pattern=TEXT, max_length=200, examples=["board-3"])],
    api: Api,
    caller: Reading,
    at: Annotated[str | None, Query(description="a position, or a moment with its zone; default: now")] = None,
) -> Believed:
    """What the system believed of a board, a job, an agent, a key or a profile at some moment."""
    query = _moment(stream, at)
    if query.position is not None:
        end = await api.follower.end()
        if query.position > end:
            raise Missing(Code.NOT_FOUND, f"the log ends at position {end}: nothing has happened at {at} yet")
    return Believed.of(await api.audit.state_at(caller, query))


def _moment(stream: str, at: str | None) -> StateQuery:
    if at is None:
        return StateQuery(stream=stream)
    if at.isdecimal():
        return StateQuery(stream=stream, position=int(at) if len(at) <= POSITION_DIGITS_MAX else POSITION_MAX)
    try:
        # A `+` in a query string arrives as a blank unless it was escaped.
        return StateQuery(stream=stream, at=MOMENT.validate_python(at.strip().replace(" ", "+")))
    except ValidationError:
        message = f"at {at[:80]!r}: must be a position or a moment with its zone, e.g. 1234 or 2026-03-04T05:06:07Z"
        raise Invalid(Code.VALIDATION_ERROR, message) from None


# -- commands and dead letters -----------------------------------------------------------------------


class CommandsQuery(BaseModel):
    """Which commands."""

    code: Text | None = Field(None, description="only with this answer: `ok` or a refusal's code")
    type: Text | None = Field(None, description="only of this kind", examples=["SubmitBuild"])
    actor: Text | None = Field(None, description="only from this actor; members: themselves")
    rejected: bool | None = Field(None, description="only those that were refused, or only those that were not")
    before: Moment | None = Field(None, description="only received before this moment: the next page")
    limit: int = Field(PAGE_DEFAULT, ge=1, le=PAGE_MAX, description="most commands to list")


@router.get(
    "/commands",
    summary="Commands and their answers",
    responses=errors_v1(*READ, Code.VALIDATION_ERROR, Code.ADMIN_ONLY),
)
async def commands(api: Api, caller: Reading, query: Annotated[CommandsQuery, Query()]) -> list[Command]:
    """What was asked of the lab and how it was answered, newest first; refusals with their reason."""
    return [Command.of(row) for row in await api.audit.commands(caller, CommandFilter(**query.model_dump()))]


@router.get("/deadletters", summary="Dead letters", responses=errors_v1(*READ, Code.VALIDATION_ERROR, Code.ADMIN_ONLY))
async def letters(
    api: Api,
    caller: Reading,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    replayed: Annotated[bool, Query(description="also those that were sent again")] = False,
) -> list[DeadLetter]:
    """Messages nobody could do anything with, newest first, each with the reason (admins only)."""
    return [DeadLetter.of(letter) for letter in await api.audit.letters(caller, limit, with_replayed=replayed)]


@router.post(
    "/deadletters/{letter_id}/replay",
    summary="Send a dead letter again",
    responses=errors_v1(*ASK, Code.VALIDATION_ERROR, Code.NOT_FOUND, Code.ADMIN_ONLY),
)
async def replay(letter_id: UUID, api: Api, asked: Asked) -> DeadLetter:
    """Publish a dead letter where it came from (admins only). If it still makes no sense it is back at once."""
    return DeadLetter.of(await api.audit.replay(asked.caller, letter_id))
