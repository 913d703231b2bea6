"""Rate limits and overload, in front of every route, WebSockets' too; the three headers on every answer."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from lutlab_api.app.limits import Grant, Rule
from lutlab_api.domain.errors import ApiError, Code, TooMany
from lutlab_api.domain.views import Caller
from lutlab_api.settings import Settings
from lutlab_api.web.asked import address_of, identify, secret_in, whose
from lutlab_api.web.edge import DRAINED, FOLLOWS, LIMIT_HEADERS
from lutlab_api.web.errors import response_of
from lutlab_api.web.services import Services

HOUR_S, MINUTE_S = 3600, 60
OPEN_PATHS = frozenset({"/health", "/api/v1/health", "/ready", "/metrics"})
"""Asked by supervisors, answered whatever happens: counted, but in this process only, and never refused."""
OVERLOADED_RETRY_S = 1
ONES_SHARE = 0.8
"""Of the requests at once, what one owner, or one address without a key, may have: nobody shuts everybody out."""
HEAVY_PREFIX = "/api/v1/jobs/job_"
HEAVY = re.compile(r"/api/v1/jobs/job_[^/]+/(artifacts/.+|results/.+|reports?|compare/.+)")
"""What a verification job left: up to 64 MiB, which are in memory until the slowest client has them."""
LARGE = re.compile(r"(/api/v1|/fpga/[^/]+)?/jobs/[^/]+/(logs?|artifacts/.+)")
"""What may be as large of a board's job; it counts as heavy if it is."""
LARGE_BYTES = 1 << 20
UPLOADING = frozenset({"POST", "PUT", "PATCH"})
HEAVY_BODY_BYTES = 4 << 20
"""An upload that is longer, or does not say how long it is, is in memory more than once while it is looked at."""
HEAVY_MAX, HEAVY_OF_ONE_MAX = 32, 8
"""Requests of both kinds at once, of everybody and of one owner."""


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


class Limits:
    """ASGI middleware inside `Edge`, which sets the headers left in the scope."""

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._services = services
        self._matched, self._others = rules_of(services.settings)
        self._in_flight = 0
        self._heavy: Counter[str] = Counter()
        self._of_one: Counter[str] = Counter()
        self._of_one_max = math.ceil(ONES_SHARE * services.settings.requests_in_flight_max)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 429 or 503."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = await self._exceeded(scope)
        one, is_heavy = whose(scope), _is_heavy(scope)
        if problem is None and scope["path"] not in OPEN_PATHS:
            problem = self._crowded(one, is_heavy)
        if problem is not None:
            await response_of(problem, scope["path"])(scope, receive, send)
            return
        if scope["type"] == "websocket":  # they have a limit of their own
            await self._app(scope, receive, send)
            return
        with ExitStack() as under_way:
            self._in_flight += 1
            under_way.callback(self._ended)
            self._count(self._of_one, one, under_way)
            if is_heavy:
                self._count(self._heavy, one, under_way)
            elif LARGE.fullmatch(scope["path"]) is not None:
                send = self._weighing(one, under_way, scope, receive, send)
            scope[FOLLOWS] = under_way.close  # other limits hold for it
            await self._app(scope, receive, send)
            if DRAINED in scope:  # until then the answer is in memory here, however slow the client is
                await scope[DRAINED]()

    def _count(self, count: Counter[str], one: str, under_way: ExitStack) -> None:
        """Count a request until `under_way` is closed: when it ends, or turns out to follow something."""
        count[one] += 1
        under_way.callback(_uncount, count, one)

    def _ended(self) -> None:
        self._in_flight -= 1

    def _weighing(self, one: str, under_way: ExitStack, scope: AsgiScope, receive: Receive, send: Send) -> Send:
        """`send`, with a 503 in place of an answer that turns out to be one large one too many."""
        problem: ApiError | None = None

        async def weighed(message: Message) -> None:
            nonlocal problem
            if message["type"] == "http.response.start" and _length_of(message) > LARGE_BYTES:
                problem = self._too_heavy(one)
                if problem is not None:
                    await response_of(problem, scope["path"])(scope, receive, send)
                else:
                    self._count(self._heavy, one, under_way)
            if problem is None:
                await send(message)

        return weighed

    async def _exceeded(self, scope: AsgiScope) -> ApiError | None:
        """Take one from the caller's rate; why there is none left."""
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
        return None

    def _crowded(self, one: str, is_heavy: bool) -> ApiError | None:
        """Why too much is under way already."""
        if self._in_flight >= self._services.settings.requests_in_flight_max:
            return ApiError(
                Code.OVERLOADED,
                f"{self._in_flight} requests are under way; try again in {OVERLOADED_RETRY_S} s",
                retry_after_s=OVERLOADED_RETRY_S,
            )
        if self._of_one[one] >= self._of_one_max:
            told = f"{self._of_one_max} requests of yours are under way, the most there may be; wait for some of them"
            return ApiError(Code.OVERLOADED, told, retry_after_s=OVERLOADED_RETRY_S)
        return self._too_heavy(one) if is_heavy else None

    def _too_heavy(self, one: str) -> ApiError | None:
        """Why there are too many large requests already."""
        if self._heavy[one] < HEAVY_OF_ONE_MAX and self._heavy.total() < HEAVY_MAX:
            return None
        told = f"of large uploads, results, artifacts, logs and reports at most {HEAVY_OF_ONE_MAX} of one owner, and "
        told += f"{HEAVY_MAX} of all, may be under way at once; try again in {OVERLOADED_RETRY_S} s"
        return ApiError(Code.OVERLOADED, told, retry_after_s=OVERLOADED_RETRY_S)

    def _rule(self, method: str, path: str, caller: Caller | None, scope: AsgiScope) -> tuple[Rule, str]:
        if caller is None:
            return self._others, f"address:{address_of(scope)}"
        for matched in self._candidates(method):
            found = matched.path.fullmatch(path)
            if found:
                project = found.groupdict().get("project")
                # By owner: whether the project is the caller's is not known yet, and a stranger's tries are his own.
                counted = f"project:{project[:64]}:{caller.owner}" if project else f"key:{caller.key_id}"
                return matched.rule, counted
        return self._others, f"key:{caller.key_id}"

    def _candidates(self, method: str) -> Sequence[Matched]:
        return [matched for matched in self._matched if matched.method == method]

    async def _take(self, rule: Rule, who: str, *, alone: bool = False) -> Grant:
        return await self._services.limiter.take(rule, who, alone=alone)


def _length_of(start: Message) -> int:
    return int(Headers(raw=start["headers"]).get("content-length", "0"))


def _uncount(count: Counter[str], one: str) -> None:
    count[one] -= 1
    if not count[one]:
        del count[one]


def _is_heavy(scope: AsgiScope) -> bool:
    path: str = scope["path"]
    if path.startswith(HEAVY_PREFIX) and HEAVY.fullmatch(path) is not None:
        return True
    if scope.get("method", "GET") not in UPLOADING:  # most requests end here, without a look at their headers
        return False
    headers = Headers(scope=scope)
    if not headers.get("content-type", "").lower().startswith("multipart/"):
        return False
    length = headers.get("content-length", "")
    return not length.isdecimal() or int(length[:20]) > HEAVY_BODY_BYTES


def _headers(grant: Grant) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(grant.limit),
        "X-RateLimit-Remaining": str(grant.remaining),
        "X-RateLimit-Reset": str(grant.reset_at_s),
    }
