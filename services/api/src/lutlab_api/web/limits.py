"""Rate limits and overload, in front of every route, WebSockets' too; the three headers on every answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from lutlab_api.app.limits import Grant, Rule
from lutlab_api.domain.errors import ApiError, Code, TooMany
from lutlab_api.domain.views import Caller
from lutlab_api.settings import Settings
from lutlab_api.web.asked import address_of, identify, secret_in
from lutlab_api.web.edge import FOLLOWS, LIMIT_HEADERS
from lutlab_api.web.errors import response_of
from lutlab_api.web.services import Services

HOUR_S, MINUTE_S = 3600, 60
OPEN_PATHS = frozenset({"/health", "/api/v1/health", "/ready", "/metrics"})
"""Asked by supervisors, answered whatever happens: counted, but in this process only, and never refused."""
OVERLOADED_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Matched:
    """A rule for requests whose method and path match; a group named `project` makes it count by project."""

    method: str
    path: re.Pattern[str]
    rule: Rule


def rules_of(settings: Settings) -> tuple[list[Matched], Rule]:
    """The rules in the order they are tried, and the one for everything else."""
    submits = Rule("submits", settings.limit_submits_per_hour, HOUR_S)
    jobs = Rule("jobs", settings.limit_jobs_per_hour, HOUR_S)
    results = Rule("results", settings.limit_results_per_minute, MINUTE_S)
    matched = [
        Matched("POST", re.compile(r"(/fpga/[^/]+)?/submit"), submits),
        Matched("POST", re.compile(r"/api/v1(/projects/(?P<project>[^/]+))?/jobs"), jobs),
        Matched("GET", re.compile(r"/api/v1/jobs/[^/]+/(results?|artifacts|reports?|log|logs|compare)(/.*)?"), results),
        Matched("POST", re.compile(r"/api/v1/jobs/[^/]+/reports"), results),
    ]
    return matched, Rule("requests", settings.limit_requests_per_minute, MINUTE_S)


class _UnderWay:
    """One of the requests that are counted as being under way, until it ends or turns out to follow something."""

    def __init__(self, limits: Limits) -> None:
        self._limits: Limits | None = limits

    def end(self) -> None:
        """It does not count any more."""
        if self._limits is not None:
            self._limits.in_flight -= 1
            self._limits = None


class Limits:
    """ASGI middleware inside `Edge`, which sets the headers left in the scope."""

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._services = services
        self._matched, self._others = rules_of(services.settings)
        self.in_flight = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 429 or 503."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = await self._problem(scope)
        if problem is not None:
            await response_of(problem, scope["path"])(scope, receive, send)
            return
        if scope["type"] == "websocket":  # they have a limit of their own
            await self._app(scope, receive, send)
            return
        under_way = _UnderWay(self)
        scope[FOLLOWS] = under_way.end
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            under_way.end()

    async def _problem(self, scope: AsgiScope) -> ApiError | None:
        path: str = scope["path"]
        if path in OPEN_PATHS:
            scope[LIMIT_HEADERS] = _headers(await self._take(self._others, f"open:{address_of(scope)}", alone=True))
            return None
        secret = secret_in(Headers(scope=scope))
        is_nobody = secret is None and self._services.authenticator.nobody is None
        found = None if is_nobody else await identify(scope, secret)
        rule, who = self._rule(scope.get("method", "GET"), path, found if isinstance(found, Caller) else None, scope)
        grant = await self._take(rule, who)
        scope[LIMIT_HEADERS] = _headers(grant)
        if not grant.allowed:
            return TooMany(
                Code.RATE_LIMITED,
                f"{grant.limit} {rule.name} in {rule.window_s} s are allowed; try again in {grant.retry_after_s} s",
                retry_after_s=grant.retry_after_s,
                details={"limit": grant.limit, "window_s": rule.window_s},
            )
        if self.in_flight >= self._services.settings.requests_in_flight_max:
            return ApiError(
                Code.OVERLOADED,
                f"{self.in_flight} requests are under way; try again in {OVERLOADED_RETRY_S} s",
                retry_after_s=OVERLOADED_RETRY_S,
            )
        return None

    def _rule(self, method: str, path: str, caller: Caller | None, scope: AsgiScope) -> tuple[Rule, str]:
        if caller is None:
            return self._others, f"address:{address_of(scope)}"
        for matched in self._candidates(method):
            found = matched.path.fullmatch(path)
            if found:
                project = found.groupdict().get("project")
                return matched.rule, f"project:{project[:64]}" if project else f"key:{caller.key_id}"
        return self._others, f"key:{caller.key_id}"

    def _candidates(self, method: str) -> Sequence[Matched]:
        return [matched for matched in self._matched if matched.method == method]

    async def _take(self, rule: Rule, who: str, *, alone: bool = False) -> Grant:
        return await self._services.limiter.take(rule, who, alone=alone)


def _headers(grant: Grant) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(grant.limit),
        "X-RateLimit-Remaining": str(grant.remaining),
        "X-RateLimit-Reset": str(grant.reset_at_s),
    }
