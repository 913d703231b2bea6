"""Choosing TCP ports on loopback that stay ours across restarts."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from pathlib import Path

from lutlab_stack.errors import NoFreePort
from lutlab_stack.files import write_atomically

PORT_FIRST, PORT_LAST = 20_000, 29_999
"""Below Linux' range for outgoing connections (32768 and up): while a server restarts, no client's own end can sit on
its port, and a client that retries cannot connect to itself."""
ATTEMPTS_MAX = 200


def problem_with(port: int, host: str = "127.0.0.1") -> OSError | None:
    """Why no server could listen there now: the port is taken (`EADDRINUSE`), the address is not ours, ...; None if one
    could.

    Args:
        port: the TCP port.
        host: an IPv4 or IPv6 address, or a name for an IPv4 one, as the API takes it.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    return None


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port now."""
    return problem_with(port, host) is None


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens now. Raises: NoFreePort."""
    for _ in range(ATTEMPTS_MAX):
        port = random.randint(PORT_FIRST, PORT_LAST)  # noqa: S311 - not a secret
        problem = problem_with(port, host)
        if problem is None:
            return port
        if problem.errno != errno.EADDRINUSE:
            raise NoFreePort(f"nobody can listen on {host}: {problem.strerror}") from problem
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
