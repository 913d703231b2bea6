"""Connecting to NATS: one place for reconnect policy, credentials and logging."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import nats.errors
import structlog
from nats.aio.client import Client

log = structlog.get_logger(__name__)

RECONNECT_WAIT_S = 0.25
CONNECT_TIMEOUT_S = 5
CONNECT_WAITS_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Between attempts at a first connection, where a server is there but does not let us in."""
PENDING_BYTES_MAX = 64 << 20
PING_S = 10
PINGS_UNANSWERED_MAX = 2
"""A line that is cut without a word is noticed after three pings at most; nats-py's own would take six minutes."""
PERMISSIONS = "permissions violation"
"""What the server says of one message; all else that it says in this way ends the connection."""


class LastingClient(Client):
    """A client that comes back whatever the server says.

    nats-py closes itself for good at most errors from the server, as when its account is changed and read again
    (`nats-server --signal reload`), and the process lives on deaf and dumb.
    """

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS in err_msg.lower():
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(error)
        if self._current_server is not None:
            self._current_server.last_attempt = time.monotonic()  # or it comes back at once, to hear the same
        await self._process_op_err(error)


def public(url: str) -> str:
    """The servers of a NATS URL without the credentials in it, fit for logs."""
    return ",".join(part.rpartition("@")[2].removeprefix("nats://") for part in url.split(","))


async def connect(
    url: str,
    *,
    name: str,
    nkey_seed_file: Path | None = None,
    token: str | None = None,
    inbox: str = "_INBOX",
    reconnected: Callable[[], None] | None = None,
) -> Client:
    """A client, however long it takes; cancel it to give up.

    It reconnects for ever, whatever the server says; meanwhile published messages are buffered, up to
    `PENDING_BYTES_MAX`.

    Args:
        url: `nats://host:port`, or several separated by commas.
        name: shown by the server's monitoring.
        nkey_seed_file: file with the nkey seed, where the server asks for one.
        token: the server's token, where it asks for one.
        inbox: prefix of this client's reply subjects; a server that keeps clients apart asks for an own one
            (`lutlab_events.subjects.inbox`).
        reconnected: called after each reconnection; the server may be another one, or wiped.
    """

    async def on_error(error: Exception) -> None:
        log.warning("nats_error_seen", error=repr(error))

    async def on_disconnect() -> None:
        log.warning("nats_disconnected", server=public(url))

    async def on_reconnect() -> None:
        log.info("nats_reconnected", server=public(url))
        if reconnected is not None:
            reconnected()

    attempt = 0
    while True:
        try:
            # While nobody listens there, this tries for ever by itself; what else is wrong comes out of it.
            client = LastingClient()
            await client.connect(
                servers=[u.strip() for u in url.split(",")],
                name=name,
                connect_timeout=CONNECT_TIMEOUT_S,
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # it only sleeps so long
                max_reconnect_attempts=-1,
                pending_size=PENDING_BYTES_MAX,
                ping_interval=PING_S,
                max_outstanding_pings=PINGS_UNANSWERED_MAX,
                nkeys_seed=str(nkey_seed_file) if nkey_seed_file else None,
                token=token,
                inbox_prefix=inbox,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
            )
            return client
        except (nats.errors.Error, OSError) as error:
            wait_s = CONNECT_WAITS_S[min(attempt, len(CONNECT_WAITS_S) - 1)]
            attempt += 1
            log.warning("nats_awaited", server=public(url), error=repr(error), retry_in_s=wait_s)
            await asyncio.sleep(wait_s)


async def settled(client: Client) -> None:
    """Wait until the server has dealt with everything that `client` was told to send so far, subscriptions included.

    nats-py's own `flush` puts its PING on the wire ahead of what still waits in the client's buffer, so its PONG tells
    nothing about that. By the time the first PONG is here the buffer is on the wire, and the second PING follows it.

    Raises:
        nats.errors.Error: the connection is closed, or the server did not answer within nats-py's own 10 s.
    """
    await client.flush()
    await client.flush()
