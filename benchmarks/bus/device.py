"""The fake device in C on a pseudo-terminal: built by gcc when its source changed, one process per line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import tty
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("fake_device.c")
CPUS = sorted(os.sched_getaffinity(0))
"""As this program may use when it begins: `pin_host` leaves it one, and its children inherit that."""


def build() -> Path:
    """Compile the device; returns the program."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]  # another checkout may be at work beside this one
    program = Path(tempfile.gettempdir()) / f"lutlab-fake-device-{os.getuid()}-{digest}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(partial), str(SOURCE), "-lm"], check=True)
        partial.rename(program)
    return program


class FakeDevice:
    """One device.

    Args:
        protocol: what it speaks; see the C file.
        baud: of the modelled line; 0: as fast as it goes.
        latency_us: of the modelled USB adapter.
        error_rate: of each byte in each direction.
        seed: for the errors.
        fifo_address_words: of the word that counts its reads.

    Attributes:
        path: of the tty.
    """

    def __init__(
        self,
        protocol: str,
        *,
        baud: int = 0,
        latency_us: int = 0,
        error_rate: float = 0.0,
        seed: int = 1,
        fifo_address_words: int | None = None,
    ) -> None:
        master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        command = [str(build()), str(master), protocol, "-s", str(seed)]
        command += ["-r", str(baud / 10)] if baud else []
        command += ["-l", str(latency_us)] if latency_us else []
        command += ["-e", str(error_rate)] if error_rate else []
        command += [] if fifo_address_words is None else ["-f", str(fifo_address_words)]
        self._process = subprocess.Popen(command, pass_fds=[master], stderr=subprocess.PIPE)
        os.close(master)
        if len(CPUS) > 1:
            os.sched_setaffinity(self._process.pid, CPUS[1:])

    @property
    def cores(self) -> set[int]:
        """Where it may run."""
        return os.sched_getaffinity(self._process.pid)

    def open_fd(self) -> int:
        """The host's end, raw and blocking."""
        fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)
        return fd

    def close(self) -> dict[str, Any]:
        """End it; its totals. Raises: subprocess.TimeoutExpired: it did not end, and was killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            _, errors = self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        with contextlib.suppress(OSError):
            os.close(self._slave)
        lines = errors.decode().strip().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}


def pin_host() -> None:
    """Keep this process off the devices' core, where there is more than one."""
    if len(CPUS) > 1:
        os.sched_setaffinity(0, CPUS[:1])


if __name__ == "__main__":
    sys.exit(f"built {build()}")
