"""A lab over HTTP: requests that are safe to repeat, and repeated where that helps.

Every request that changes something carries an Idempotency-Key, so that trying again after a lost answer does nothing
twice. A lab that has answered once may go away for a minute, to be started again say: who waits goes on waiting.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from lutlab.config import resolve
from lutlab.errors import NO_CODE, LutlabError, Refused, Unreachable, refusal

T = TypeVar("T")

TIMEOUT_S = 30.0
TRIES_MAX = 6
AWAY_TRIES_MAX = 60
"""While nobody listens where a lab has answered before; one each `RETRY_WAIT_S`."""
TOLD_AT_TRY = 2
RETRY_WAIT_S = 1.0
RETRY_WAIT_MAX_S = 5.0
BUSY = frozenset({429, 503})
AWAY = frozenset({502, 504})
"""What a proxy says before a lab that is just started again; the lab says so of boards, with codes of its own."""
UNDER_WAY = "request_in_progress"
"""Said of a repetition that came before the first attempt, whose answer was not heard, has ended."""


class Http:
    """Requests to one lab; the arguments are those of `lutlab.Client`. Raises: NotConfigured: no lab is known."""

    def __init__(
        self,
        api_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        on_retry: Callable[[str], None] = lambda _: None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.endpoint = resolve(api_url, api_key)
        self._http = self.endpoint.http(timeout_s=timeout_s, transport=transport)
        self._on_retry = on_retry
        self._heard = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **arguments: Any) -> Any:
        """What a route answers, as plain JSON values; for routes that `Client` has no method for."""
        return self._get(path, Any, **arguments)

    def post(self, path: str, **arguments: Any) -> Any:
        """As `get`, for a POST."""
        response = self.request("POST", path, **arguments)
        return _decoded(response, Any) if response.content else None

    def delete(self, path: str) -> None:
        """As `get`, for a DELETE."""
        self.request("DELETE", path)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A request of any kind and its answer; asked again where the lab says it helps, or nothing was heard.

        Raises:
            Refused, Unreachable
        """
        if method != "GET":  # the same in every attempt
            arguments["headers"] = {"Idempotency-Key": secrets.token_hex(16), **arguments.get("headers", {})}
        tries: Counter[bool] = Counter()  # by whether the lab was away, or there and not able to
        told = False
        while True:
            wait_s = RETRY_WAIT_S
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                away = isinstance(error, httpx.ConnectError)
                failure: LutlabError = Unreachable(self._unheard(error, away))
                failure.__cause__ = error
            else:
                if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                    self._heard = True
                    return response
                failure = refused = _refused(response)
                away = response.status_code in AWAY and refused.code == NO_CODE
                self._heard = self._heard or not away
                if not (away or response.status_code in BUSY or refused.code == UNDER_WAY):
                    raise failure
                wait_s = min(refused.retry_after_s or RETRY_WAIT_S, RETRY_WAIT_MAX_S)
            tries[away] += 1
            if tries[away] >= self._tries_max(away):
                raise failure
            told_at = 1 if isinstance(failure.__cause__, httpx.TimeoutException) else TOLD_AT_TRY
            if not told and tries.total() >= told_at:
                self._on_retry(str(failure))
                told = True
            time.sleep(wait_s)

    def typed(self, method: str, path: str, kind: type[T], **arguments: Any) -> T:
        """As `request`, with the answer as a value. Raises: LutlabError."""
        return _decoded(self.request(method, path, **arguments), kind)

    def lines(self, path: str, **arguments: Any) -> Iterator[str]:
        """The lines of an answer as they come, however long there is none. Raises: Refused, Unreachable."""
        timeout = httpx.Timeout(TIMEOUT_S, read=None)
        try:
            with self._http.stream("GET", path, timeout=timeout, **arguments) as response:
                if not response.is_success:
                    response.read()
                    raise _refused(response)
                self._heard = True
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise Unreachable(f"{self.endpoint.api_url} went away: {error}") from error

    @staticmethod
    def decode(data: bytes, kind: type[T]) -> T:
        """A value the lab sent. Raises: LutlabError."""
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise LutlabError(f"the lab said what this version does not understand: {error}") from error

    @staticmethod
    def refusal(response: httpx.Response) -> Refused:
        """The error a response carries."""
        return _refused(response)

    def _get(self, path: str, kind: type[T], **arguments: Any) -> T:
        return _decoded(self.request("GET", path, **arguments), kind)

    def _post(self, path: str, kind: type[T], **arguments: Any) -> T:
        return _decoded(self.request("POST", path, **arguments), kind)

    def _unheard(self, error: httpx.TransportError, away: bool) -> str:
        told = f"{self.endpoint.api_url} does not answer: {error or type(error).__name__}"
        if away and self.endpoint.is_here and not self._heard:
            told += "; `lutlab up` starts a lab here, --api-url or LUTLAB_API_URL names another"
        return told

    def _tries_max(self, away: bool) -> int:
        """How often to ask in vain: who was never there is not waited for, who was may be starting again."""
        if away:
            return AWAY_TRIES_MAX if self._heard else 1
        return TRIES_MAX


def _decoded(response: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        raise LutlabError(f"{response.request.url} answered what this version does not understand: {error}") from error


def _refused(response: httpx.Response) -> Refused:
    """The lab's error, whatever its form."""
    if response.has_redirect_location:  # not followed: a key goes nowhere it was not meant for
        where = response.headers["Location"]
        message = f"{response.request.url} sends its callers to {where}: if that is the lab, name it with --api-url"
        return Refused(NO_CODE, message, status=response.status_code)
    return refusal(response.status_code, response.content, retry_after=response.headers.get("Retry-After", ""))
