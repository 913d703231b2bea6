"""HEAD wherever there is GET (RFC 9110, 9.3.2): the same headers without the body; no route declares it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _Told(Exception):
    """The headers are sent; there is no need to make a body, least of all one without an end."""


class Head:
    """ASGI middleware inside `Edge`: has HEAD answered as GET up to the first byte of the body.

    What is inside sees a GET, limits included; what is outside (logs, metrics, the server) sees the HEAD it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            scope["method"] = "HEAD"
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            raise _Told

        # The scope is shared with what is outside, which reads from it what is found out inside: it is not copied.
        scope["method"] = "GET"
        try:
            await self._app(scope, receive, headed)
        except _Told:
            return
        finally:
            scope["method"] = "HEAD"
