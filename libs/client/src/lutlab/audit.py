"""The log of a lab over HTTP: exported, followed, and asked about the past."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from lutlab.client import Client
from lutlab.errors import Unreachable
from lutlab.models import Event

READ_TIMEOUT_S = 30.0
"""The lab says something to a follower every 10 s."""
RETRY_WAIT_S = 1.0
RETRYABLE = frozenset({502, 503, 504})
FAILED = 400


class Audit:
    """Reads a lab's log.

    Args:
        lab: its client.
        transport: for tests.
    """

    def __init__(self, lab: Client, *, transport: httpx.BaseTransport | None = None) -> None:
        self._lab = lab
        self._transport = transport

    def _http(self) -> httpx.Client:
        return self._lab.endpoint.http(timeout_s=READ_TIMEOUT_S, transport=self._transport)

    def export(self, form: str, conditions: Mapping[str, Any]) -> Iterator[str]:
        """The log as text in pieces, as `jsonl` or `csv`. Raises: Refused, Unreachable."""
        with self._http() as http:
            try:
                with http.stream("GET", "/api/v1/audit", params={"format": form, **conditions}) as response:
                    self._check(response)
                    yield from response.iter_text()
            except httpx.TransportError as error:
                raise Unreachable(f"{self._lab.endpoint.api_url} went away: {error}") from error

    def follow(
        self,
        after: int | None,
        conditions: Mapping[str, Any],
        *,
        attempts_max: int | None = None,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Events as they come, for ever. A connection that breaks is resumed after the last event that was heard.

        Args:
            after: begin after this position; None for what happens from now on.
            attempts_max: how often in a row to try without hearing anything; None for ever.
            on_lost: told once each time that the lab is not heard any more, and why.

        Raises:
            Refused: the lab does not allow it.
            Unreachable: nobody listens there at first, or it was not heard `attempts_max` times.
        """
        attempt, heard = 0, False
        while True:
            attempt += 1
            problem, position = "the connection was closed", after
            try:
                for line in self._lines(after, conditions):
                    attempt, heard = 0, True
                    if line.startswith("id: "):
                        position = int(line.removeprefix("id: "))
                    elif not line:  # the end of a message: only now it was heard whole
                        after = position
                    elif line.startswith("data: "):
                        yield self._lab.decode(line.removeprefix("data: ").encode(), Event)
            except httpx.TransportError as error:
                problem = str(error)
                if not heard and isinstance(error, httpx.ConnectError):
                    raise Unreachable(f"{self._lab.endpoint.api_url} does not answer: {problem}") from error
            if attempt == 0 or (attempt == 1 and not heard):
                on_lost(problem)
            if attempts_max is not None and attempt >= attempts_max:
                raise Unreachable(f"{self._lab.endpoint.api_url} does not answer: {problem}")
            time.sleep(RETRY_WAIT_S)

    def _lines(self, after: int | None, conditions: Mapping[str, Any]) -> Iterator[str]:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        params = {"from_now": "true", **conditions}
        with (
            self._http() as http,
            http.stream("GET", "/api/v1/events/stream", params=params, headers=headers) as response,
        ):
            if response.status_code in RETRYABLE:
                return
            self._check(response)
            yield from response.iter_lines()

    def _check(self, response: httpx.Response) -> None:
        if response.status_code >= FAILED:
            response.read()
            raise self._lab.refusal(response)

    def state(self, stream: str, at: str | None) -> dict[str, Any]:
        """What the lab believed of a stream at a position or moment; None for now."""
        found: dict[str, Any] = self._lab.get(f"/api/v1/audit/state/{stream}", params={"at": at} if at else {})
        return found

    def commands(self, conditions: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Commands and their answers, newest first."""
        found: list[dict[str, Any]] = self._lab.get("/api/v1/commands", params=dict(conditions))
        return found

    def letters(self, *, replayed: bool = False) -> list[dict[str, Any]]:
        """Dead letters, newest first; for admins."""
        found: list[dict[str, Any]] = self._lab.get("/api/v1/deadletters", params={"replayed": replayed, "limit": 1000})
        return found

    def replay_letter(self, letter_id: str) -> dict[str, Any]:
        """Send a dead letter again; for admins."""
        found: dict[str, Any] = self._lab.post(f"/api/v1/deadletters/{letter_id}/replay")
        return found
