"""Choosing TCP ports on loopback that stay ours across restarts."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from lutlab_stack.errors import NoFreePort
from lutlab_stack.files import write_atomically

PORT_FIRST, PORT_LAST = 20_000, 29_999
"""Below Linux' range for outgoing connections (32768 and up): while a server restarts, no client's own end can sit on
its port, and a client that retries cannot connect to itself."""
ATTEMPTS_MAX = 200


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens now. Raises: NoFreePort."""
    for _ in range(ATTEMPTS_MAX):
        port = random.randint(PORT_FIRST, PORT_LAST)  # noqa: S311 - not a secret
        if is_free(port, host):
            return port
    raise NoFreePort(f"{ATTEMPTS_MAX} ports between {PORT_FIRST} and {PORT_LAST} were tried on {host}, none is free")


def stored_port(path: Path, host: str = "127.0.0.1") -> int:
    """The port kept in `path` if it is free, otherwise a new one, kept from now on. Raises: NoFreePort."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(path.read_text(encoding="utf-8"))
        if is_free(port, host):
            return port
    port = free_port(host)
    write_atomically(path, f"{port}\n")
    return port
