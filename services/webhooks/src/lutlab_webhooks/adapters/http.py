"""POSTs to endpoints. A name is resolved once, all its addresses are checked, and a checked one is connected
to; no redirect is followed, no proxy used, no more of an answer read than is kept."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from lutlab_hooks.addresses import Network, UrlRefused, check_address, check_url
from lutlab_webhooks.adapters.names import Names
from lutlab_webhooks.app.ports import Reply

ATTEMPT_S = 15.0
CONNECT_S = 5.0
BODY_CHARS_KEPT = 2000
BODY_BYTES_READ_MAX = 8192
HEADERS_KEPT_MAX = 32
HEADER_CHARS_MAX = 256


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that may be called."""

    def __init__(self, allowed: tuple[Network, ...], names: Names) -> None:
        self._allowed = allowed
        self._names = names
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to an address of `host`. Raises: UrlRefused if any of its addresses may not be called."""
        addresses = await self._names.addresses(host)
        # One bad address among good ones is how names are rebound: refuse the name.
        checked = [str(check_address(address, self._allowed)) for address in addresses]
        problem: Exception = OSError(f"{host} has no address")
        for address in checked[:2]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    async def sleep(self, seconds: float) -> None:
        """Part of httpcore's port."""
        await asyncio.sleep(seconds)


class HttpSender:
    """Implements the port `Sender`; each attempt has a connection of its own, TLS is checked with the system's
    authorities.

    Args:
        allowed: networks beside the public ones that may be called.
    """

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._allowed = allowed
        self._context = ssl.create_default_context()
        self._names = Names()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One POST. Never raises: what goes wrong is in the reply."""
        try:
            check_url(url, self._allowed)
            async with asyncio.timeout(ATTEMPT_S):
                return await self._post(url, headers, body)
        except UrlRefused as error:
            return Reply(error=f"refused: {error}")
        except TimeoutError:
            return Reply(error=f"no answer within {ATTEMPT_S:g} s")
        except (
            OSError,
            ValueError,  # what TLS says to a name that can be none
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
        ) as error:
            return Reply(error=f"{type(error).__name__}: {error}"[:HEADER_CHARS_MAX])

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._context, network_backend=CheckedBackend(self._allowed, self._names), max_connections=1
        ) as pool:
            timeouts = {"connect": CONNECT_S, "read": ATTEMPT_S, "write": ATTEMPT_S, "pool": ATTEMPT_S}
            fields = {**headers, "content-length": str(len(body)), "connection": "close"}
            extensions = {"timeout": timeouts}
            async with pool.stream("POST", url, headers=list(fields.items()), content=body, extensions=extensions) as r:
                return Reply(
                    status_code=r.status,
                    headers=_kept(r.headers),
                    body=await _beginning(r),
                    error="redirects are not followed" if 300 <= r.status < 400 else None,
                )


def _kept(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    pairs = [(k.decode("latin-1").lower(), v.decode("latin-1")[:HEADER_CHARS_MAX]) for k, v in headers]
    return {k: v for k, v in pairs[:HEADERS_KEPT_MAX] if k != "set-cookie"}


async def _beginning(response: httpcore.Response) -> str:
    read = b""
    with contextlib.suppress(httpcore.NetworkError, httpcore.ProtocolError):  # the status counts, however it goes on
        async for piece in response.aiter_stream():
            read += piece
            if len(read) >= BODY_BYTES_READ_MAX:
                break
    return read.decode(errors="replace")[:BODY_CHARS_KEPT]
