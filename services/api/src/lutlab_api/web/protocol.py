"""uvicorn's HTTP/1.1, with an end to what it would wait for, or keep, without one."""

from __future__ import annotations

import asyncio
import json

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lutlab_api.domain.errors import Code
from lutlab_api.web.edge import CUT, DRAINED
from lutlab_api.web.errors import body_of

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX = 64 << 10
"""Of a request's line and headers; of a chunked body's trailers and extensions, too."""
HEAD_PATIENCE_S = 30.0
"""How long a connection may be silent, or send half a head: whoever opens many would keep everybody else out."""
REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s"
)


class Protocol(HttpToolsProtocol):
    """One connection. It can be cut: a client that does not read cannot be told that this is the end."""

    _loose_bytes = 0
    """What came since something of a request was complete."""
    _awaiting: asyncio.TimerHandle | None = None
    _is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._loose_bytes += len(data)
        super().data_received(data)
        if self._loose_bytes > HEAD_BYTES_MAX:
            self._refuse()
        elif self._awaiting is None and self._is_idle():
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol goes on."""
        self._is_upgraded = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope[CUT] = self.transport.abort  # type: ignore[literal-required]  # servers may extend a scope
        self.scope[DRAINED] = self.flow.drain  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._loose_bytes = 0
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body is."""
        self._loose_bytes = 0
        super().on_body(body)

    def _is_idle(self) -> bool:
        is_over = self.cycle is None or self.cycle.response_complete
        return is_over and not self._is_upgraded and not self.transport.is_closing()

    def _await_head(self) -> None:
        self._awaiting = self.loop.call_later(HEAD_PATIENCE_S, self._give_up)

    def _head_came(self) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
            self._awaiting = None

    def _give_up(self) -> None:
        self._awaiting = None
        if not self.transport.is_closing():
            log.info("silent_connection_closed", client=self.client, waited_s=HEAD_PATIENCE_S)
            self.transport.close()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        log.warning("endless_head_refused", client=self.client, got_bytes=self._loose_bytes)
        if not self._is_idle():  # what is sent now would be taken for a part of the answer before
            self.transport.abort()
            return
        message = f"a request's line and headers may have {HEAD_BYTES_MAX} bytes"
        body = json.dumps(body_of(Code.HEAD_TOO_LARGE, message)).encode()
        self.transport.write(REFUSAL % (len(body), body))
        self.transport.close()
