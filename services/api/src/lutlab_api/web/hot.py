"""A short way to the routes that are polled: no router, no dependencies, the same functions.

Three quarters of a lab's requests ask how a job or a board is. FastAPI spends more time on finding such a route and on
resolving its dependencies than the route spends on its answer. What does not plainly fit here goes the usual way.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lutlab_api.domain.errors import ApiError
from lutlab_api.web.errors import response_of
from lutlab_api.web.routes_boards import get_fpga
from lutlab_api.web.routes_jobs import get_job, get_job_of_fpga

BOARD = r"(?P<fpga_id>0|[1-9][0-9]{0,3})"
JOB = r"(?P<job_id>[0-9a-f-]{36})"


@dataclass(frozen=True, slots=True)
class Template:
    """Stands for a route where only its pattern is asked for (metrics, traces)."""

    path: str


@dataclass(frozen=True, slots=True)
class Polled:
    """A route that is polled: which paths, and what answers them."""

    path: re.Pattern[str]
    template: Template
    answer: Callable[..., Awaitable[Response]]


POLLED = (
    Polled(re.compile(f"/jobs/{JOB}"), Template("/jobs/{job_id}"), get_job),
    Polled(re.compile(f"/fpga/{BOARD}"), Template("/fpga/{fpga_id}"), get_fpga),
    Polled(re.compile(f"/fpga/{BOARD}/jobs/{JOB}"), Template("/fpga/{fpga_id}/jobs/{job_id}"), get_job_of_fpga),
)


class Hot:
    """ASGI middleware, the innermost of ours: inside request ids, limits and measuring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a poll; pass everything else on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            for polled in POLLED:
                found = polled.path.fullmatch(scope["path"])
                if found:
                    await self._answer(polled, found.groupdict(), scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(self, polled: Polled, found: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = polled.template
        if "fpga_id" in found:
            found["fpga_id"] = int(found["fpga_id"])
        try:
            response = await polled.answer(request=Request(scope, receive), **found)
        except ApiError as error:
            response = response_of(error, scope["path"])
        await response(scope, receive, send)
