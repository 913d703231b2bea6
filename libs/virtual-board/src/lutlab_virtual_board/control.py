"""A board's side door: a Unix socket where its pins are seen and set, its signals recorded and its faults chosen.

One JSON object a line in, one out: `{"ask": "pins"}`, `{"ask": "drive", "pins": {"C4": 1}}`, `{"ask": "capture",
"cycles": 100, ...}` (see `capture.Capture`), `{"ask": "faults", ...}` (see `faults.Faults`), `{"ask": "upset",
"frame": 10, "bit": 20}`, `{"ask": "power_loss"}`. An answer is `{"ok": ...}` or `{"refused": "why"}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from lutlab_virtual_board.errors import VirtualBoardError

_log = structlog.get_logger("lutlab_virtual_board")

REQUEST_BYTES_MAX = 1 << 16
CLIENTS_MAX = 8
SEND_TIMEOUT_S = 5.0

Answer = Callable[[dict[str, Any]], Any]


class ControlRefused(VirtualBoardError):
    """A request at the side door cannot be done."""

    code = "control_refused"


class Control:
    """The listening socket and its clients.

    Args:
        path: of the socket; replaced if it exists.
        answer: does what a request asks.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._clients: dict[socket.socket, bytearray] = {}
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # By way of the folder's descriptor: an address has room for 107 characters only.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        path.chmod(0o600)
        self.listener.listen(CLIENTS_MAX)
        self.listener.setblocking(False)

    def accept(self) -> socket.socket | None:
        """A new client, or None where there are too many."""
        client, _ = self.listener.accept()
        if len(self._clients) >= CLIENTS_MAX:
            client.close()
            return None
        client.settimeout(SEND_TIMEOUT_S)
        self._clients[client] = bytearray()
        return client

    def is_client(self, source: object) -> bool:
        """Whether something that can be read is one of the clients."""
        return source in self._clients

    def serve(self, client: socket.socket) -> bool:
        """Read from a client and answer its complete lines; False when it has gone."""
        buffer = self._clients[client]
        try:
            data = client.recv(REQUEST_BYTES_MAX)
            buffer += data
            while b"\n" in buffer:
                line, _, rest = bytes(buffer).partition(b"\n")
                buffer[:] = rest
                client.sendall(json.dumps(self._reply(line)).encode() + b"\n")
        except OSError as error:
            _log.warning("control_client_lost", reason=str(error))
            data = b""
        if data and len(buffer) <= REQUEST_BYTES_MAX:
            return True
        del self._clients[client]
        client.close()
        return False

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise ControlRefused("a request is a JSON object")
            return {"ok": self._answer(asked)}
        except (VirtualBoardError, ValueError) as error:
            return {"refused": str(error)}

    def close(self) -> None:
        """Remove the socket."""
        for client in self._clients:
            client.close()
        self.listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
