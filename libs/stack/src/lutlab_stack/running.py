"""Run one server for as long as a `with` block, synchronously: for tests and one-off tools."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lutlab_stack import spawn
from lutlab_stack.errors import StartFailed
from lutlab_stack.files import tail

READY_TIMEOUT_S = 60.0
POLL_S = 0.02


class Server(Protocol):
    """Something that is started as one process and says when it can be used."""

    def spec(self) -> spawn.ProcessSpec:
        """The process to start."""
        ...

    def is_ready(self, pid: int) -> bool:
        """Whether the process started as `pid` can be used now."""
        ...


def wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    """Wait until the server can be used. Raises: StartFailed."""
    deadline = time.monotonic() + timeout_s
    while not server.is_ready(process.pid):
        code = process.poll()
        if code is not None:
            raise StartFailed(f"{server.spec().name} ended with code {code} while starting:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise StartFailed(f"{server.spec().name} was not ready after {timeout_s:g} s:\n{tail(log)}")
        time.sleep(POLL_S)


@contextmanager
def running(server: Server, log: Path, *, timeout_s: float = READY_TIMEOUT_S) -> Iterator[int]:
    """Start the server, give its process id once it is ready, and end it with the block.

    Raises:
        StartFailed: it ended or was not ready in time.
    """
    spec = server.spec()
    with log.open("ab") as output:
        process = spawn.spawn(spec, output)
    try:
        wait_ready(server, process, log, timeout_s)
        yield process.pid
    finally:
        spawn.stop(process, spec)
