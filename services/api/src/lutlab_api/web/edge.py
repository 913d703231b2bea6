"""The outermost layer: request ids, body limits, one log line a request, a plain 500 for whatever slipped through."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from uuid import UUID

import structlog
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lutlab_api.app.ports import Ids
from lutlab_api.domain.errors import ApiError, Code
from lutlab_api.web.errors import body_of, response_of
from lutlab_transport import tracing

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-ID"
LIMIT_HEADERS = "lutlab.limit_headers"
"""Where a request's scope keeps the rate limit's headers; see `lutlab_api.web.limits`."""
FOLLOWS = "lutlab.follows"
"""Where a request's scope keeps what an answer without an end calls when it begins: other limits hold for it."""
CUT = "lutlab.cut"
"""Where a connection's scope keeps what ends it at once, whatever is still to be sent; set by the server's protocol."""
DRAINED = "lutlab.drained"
"""Where a connection's scope keeps what waits until the client has taken what was sent, or is gone; set as `CUT` is."""
SHOWABLE = re.compile(r"[\x21-\x7e]{1,128}")
MULTIPART_OVERHEAD_BYTES = 64 << 10
PROJECT_UPLOAD = re.compile(r"/api/v1/projects/[^/]+/upload")
QUIET_PATHS = frozenset({"/health", "/api/v1/health", "/ready", "/metrics"})
"""Asked every second by supervisors: logged only when something is wrong."""
SWITCHING_PROTOCOLS, FAILED = 101, 500
ANSWERS = frozenset({"websocket.accept", "websocket.http.response.start"})
"""How a WebSocket's handshake is answered."""
BODY_PATIENCE_S = 30.0
"""How long a body may take to arrive, and a second more for each `BODY_BYTES_PER_S` of it: whoever sends the beginning
of many requests and never the end would keep everybody else out."""
BODY_BYTES_PER_S = 4096


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """Most bytes of a request body, by kind."""

    upload_bytes_max: int
    json_bytes_max: int
    project_upload_bytes_max: int

    def of(self, content_type: str, path: str) -> int:
        """The limit for a body of this content type on this path."""
        if not content_type.lower().startswith("multipart/"):
            return self.json_bytes_max
        most = self.project_upload_bytes_max if PROJECT_UPLOAD.fullmatch(path) else self.upload_bytes_max
        return most + MULTIPART_OVERHEAD_BYTES


class Edge:
    """ASGI middleware around everything.

    A request's `X-Request-ID` is sent back; where it is a UUID it becomes the correlation id of everything the request
    causes, otherwise a new one is made. It is at `scope["lutlab.correlation_id"]`.
    """

    def __init__(self, app: ASGIApp, *, ids: Ids, limits: BodyLimits) -> None:
        self._app = app
        self._ids = ids
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        shown, correlation_id = self._identify(headers.get(REQUEST_ID), headers.get(tracing.TRACEPARENT))
        scope["lutlab.correlation_id"] = correlation_id
        structlog.contextvars.bind_contextvars(correlation_id=str(correlation_id))
        try:
            if scope["type"] == "websocket":
                await self._app(scope, receive, _marking(scope, shown, send))
                return
            body_bytes_max = self._limits.of(headers.get("content-type", ""), scope["path"])
            exchange = _Exchange(self._app, scope, shown, body_bytes_max)
            if tracing.is_tracing():
                await self._traced(exchange, headers, correlation_id, receive, send)
            else:
                await exchange.run(receive, send)
        finally:
            structlog.contextvars.unbind_contextvars("correlation_id")

    async def _traced(
        self, exchange: _Exchange, headers: Headers, correlation_id: UUID, receive: Receive, send: Send
    ) -> None:
        """As a span: the caller's child where it sent a `traceparent`, else the beginning of a trace."""
        parent = tracing.parse_parent(headers)
        its = headers if parent is not None and parent[0] == correlation_id.int else None
        with tracing.span("request", "server", headers=its, trace=correlation_id, ident=correlation_id):
            await exchange.run(receive, send)
            name, about = exchange.described()
            tracing.describe(name, **about)

    def _identify(self, sent: str | None, traceparent: str | None) -> tuple[str, UUID]:
        if sent is None and traceparent is not None and tracing.is_tracing():
            parent = tracing.parse_parent({tracing.TRACEPARENT: traceparent})
            if parent is not None:
                return str(UUID(int=parent[0])), UUID(int=parent[0])
        if sent is not None and SHOWABLE.fullmatch(sent):
            try:
                return sent, UUID(sent)
            except ValueError:
                return sent, self._ids.new()
        correlation_id = self._ids.new()
        return str(correlation_id), correlation_id


