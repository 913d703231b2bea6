"""The ASGI application over wired services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from lutlab_api.app.ports import Ids
from lutlab_api.web import (
    errors,
    located,
    pages,
    routes_audit,
    routes_boards,
    routes_jobs,
    routes_keys,
    routes_live,
    routes_ops,
    routes_service,
    routes_v1,
    routes_v1_boards,
    routes_v1_jobs,
    routes_v1_keys,
    routes_v1_projects,
    routes_v1_storage,
    routes_v1_verification,
    routes_v1_webhooks,
    websocket,
)
from lutlab_api.web.asked import Api
from lutlab_api.web.documented import unreadable
from lutlab_api.web.edge import BodyLimits, Edge
from lutlab_api.web.head import Head
from lutlab_api.web.hot import Hot
from lutlab_api.web.limits import Limits
from lutlab_api.web.models import Health
from lutlab_api.web.paths import Paths
from lutlab_api.web.services import Services

VERSION = version("lutlab")
ROUTES = (
    routes_boards,
    routes_jobs,
    routes_keys,
    routes_v1,
    routes_v1_boards,
    routes_v1_jobs,
    routes_v1_keys,
    routes_v1_projects,
    routes_v1_storage,
    routes_v1_verification,
    routes_v1_webhooks,
    routes_audit,
    routes_service,
    routes_live,
    routes_ops,
    websocket,
    pages,
)
DESCRIPTION = """
Submit a design, get a programmed board, talk Wishbone to it.

1. `POST /submit` a `design.py`, `design.v` or `project.zip` with your key in `X-API-Key`.
2. Poll `GET /jobs/{job_id}` until it is `complete`; `fpga_id` is your board.
3. `POST /fpga/{fpga_id}/run` reads and writes words of your design; for fast traffic, open the WebSocket
   `/fpga/{fpga_id}/stream`.
4. `POST /fpga/{fpga_id}/session/release` gives the board back.

**The stream.** Each binary message is one transaction (big-endian: op 1 write or 2 read, 0x80 added to a write for
a fixed address; 24-bit word count; 32-bit byte address; words - a read carries one, the number of words wanted) and
is answered by one binary message (0, or 1 for an error; 24-bit word count; words). It is closed with 4409 if
another connection has the board, with 4401 if your key is no longer good, with 4502 if the board's link failed or
the session ended, with 1003 after a text message. It is refused before the upgrade with 401, 403, 404, 409, 422, 429,
502, 503 or 504 and the usual error body.

**Errors.** Every error has the body `{"detail": {"error": "<stable code>", "message": "<for a person>"}}`, with
`job_id` where there is one; under `/api/v1` it is `{"error": {"code", "message", "details"}}`. A 429 or
503 carries `Retry-After`, a 201 or 202 `Location`; HEAD is answered wherever GET is; a POST with an `Idempotency-Key`
can be repeated safely. `X-Request-ID` is sent back, and if it is a UUID it is the correlation id of what it caused
(`/api/v1/events`). `X-Session-ID` is ignored.
"""


TAGS = {
    "boards": "look at boards, read and write a design, give a board back, as the reference system has it",
    "jobs": "submit a design, follow its job, as the reference system has it",
    "keys": "log in, issue keys, as the reference system has it",
    "v1 boards": "the same under /api/v1: boards, sessions, the queue, agents",
    "v1 jobs": "the same under /api/v1: jobs, their logs and artifacts",
    "v1 keys": "keys with scopes, teams and an end; what is stored for an owner",
    "v1 webhooks": "be told of what happens",
    "projects": "sources to verify, and their configuration",
    "verification": "jobs of stages: lint, simulation, formal, crypto, synthesis",
    "history": "what happened, from the log",
    "audit": "the log itself: export, the state at a moment, refused commands, dead letters",
    "service": "boards in and out of service, for admins",
    "health": "is it there, is it well",
}
"""What the groups of /docs are, in their order."""


def create_app(
    services: Services,
    ids: Ids,
    *,
    start: Callable[[], Awaitable[None]] | None = None,
    stop: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application.

    Args:
        services: what its routes call.
        ids: where request ids come from.
        start, stop: run when the server starts and after it has stopped serving.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if start is not None:
            await start()
        try:
            yield
        finally:
            if stop is not None:
                await stop()

    app = FastAPI(
        title="lutlab",
        summary="An FPGA lab cloud",
        description=DESCRIPTION,
        version=VERSION,
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,
    )
    app.state.services = services
    app.state.metrics = routes_ops.Metrics(services)
    app.openapi = partial(_document, app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    errors.install(app)
    app.add_api_route("/health", health, methods=["GET"], tags=["health"], summary="Is the lab all right?")
    app.add_api_route("/api/v1/health", health, methods=["GET"], tags=["health"], summary="Is the lab all right?")
    for module in ROUTES:
        app.include_router(module.router)
    app.include_router(routes_v1_projects.schemas)
    routers = [app.router, *(module.router for module in ROUTES), routes_v1_projects.schemas]
    app.state.paths = Paths(route for router in routers for route in router.routes)
    app.router.default = partial(_serve_nothing, app.router.default)
    settings = services.settings
    limits = BodyLimits(
        upload_bytes_max=settings.upload_bytes_max,
        json_bytes_max=settings.json_bytes_max,
        project_upload_bytes_max=settings.project_upload_bytes_max,
    )
    app.add_middleware(Hot)
    app.add_middleware(Limits, services=services)
    app.add_middleware(Head)
    app.add_middleware(Edge, ids=ids, limits=limits)
    app.add_middleware(routes_ops.Measure)
    return app


async def _serve_nothing(otherwise: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """What is at no route; a WebSocket, too, is refused with words."""
    if scope["type"] == "websocket":
        await errors.unknown(f"WebSocket {scope['path'][: errors.PATH_CHARS_MAX]}", scope["path"])(scope, receive, send)
    else:
        await otherwise(scope, receive, send)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without FastAPI's own form of validation errors, which this API never answers."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        for path, methods in document["paths"].items():
            for operation in methods.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
                for status in located.MADE & operation["responses"].keys():
                    operation["responses"][status]["headers"] = located.DOCUMENTED
                if "application/json" in operation.get("requestBody", {}).get("content", {}):
                    operation["responses"].setdefault("400", unreadable(path))
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
    assert app.openapi_schema is not None
    return app.openapi_schema


async def health(api: Api) -> Health:
    """What answers and what does not. Always 200 and never needs a key; `status` is `ok` or `degraded`."""
    builders = list(api.verifications.live.builders())
    return Health.of(await api.health.check(), VERSION, api.settings.git_commit, builders)
