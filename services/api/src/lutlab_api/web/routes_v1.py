"""What goes beyond the reference's contract, under /api/v1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from lutlab_api.app.audit import AuditFilter
from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_api.web.asked import Api, FpgaId, Reader, Reading
from lutlab_api.web.documented import BOARD, READ, errors_v1
from lutlab_api.web.models import Events
from lutlab_api.web.models_link import BoardLink
from lutlab_api.web.routes_live import SSE, follow_events, wants_events

EVENTS_LISTED_DEFAULT = 100
EVENTS_LISTED_MAX = 1000
After = Annotated[int, Query(ge=0, le=2**63 - 1, description="only events after this position")]
Limit = Annotated[int, Query(ge=1, le=EVENTS_LISTED_MAX, description="most events to list")]

LINK = (Code.BOARD_UNREACHABLE, Code.BOARD_TIMEOUT, Code.BOARD_LINK_FAILED)
"""What a route that asks a board's agent can answer."""

router = APIRouter(prefix="/api/v1", tags=["history"])


@router.get("/boards/{fpga_id}/events", summary="A board's history", responses=errors_v1(*READ, *BOARD))
async def board_events(
    fpga_id: FpgaId, api: Api, reader: Reader, after: After = 0, limit: Limit = EVENTS_LISTED_DEFAULT
) -> Events:
    """Everything that ever happened to a board, oldest first, straight from the log."""
    return Events.of(await api.reads.board_events(fpga_id, after, limit), after)


@router.get("/boards/{fpga_id}/link", summary="How a board's line does", responses=errors_v1(*READ, *BOARD, *LINK))
async def board_link(fpga_id: FpgaId, api: Api, reader: Reader) -> BoardLink:
    """Counters of the serial line since the agent started, its speed, and what the bitstream told about itself."""
    stats = await api.links.stats(fpga_id)
    try:
        return BoardLink.model_validate(stats)
    except ValidationError as error:
        raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id}: its agent answered nonsense") from error


FOLLOWED: dict[int | str, dict[str, Any]] = {200: {"content": {SSE: {}}, "description": "events, or a stream of them"}}


@router.get(
    "/events", summary="The log", response_model=Events, responses=errors_v1(*READ, Code.VALIDATION_ERROR) | FOLLOWED
)
async def events(
    request: Request, api: Api, caller: Reading, after: After = 0, limit: Limit = EVENTS_LISTED_DEFAULT
) -> Events | StreamingResponse:
    """What happened, oldest first: everything for admins; for members the boards' events and their own jobs' events.

    With `Accept: text/event-stream` it goes on as it happens, each event once: `id` is its position, `event` its type,
    `data` all that is recorded of it. `/api/v1/events/stream` is the same with filters. Whoever has to catch up is told
    with an event `behind`; a client that takes nothing for half a minute is cut off, and goes on with `Last-Event-ID`.
    """
    if wants_events(request):
        return await follow_events(request, api, caller, AuditFilter(after=after))
    return Events.of(await api.reads.events(caller, after, limit), after)
