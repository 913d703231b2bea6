"""What goes on while it happens: the log as server-sent events, a job's run over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import structlog
from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope
from starlette.websockets import WebSocketDisconnect, WebSocketState

from lutlab_api.app.audit import AuditFilter, AuditRow
from lutlab_api.app.job_stream import Cursor
from lutlab_api.app.stream import CLOSE_KEY, clip
from lutlab_api.domain.errors import ApiError, Code, Invalid, Unavailable
from lutlab_api.domain.verification import parse_verification
from lutlab_api.domain.views import Caller
from lutlab_api.web.asked import address_of, may_be_nobody, secret_in, services_of
from lutlab_api.web.documented import READ, errors_v1
from lutlab_api.web.edge import CUT, FOLLOWS
from lutlab_api.web.errors import response_of
from lutlab_api.web.looking import refusal_of, until_refused
from lutlab_api.web.models_v1 import Recorded
from lutlab_api.web.routes_v1_verification import known
from lutlab_api.web.services import Services
from lutlab_api.web.websocket import socket_caller
from lutlab_events.values import Scope

log = structlog.get_logger(__name__)

SSE = "text/event-stream"
QUIET_S = 10.0
"""An idle follower hears a comment this often, and its key is looked at again."""
SLOW_S = 30.0
"""A client that takes nothing for so long is let go; it goes on from where it was."""
CLOSE_S = 2.0
"""A client that takes nothing does not take the reason either."""
POSITION_DIGITS_MAX = 18
GOING_AWAY, TOO_SLOW, TRY_AGAIN = 1001, 1008, 1013

router = APIRouter()


FOLLOWING: dict[str, Any] = {
    "response_class": StreamingResponse,
    "responses": {
        200: {"content": {SSE: {}}, "description": "events, for ever"},
        **errors_v1(*READ, Code.VALIDATION_ERROR),
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "last-event-id",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": r"^[0-9]{1,18}$"},
                "description": "the position of the last event that was heard, as browsers send it",
            }
        ]
    },
}
"""What is said of a route that follows the log and of nothing else."""


def tell(event: AuditRow) -> bytes:
    """An event of the log as a server-sent event; its id is its position."""
    return f"id: {event.position}\nevent: {event.type}\ndata: {Recorded.of(event).model_dump_json()}\n\n".encode()


def wants_events(request: Request) -> bool:
    """Whether a client asks for server-sent events."""
    return SSE in request.headers.get("accept", "")


class EventStream(StreamingResponse):
    """Server-sent events for one client; one that takes nothing for `slow_s` is cut off.

    Nothing can be told to a client that does not read, so its connection is cut rather than ended: a stream that had
    ended well would look complete. What was told so far and where to go on (`retry`, `id`) it has been sent before.
    """

    media_type = SSE

    def __init__(self, content: AsyncIterator[bytes], slow_s: float) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._slow_s = slow_s

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send until the client is gone or does not keep up."""
        scope[FOLLOWS]()

        async def bounded(message: Message) -> None:
            async with asyncio.timeout(self._slow_s):
                await send(message)

        try:
            await super().__call__(scope, receive, bounded)
        except TimeoutError:
            log.info("slow_follower_cut", path=scope["path"], taken_nothing_for_s=self._slow_s)
            cut = scope.get(CUT)
            if cut is not None:
                cut()
                await receive()  # that the client is gone


async def follow_events(
    request: Request, api: Services, caller: Caller, wanted: AuditFilter, *, from_now: bool = False
) -> EventStream:
    """What happens after a position, for ever. `Last-Event-ID`, which browsers send again, counts more than `after`."""
    last = request.headers.get("last-event-id")
    start = None
    if last is not None:
        if not (last.isascii() and last.isdecimal() and len(last) <= POSITION_DIGITS_MAX):
            raise Invalid(Code.VALIDATION_ERROR, f"Last-Event-ID {last[:40]!r} must be the position of an event")
        wanted = replace(wanted, after=int(last))
    end = await api.follower.end()
    if last is None and from_now:
        start = end
        wanted = replace(wanted, after=start)
    elif wanted.after > end:
        # It would wait without a word, perhaps for ever: the position is that of another lab, or of a log before this.
        message = f"the log ends at position {end}; nobody can have heard it up to {wanted.after}: follow it from {end}"
        raise Invalid(Code.VALIDATION_ERROR, message)
    events = _events(request, api, api.audit.seen_by(caller, wanted), start, caller.owner)
    return EventStream(events, api.settings.follower_slow_s)


