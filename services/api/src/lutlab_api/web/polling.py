"""Answers that are cheap to ask for again: ETag and If-None-Match, and `Prefer: wait=N` for long polls."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Response
from fastapi.requests import Request
from pydantic import BaseModel

from lutlab_api.app.cancelling import end
from lutlab_api.web.asked import services_of, whose

TAG_BYTES = 12
CLIENT_GONE = 499
"""What logs and metrics say of a request whose client did not wait for the answer; it is sent to nobody."""
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "unchanged since the given `If-None-Match`"}}
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "X-API-Key, Authorization"}
"""For caches on the way: an answer is for whoever asked."""
M = TypeVar("M", bound=BaseModel)


def tag_of(body: bytes) -> str:
    """A strong ETag of a body."""
    return f'"{hashlib.blake2b(body, digest_size=TAG_BYTES).hexdigest()}"'


@dataclass(frozen=True)
class Poll:
    """What a request says about polling: tags it has, and how long it would wait for another answer."""

    known: frozenset[str]
    wait_s: int

    def has(self, body: bytes) -> bool:
        """Whether the caller has this body already."""
        return "*" in self.known or tag_of(body) in self.known

    def answer(self, body: bytes) -> Response:
        """200 with the body, or 304."""
        headers = {"ETag": tag_of(body), **PRIVATE}
        if self.wait_s:
            headers["Preference-Applied"] = f"wait={self.wait_s}"
        if self.has(body):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")


UNCONDITIONAL = Poll(frozenset(), 0)

IfNoneMatch = Annotated[
    str | None, Header(description="the `ETag` of an earlier answer: 304 while nothing has changed")
]


def _known(if_none_match: str | None) -> Poll:
    if not if_none_match:
        return UNCONDITIONAL
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return Poll(frozenset(tag for tag in tags if tag), 0)


async def _poll(
    request: Request,
    if_none_match: IfNoneMatch = None,
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=N`: answer when there is news, at the latest after N seconds. With `If-None-Match` that "
            "is any change, without it the end of the job",
            examples=["wait=30"],
        ),
    ] = None,
) -> Poll:
    found = WAIT.search(prefer or "")
    longest_s = services_of(request).settings.wait_s_max
    return replace(_known(if_none_match), wait_s=min(int(found.group(1)), longest_s) if found else 0)


Polled = Annotated[Poll, Depends(_poll)]


def tags_of(request: Request) -> Poll:
    """Conditional, but without waiting; for routes without FastAPI's dependencies."""
    return _known(request.headers.get("if-none-match"))


POLLED: dict[str, Any] = {
    "security": [{"APIKeyHeader": []}, {"HTTPBearer": []}],
    "parameters": [
        {
            "name": "if-none-match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "the `ETag` of an earlier answer: 304 while nothing has changed",
        }
    ],
}
"""What `lutlab_api.web.asked.reader_of` and `tags_of` read, for the document."""


async def answer_news(
    request: Request,
    poll: Poll,
    stream: str,
    read: Callable[[], Awaitable[M]],
    ended: Callable[[M], bool],
) -> Response:
    """What `read` gives, at once or when it is news: another body than the caller's or, if it named none, the end.

    Nobody waits for a caller who is gone.
    """

    async def encoded() -> tuple[M, bytes]:
        found = await read()
        return found, found.model_dump_json().encode()

    def is_news(found: tuple[M, bytes]) -> bool:
        return not poll.has(found[1]) if poll.known else ended(found[0])

    waiting = services_of(request).waiting.until(stream, encoded, is_news, poll.wait_s, whose(request.scope))
    if not poll.wait_s:
        return poll.answer((await waiting)[1])
    looking = asyncio.ensure_future(waiting)
    leaving = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({looking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return poll.answer(looking.result()[1]) if looking.done() else Response(status_code=CLIENT_GONE)
    finally:
        await end([looking, leaving])


async def _until_gone(request: Request) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
