"""A board's side door: a Unix socket where its pins are seen and set, its signals recorded and its faults chosen.

One JSON object a line in, one out: `{"ask": "pins"}`, `{"ask": "signals"}`, `{"ask": "drive", "pins": {"C4": 1}}`,
`{"ask": "capture", "cycles": 100, ...}` (see `capture.Capture`), `{"ask": "faults", ...}` (see `faults.Faults`),
`{"ask": "upset", "frame": 10, "bit": 20}`, `{"ask": "power_loss"}`, and the names of its signals,
`{"ask": "names", "names": {"count": ["R12C5 SLICEA register 0"]}}`. An answer is `{"ok": ...}` or `{"refused": "why"}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog

from lutlab_virtual_board.errors import VirtualBoardError

_log = structlog.get_logger("lutlab_virtual_board")

REQUEST_BYTES_MAX = 16 << 20
"""The names of a large design's signals."""
READ_BYTES = 1 << 16
CLIENTS_MAX = 8
SEND_TIMEOUT_S = 5.0

RECORDINGS_MAX = 8
"""Recordings that wait for their turn."""

Answer = Callable[[dict[str, Any]], Any]


@runtime_checkable
class Lasting(Protocol):
    """An answer that takes a while, step by step."""

    def step(self) -> str | None:
        """Go on for a moment; the answer once it is complete. Raises: VirtualBoardError."""


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
        self._lasting: deque[tuple[socket.socket, Lasting]] = deque()
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
            data = client.recv(READ_BYTES)
            buffer += data
            while b"\n" in buffer:
                line, _, rest = bytes(buffer).partition(b"\n")
                buffer[:] = rest
                reply = self._reply(client, line)
                if reply is not None:
                    _send(client, reply)
        except OSError as error:
            _log.warning("control_client_lost", reason=str(error))
            data = b""
        if data and len(buffer) <= REQUEST_BYTES_MAX:
            return True
        del self._clients[client]
        client.close()
        return False

    def _reply(self, client: socket.socket, line: bytes) -> dict[str, Any] | None:
        """The answer to a request, or None if it comes later."""
        try:
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise ControlRefused("a request is a JSON object")
            answer = self._answer(asked)
            if not isinstance(answer, Lasting):
                return {"ok": answer}
            if len(self._lasting) >= RECORDINGS_MAX:
                raise ControlRefused(f"{RECORDINGS_MAX} recordings wait for their turn already")
            self._lasting.append((client, answer))
        except (VirtualBoardError, ValueError) as error:
            return {"refused": str(error)}
        return None

    @property
    def is_busy(self) -> bool:
        """Whether something lasts: then `step` runs the design, and nobody else may."""
        return bool(self._lasting)

    def step(self) -> None:
        """Go on with what lasts, one after the other."""
        client, lasting = self._lasting[0]
        if client not in self._clients:
            self._lasting.popleft()
            return
        try:
            done = lasting.step()
            if done is None:
                return
            reply = {"ok": done}
        except VirtualBoardError as error:
            reply = {"refused": str(error)}
        self._lasting.popleft()
        try:
            _send(client, reply)
        except OSError as error:
            _log.warning("control_client_lost", reason=str(error))  # it is noticed when it is read from

    def close(self) -> None:
        """Remove the socket."""
        for client in self._clients:
            client.close()
        self.listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def _send(client: socket.socket, reply: dict[str, Any]) -> None:
    client.sendall(json.dumps(reply).encode() + b"\n")
