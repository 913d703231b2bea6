"""GitHub, or whatever speaks its `GET /user`, behind the port `IdentityProvider`."""

from __future__ import annotations

import re

import httpx

from lutlab_api.app.ports import Identity
from lutlab_api.domain.errors import ApiError, Code, NotAuthenticated

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 64 << 10
LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,48})")
TOKEN = re.compile(r"[\x21-\x7e]{1,512}")


class GitHub:
    """Asks the identity endpoint below `url`; follows no redirect, so that a token goes nowhere else."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/user"

    async def whose(self, token: str) -> Identity:
        """Who a token belongs to. Raises: NotAuthenticated, ApiError (`login_unavailable`)."""
        if TOKEN.fullmatch(token) is None:
            raise _refused()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream("GET", self._url, headers=headers) as answer,
            ):
                return await _identity(answer)
        except httpx.HTTPError as error:
            raise _unavailable(f"it cannot be reached ({type(error).__name__})") from error


async def _identity(answer: httpx.Response) -> Identity:
    if answer.status_code in (401, 403, 404):
        raise _refused()
    if answer.status_code != 200:
        raise _unavailable(f"it answered {answer.status_code}")
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise _unavailable(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
    try:
        login = httpx.Response(200, content=body).json()["login"]
    except (ValueError, TypeError, KeyError):
        raise _unavailable("its answer names no `login`") from None
    if not isinstance(login, str) or LOGIN.fullmatch(login) is None:
        raise _unavailable(f"its answer names a strange login {str(login)[:40]!r}")
    return Identity(login=login)


def _refused() -> NotAuthenticated:
    return NotAuthenticated(Code.LOGIN_REFUSED, "the identity provider does not know this token; log in there again")


def _unavailable(why: str) -> ApiError:
    return ApiError(Code.LOGIN_UNAVAILABLE, f"the identity provider does not work: {why}; try again later")
