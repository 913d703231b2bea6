"""What goes on while it happens: the log as server-sent events, a job's run over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from lutlab_api.app.follow import Followed
from lutlab_api.app.job_stream import Cursor
from lutlab_api.domain.errors import ApiError, Code, Invalid, Unavailable
from lutlab_api.domain.verification import parse_verification
from lutlab_api.domain.views import Caller, EventView
from lutlab_api.web.asked import address_of, secret_in, services_of
from lutlab_api.web.errors import response_of
from lutlab_api.web.models import Event
from lutlab_api.web.routes_v1_verification import known
from lutlab_api.web.services import Services
from lutlab_api.web.websocket import socket_caller
from lutlab_events.values import Scope

SSE = "text/event-stream"
QUIET_S = 10.0
"""An idle follower hears a comment this often, and its key is looked at again."""
SLOW_S = 30.0
"""A client that takes nothing for so long is let go; it goes on from where it was."""
POSITION_DIGITS_MAX = 18
GOING_AWAY, TOO_SLOW, TRY_AGAIN = 1001, 1008, 1013

router = APIRouter()


def tell(event: EventView) -> bytes:
    """An event of the log as a server-sent event; its id is its position."""
    data = Event.of(event).model_dump_json()
    return f"id: {event.position}\nevent: {event.type}\ndata: {data}\n\n".encode()


def wants_events(request: Request) -> bool:
    """Whether a client asks for server-sent events."""
    return SSE in request.headers.get("accept", "")


async def follow_events(request: Request, api: Services, caller: Caller, after: int) -> StreamingResponse:
    """What happens after a position, for ever. `Last-Event-ID`, which browsers send again, counts more than `after`."""
    last = request.headers.get("last-event-id")
    if last is not None:
        if not (last.isascii() and last.isdecimal() and len(last) <= POSITION_DIGITS_MAX):
            raise Invalid(Code.VALIDATION_ERROR, f"Last-Event-ID {last[:40]!r} must be the position of an event")
        after = int(last)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(request, api, caller, after), media_type=SSE, headers=headers)


async def _events(request: Request, api: Services, caller: Caller, after: int) -> AsyncIterator[bytes]:
    secret, looked_at = secret_in(request.headers), asyncio.get_running_loop().time()
    yield b"retry: 2000\n\n"
    was_behind = False
    try:
        async for batch in api.follower.follow(after, QUIET_S):
            now = asyncio.get_running_loop().time()
            if now - looked_at >= QUIET_S:
                looked_at = now
                await api.authenticator.caller(secret, address_of(request.scope))
            after = batch.position
            if batch.behind and not was_behind:
                yield b"event: behind\ndata: " + json.dumps({"events": batch.behind}).encode() + b"\n\n"
            was_behind = bool(batch.behind)
            told = b"".join(entry.told for entry in batch.entries if _may_see(caller, entry))
            yield told or f": {after}\n\n".encode()
        yield b"event: closing\ndata: " + json.dumps({"after": after}).encode() + b"\n\n"
    except ApiError as error:
        yield b"event: error\ndata: " + json.dumps({"code": error.code, "message": error.message}).encode() + b"\n\n"


def _may_see(caller: Caller, entry: Followed) -> bool:
    """As `Reads.events`: everything for admins; for others the boards' events and those of their own jobs."""
    if caller.is_admin or entry.event.stream.startswith("board-"):
        return True
    return entry.owner is not None and entry.owner == caller.owner


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
            await websocket.send_denial_response(response_of(error, websocket.url.path))
            return
        await websocket.accept()
        watching = asyncio.create_task(_until_gone(websocket))
        sending = asyncio.create_task(_send_all(websocket, messages))
        try:
            await asyncio.wait({watching, sending}, return_when=asyncio.FIRST_COMPLETED)
            code, reason = sending.result() if sending.done() else (1000, "")
            if websocket.client_state is WebSocketState.CONNECTED:
                await websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            for task in (watching, sending):
                task.cancel()
            await asyncio.gather(watching, sending, return_exceptions=True)


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
    if secret_in(websocket.headers) is None and services.settings.public_reads:
        return None
    return await socket_caller(websocket, Scope.READ)


async def _until_gone(websocket: WebSocket) -> None:
    """Wait until the client is gone; what it sends is ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


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
