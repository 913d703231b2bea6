"""The WebSocket route: refused with an HTTP status before the upgrade, or accepted and served."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from functools import partial

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from lutlab_api.app.auth import require_scope
from lutlab_api.app.stream import OpenStream
from lutlab_api.domain.errors import ApiError, Code, Invalid
from lutlab_api.domain.views import Caller
from lutlab_api.web.asked import FPGA_ID_MAX, identify, secret_in, services_of
from lutlab_api.web.errors import response_of
from lutlab_api.web.looking import refusal_of
from lutlab_events.values import Scope

BOARD_NUMBER = re.compile(r"[0-9]{1,4}")
"""0 to `FPGA_ID_MAX`."""

router = APIRouter()


@router.websocket("/fpga/{fpga_id}/stream")
async def stream(websocket: WebSocket, fpga_id: str) -> None:
    """Live bus traffic: one binary request frame, one binary reply frame, in order (docs/bus-protocol.md)."""
    services = services_of(websocket)
    async with AsyncExitStack() as stack:
        try:
            caller = await socket_caller(websocket, Scope.RUN)
            await stack.enter_async_context(services.seats.seat(caller.owner))
            opened = await _open(websocket, caller, fpga_id)
        except ApiError as error:
            await websocket.send_denial_response(response_of(error, websocket.scope["path"]))
            return
        try:
            await websocket.accept()
        except BaseException:
            await services.streams.give_back(opened)
            raise
        await services.streams.serve(opened, AcceptedSocket(websocket), partial(_refusal, websocket))


async def socket_caller(websocket: WebSocket, scope: Scope) -> Caller:
    """Whose WebSocket this is. Raises: ApiError if the key is missing, wrong, or not good for it."""
    found = await identify(websocket.scope, secret_in(websocket.headers))
    if isinstance(found, ApiError):
        raise found
    require_scope(found, scope)
    return found


async def _refusal(websocket: WebSocket) -> str | None:
    refused = await refusal_of(websocket, Scope.RUN)
    return None if refused is None else refused.message


async def _open(websocket: WebSocket, caller: Caller, fpga_text: str) -> OpenStream:
    services = services_of(websocket)
    if BOARD_NUMBER.fullmatch(fpga_text) is None:
        raise Invalid(
            Code.VALIDATION_ERROR, f"fpga_id {fpga_text[:40]!r} must be the number of a board, 0 to {FPGA_ID_MAX}"
        )
    return await services.streams.open(caller, int(fpga_text))


class AcceptedSocket:
    """Implements the port `Socket` over Starlette's WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | str | None:
        """The next message; None when the other side is gone."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        data: bytes | None = message.get("bytes")
        return message["text"] if data is None else data

    async def send(self, frame: bytes) -> None:
        """Send one binary message; nothing happens if the other side is gone."""
        try:
            await self._websocket.send_bytes(frame)
        except WebSocketDisconnect:
            return

    async def close(self, code: int, reason: str) -> None:
        """Close, unless that happened already."""
        if self._websocket.client_state is WebSocketState.CONNECTED:
            try:
                await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError):
                return