async def _events(
    request: Request, api: Services, wanted: AuditFilter, start: int | None, whose: str
) -> AsyncGenerator[bytes, None]:
    clock = asyncio.get_running_loop().time
    looked_at = said_at = clock()
    yield b"retry: 2000\n\n" if start is None else f"retry: 2000\nid: {start}\n\n".encode()
    after, was_behind = wanted.after, False
    try:
        async for batch in api.follower.follow(wanted, QUIET_S, whose):
            now = clock()
            if now - looked_at >= QUIET_S:
                looked_at = now
                refused = await refusal_of(request, Scope.READ)
                if refused is not None:
                    raise refused
            after = batch.position
            told = b"".join(entry.told for entry in batch.entries)
            if batch.behind and not was_behind:
                told = b"event: behind\ndata: " + json.dumps({"events": batch.behind}).encode() + b"\n\n" + told
            was_behind = bool(batch.behind)
            if told or now - said_at >= QUIET_S:
                said_at = now
                yield told or f": {after}\n\n".encode()
        yield b"event: closing\ndata: " + json.dumps({"after": after}).encode() + b"\n\n"
    except ApiError as error:
        yield b"event: error\ndata: " + json.dumps({"code": error.code, "message": error.message}).encode() + b"\n\n"


@router.websocket("/api/v1/jobs/{job_id}/stream")
async def job_stream(websocket: WebSocket, job_id: str) -> None:
    """A job's run: `log`, `progress`, `stage_complete` and `job_complete` messages, each with the `after` to go on."""
    services = services_of(websocket)
    async with AsyncExitStack() as stack:
        try:
            caller = await _reader(websocket, services)
            cursor = Cursor.parse(websocket.query_params.get("after"))
            messages = await _messages(services, job_id, caller, cursor)
            whose = caller.owner if caller else f"address:{address_of(websocket.scope)}"
            await stack.enter_async_context(services.seats.seat(whose))
        except ApiError as error:
            await websocket.send_denial_response(response_of(error, websocket.scope["path"]))
            return
        await websocket.accept()
        watching = asyncio.create_task(_until_gone(websocket))
        sending = asyncio.create_task(_send_all(websocket, messages))
        looking = asyncio.create_task(_until_refused(websocket, caller))
        try:
            await asyncio.wait({watching, sending, looking}, return_when=asyncio.FIRST_COMPLETED)
            told = next((task for task in (sending, looking) if task.done()), None)
            code, reason = (1000, "") if told is None else told.result()
            if websocket.client_state is WebSocketState.CONNECTED:
                async with asyncio.timeout(CLOSE_S):
                    await websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            return
        finally:
            for task in (watching, sending, looking):
                task.cancel()
            await asyncio.gather(watching, sending, looking, return_exceptions=True)


async def _messages(
    services: Services, job_text: str, caller: Caller | None, cursor: Cursor
) -> AsyncIterator[dict[str, object]]:
    """The messages of a job of either kind. Raises: Missing, NotAllowed, NotAuthenticated."""
    if parse_verification(job_text) is not None:
        verification = await services.verifications.get(job_text, known(caller))
        return services.verification_streams.follow(verification.job_id, cursor)
    job = await services.reads.job(job_text, caller)
    return services.job_streams.follow(job.job_id, cursor)


async def _reader(websocket: WebSocket, services: Services) -> Caller | None:
    if may_be_nobody(services, secret_in(websocket.headers)):
        return None
    return await socket_caller(websocket, Scope.READ)


async def _until_gone(websocket: WebSocket) -> None:
    """Wait until the client is gone; what it sends is ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _until_refused(websocket: WebSocket, caller: Caller | None) -> tuple[int, str]:
    """Wait until the key is no longer good; how to close then."""
    if caller is None:
        await asyncio.Event().wait()
    return CLOSE_KEY, clip((await until_refused(websocket, Scope.READ)).message)


async def _send_all(websocket: WebSocket, messages: AsyncIterator[dict[str, object]]) -> tuple[int, str]:
    """Send until the end; how to close."""
    ended = False
    try:
        async for message in messages:
            async with asyncio.timeout(SLOW_S):
                await websocket.send_text(json.dumps(message, separators=(",", ":")))
            ended = message["type"] == "job_complete"
    except TimeoutError:
        return TOO_SLOW, f"nothing was taken for {SLOW_S:g} s; connect again with `after`"
    except Unavailable:
        return TRY_AGAIN, "the lab's database does not answer; connect again with `after`"
    except (WebSocketDisconnect, RuntimeError):
        return 1000, ""
    return (1000, "") if ended else (GOING_AWAY, "the server stops; connect again with `after`")