def _marking(scope: Scope, request_id: str, send: Send) -> Send:
    """`send`, with what every answer has, whether a WebSocket is accepted or refused."""

    async def marked(message: Message) -> None:
        if message["type"] in ANSWERS:
            message.setdefault("headers", [])
            _mark(message, scope, request_id)
            log.info("websocket_answered", path=scope["path"], status=message.get("status", SWITCHING_PROTOCOLS))
        await send(message)
        if message["type"] == "websocket.http.response.body":
            # uvicorn takes an application that ends before the refused connection is closed for a broken one.
            await asyncio.sleep(0)

    return marked


def _mark(message: Message, scope: Scope, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    headers[REQUEST_ID] = request_id
    headers.update(scope.get(LIMIT_HEADERS, {}))


class _Exchange:
    """One HTTP request and its response."""

    def __init__(self, app: ASGIApp, scope: Scope, request_id: str, body_bytes_max: int) -> None:
        self._app = app
        self._scope = scope
        self._request_id = request_id
        self._body_bytes_max = body_bytes_max
        self._body_bytes = 0
        self._body_began: float | None = None
        self._body_ended = False
        self._status: int | None = None

    async def run(self, receive: Receive, send: Send) -> None:
        started = time.perf_counter()

        async def limited() -> Message:
            message = await self._received(receive)
            self._body_bytes += len(message.get("body", b""))
            self._check_body(self._body_bytes)
            return message

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                _mark(message, self._scope, self._request_id)
            await send(message)

        async def declared() -> Message:
            self._check_body(self._declared_bytes())
            return await limited()

        try:
            await self._app(self._scope, declared, noted)
        except Exception:
            log.exception("request_failed", method=self._scope["method"], path=self._scope["path"])
            if self._status is not None:
                raise
            message = f"something is broken here, not in your request; it was logged as {self._request_id}"
            error = ApiError(Code.INTERNAL_ERROR, message)
            await response_of(error, self._scope["path"])(self._scope, receive, noted)
        finally:
            self._log(time.perf_counter() - started)

    async def _received(self, receive: Receive) -> Message:
        """The next piece of the body; after the last one, that the client is gone. Raises: HTTPException."""
        if self._body_ended:
            return await receive()
        if self._body_began is None:
            self._body_began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(self._body_began + BODY_PATIENCE_S + self._body_bytes / BODY_BYTES_PER_S):
                message = await receive()
        except TimeoutError:
            told = f"the request body did not arrive in time; {self._body_bytes} bytes of it did"
            body = body_of(Code.MALFORMED_BODY, told)
            raise HTTPException(400, body["detail"], headers={"Connection": "close"}) from None
        self._body_ended = not message.get("more_body", False)
        return message

    def described(self) -> tuple[str, dict[str, str | int]]:
        """The request by the route's pattern, and what came of it."""
        route = str(getattr(self._scope.get("route"), "path", "none"))
        about: dict[str, str | int] = {"http.request.method": self._scope["method"], "url.path": self._scope["path"]}
        return f"{self._scope['method']} {route}", about | {"http.response.status_code": self._status or 0}

    def _declared_bytes(self) -> int:
        text = Headers(scope=self._scope).get("content-length", "0")
        return int(text) if text.isdecimal() else 0

    def _check_body(self, size_bytes: int) -> None:
        if size_bytes <= self._body_bytes_max:
            return
        message = f"the request body may have {self._body_bytes_max} bytes; this one has {size_bytes} or more"
        raise HTTPException(413, body_of(Code.BODY_TOO_LARGE, message)["detail"], headers={"Connection": "close"})

    def _log(self, seconds: float) -> None:
        if self._scope["path"] in QUIET_PATHS and self._status is not None and self._status < FAILED:
            return
        log.info(
            "http_request_handled",
            method=self._scope["method"],
            path=self._scope["path"],
            status=self._status,
            duration_ms=round(seconds * 1000, 2),
        )
