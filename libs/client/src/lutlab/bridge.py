"""The raw TCP bridge of a reserved board, and a local port in front of it for clients that know no token.

The bytes are the stream's frames, one behind the other; docs/boards.md says how the connection begins.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from lutlab.errors import LutlabError, StreamFailed
from lutlab.models import BridgeWay

CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 65_536
TOKEN_HEAD = bytes.fromhex("10000008 00000000")
ACCEPTED = bytes(4)


def connect_bridge(way: BridgeWay) -> socket.socket:
    """A socket that takes and gives the stream's frames.

    Raises:
        StreamFailed: nobody listens there, the token is not valid any more, or the board has another connection.
    """
    try:
        sock = socket.create_connection((way.host, way.port), CONNECT_TIMEOUT_S)
    except OSError as error:
        raise StreamFailed(f"the bridge at {way.host}:{way.port} cannot be reached: {error}") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(TOKEN_HEAD + bytes.fromhex(way.token))
        answer = b""
        while len(answer) < len(ACCEPTED) and (data := sock.recv(len(ACCEPTED) - len(answer))):
            answer += data
        if answer != ACCEPTED:
            raise StreamFailed(
                f"the bridge at {way.host}:{way.port} refused: the session or the key ended, or the board has another "
                "connection"
            )
        sock.settimeout(None)
    except OSError as error:
        sock.close()
        raise StreamFailed(f"the bridge at {way.host}:{way.port} failed: {error}") from error
    except StreamFailed:
        sock.close()
        raise
    return sock


def forward(listener: socket.socket, ask: Callable[[], BridgeWay], note: Callable[[str], None]) -> None:
    """Serve clients of a local port for ever, one after the other, as the board takes one at a time.

    Args:
        listener: listens already.
        ask: the way to the bridge; asked for each client, so a new session needs no new start.
        note: takes a sentence for a person.
    """
    while True:
        client, _ = listener.accept()
        with client:
            try:
                with connect_bridge(ask()) as board:
                    _exchange(client, board)
            except LutlabError as error:  # also a session that ended: the next client may find another
                note(str(error))


def _exchange(client: socket.socket, board: socket.socket) -> None:
    """Copy both ways until one side ends."""
    upward = threading.Thread(target=_copy, args=(client, board), daemon=True)
    upward.start()
    _copy(board, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    upward.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
