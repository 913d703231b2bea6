"""For operators: `/ready` for load balancers, `/metrics` for Prometheus."""

from __future__ import annotations

import time

from fastapi import APIRouter, FastAPI, Request, status
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lutlab_api.web.asked import Api
from lutlab_api.web.services import Services

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

router = APIRouter(tags=["health"])


class Metrics:
    """What the API counts; one registry an application."""

    def __init__(self, services: Services) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lutlab_http_requests",
            "requests by route and status",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "lutlab_http_request_seconds",
            "time to the start of the answer",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        followers = Gauge("lutlab_log_followers", "clients that follow the log", registry=self.registry)
        followers.set_function(lambda: services.follower.followers)
        self.up = Gauge("lutlab_dependency_up", "whether a dependency answers", ("dependency",), registry=self.registry)
        self.waiting = Gauge("lutlab_commands_waiting", "commands not taken yet", registry=self.registry)


class Measure:
    """ASGI middleware around everything: counts requests by the route's pattern, never by what a client wrote."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve and count one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, metrics = time.perf_counter(), metrics_of(scope["app"])

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = str(getattr(scope.get("route"), "path", "none"))
                method = scope["method"] if scope["method"] in METHODS else "other"
                metrics.requests.labels(method, route, str(message["status"])).inc()
                metrics.seconds.labels(method, route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, noted)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def metrics_of(app: FastAPI) -> Metrics:
    """The application's metrics."""
    metrics = app.state.metrics
    assert isinstance(metrics, Metrics)
    return metrics


@router.get(
    "/ready",
    summary="Can requests be served?",
    responses={503: {"description": "not now", "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def ready(api: Api) -> JSONResponse:
    """200 if every kind of request can be served here, 503 if not, or if this process is stopping. Needs no key."""
    health = await api.health.check()
    good = health.status == "ok" and not api.follower.closing
    told = {
        "ready": good,
        "postgres": health.postgres,
        "nats": health.nats,
        "scheduler": health.scheduler,
        "stopping": api.follower.closing,
    }
    headers = {} if good else {"Retry-After": "2"}
    return JSONResponse(told, status.HTTP_200_OK if good else status.HTTP_503_SERVICE_UNAVAILABLE, headers)


@router.get("/metrics", summary="Metrics for Prometheus", include_in_schema=False)
async def metrics(request: Request, api: Api) -> Response:
    """Counters in Prometheus' text format. Needs no key: keep it from the public at the proxy."""
    health, found = await api.health.check(), metrics_of(request.app)
    for name in ("postgres", "nats", "scheduler"):
        found.up.labels(name).set(getattr(health, name))
    found.waiting.set(health.commands_waiting or 0)
    return Response(generate_latest(found.registry), media_type=CONTENT_TYPE_LATEST)
