"""Ports `SerialPorts` and `SerialLine` with pyserial: opening and speeds are its work, bytes go straight to the tty.

The event loop watches the descriptor, so a byte that arrives wakes its reader without a thread or a poll between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import termios
from collections.abc import Callable
from pathlib import Path

import serial
import structlog

from lutlab_board_agent.domain.errors import SerialGone, SerialUnavailable
from lutlab_board_agent.domain.latency import BEST_MS, LatencyTimer, shortening_due

log = structlog.get_logger(__name__)

READ_BYTES = 65_536
RECEIVE_BYTES_MAX = 1 << 20
"""Received bytes kept for a slow reader; beyond that the tty's own buffer fills."""
SEND_BYTES_MAX = 1 << 18
"""`drain` waits while more than this many bytes have not been taken by the tty."""


class TtyPorts:
    """Serial lines of this host.

    Args:
        sysfs: where the kernel tells about devices.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs

    def present(self, path: str) -> bool:
        """Whether something is plugged in there (a link that points nowhere is not), or nobody may look."""
        try:
            return Path(path).exists()
        except PermissionError:
            return True  # opening it says what is wrong; one closed folder must not end the agent

    async def open(self, path: str, baud: int, on_gone: Callable[[], None]) -> TtyLine:
        """Open a line for this process alone; see `ports.SerialPorts`."""
        try:
            port = await asyncio.to_thread(_open, path, baud)
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            raise SerialUnavailable(_reason(path, baud, error)) from error
        latency = shorten_latency(self._sysfs, path)
        log.info("serial_opened", path=path, baud=baud, latency_timer=latency)
        return TtyLine(port, on_gone, latency)


def _open(path: str, baud: int) -> serial.Serial:
    port = serial.Serial(path, baudrate=baud, timeout=0, write_timeout=0, exclusive=True)
    # Only drivers with a latency timer (USB adapters) know the mode; on others there is nothing to shorten.
    with contextlib.suppress(OSError, ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    return port


def _reason(path: str, baud: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EACCES, errno.EPERM):
        return f"the agent may not open {path}; add its user to the group that owns it (often `dialout`)"
    if number == errno.ENOENT or not Path(path).exists():
        return f"there is no serial line at {path}; is the board plugged in?"
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "exclusively lock" in str(error):
        return f"another program has {path} open; close it"
    return f"{path} cannot be opened at {baud} baud: {error}"


def shorten_latency(sysfs: Path, path: str) -> LatencyTimer | None:
    """Set a USB adapter's latency timer as short as it goes, and tell what came of it; None for a line without one."""
    timer = sysfs / "class" / "tty" / Path(path).resolve().name / "device" / "latency_timer"
    try:
        found_ms = int(timer.read_text())
    except (OSError, ValueError):
        return None
    if not shortening_due(found_ms):
        return LatencyTimer(found_ms=found_ms, now_ms=found_ms)
    try:
        timer.write_text(f"{BEST_MS}\n")
        return LatencyTimer(found_ms=found_ms, now_ms=int(timer.read_text()))
    except (OSError, ValueError) as error:
        problem = f"{timer} cannot be set to {BEST_MS} ms: {error}; install the udev rules"
        log.warning("latency_timer_long", path=path, latency_ms=found_ms, problem=problem)
        return LatencyTimer(found_ms=found_ms, now_ms=found_ms, problem=problem)


class TtyLine:
    """An open serial line. Once it ended, every use raises `SerialGone`, an `OSError` too (as `lutlab_bus` asks).

    Args:
        port: an open pyserial port in non-blocking mode.
        on_gone: called once, from the event loop, when the line ends by itself.
        latency: what is known about the USB adapter's timer.
    """

    def __init__(self, port: serial.Serial, on_gone: Callable[[], None], latency: LatencyTimer | None = None) -> None:
        self._port = port
        self.latency = latency
        self._fd: int = port.fileno()
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._to_send = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._ended: str | None = None
        self._reading = True
        self._loop.add_reader(self._fd, self._on_readable)

    def write(self, data: bytes) -> None:
        """Send bytes, at once as far as the tty takes them. Raises: LineEnded."""
        self._check()
        if self._to_send:
            self._to_send += data
            return
        sent = self._write_some(data)
        if sent < len(data):
            self._to_send += data[sent:]
            self._loop.add_writer(self._fd, self._on_writable)

    async def drain(self) -> None:
        """Wait until there is room for more. Raises: LineEnded."""
        while len(self._to_send) > SEND_BYTES_MAX:
            self._drainer = self._loop.create_future()
            await self._drainer
        self._check()

    async def read(self, limit_bytes: int) -> bytes:
        """Wait for one to `limit_bytes` bytes. Raises: LineEnded."""
        while not self._received:
            self._check()
            self._reader = self._loop.create_future()
            await self._reader
        data = bytes(self._received[:limit_bytes])
        del self._received[:limit_bytes]
        if not self._reading and self._ended is None:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)
        return data

    def close(self) -> None:
        """Drop what was not sent, in the tty's buffer too, and give the line back."""
        self._end("the agent closed the line", tell=False)

    def _write_some(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(f"writing failed: {error}", tell=True)
            return 0

    def _on_writable(self) -> None:
        del self._to_send[: self._write_some(self._to_send)]
        if self._ended is not None:
            return
        if not self._to_send:
            self._loop.remove_writer(self._fd)
        if len(self._to_send) <= SEND_BYTES_MAX:
            _wake(self._drainer)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # EIO: the other end of a pseudo-terminal closed; ENODEV, ENXIO: unplugged
            self._end(f"reading failed: {error}", tell=True)
            return
        if not data:
            self._end("the device hung up", tell=True)
            return
        self._received += data
        if len(self._received) > RECEIVE_BYTES_MAX:
            self._reading = False
            self._loop.remove_reader(self._fd)
        _wake(self._reader)

    def _end(self, reason: str, *, tell: bool) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        self._to_send.clear()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        self._port.close()
        _wake(self._reader)
        _wake(self._drainer)
        if tell:
            self._on_gone()

    def _check(self) -> None:
        if self._ended is not None:
            raise LineEnded(self._ended)


class LineEnded(SerialGone, OSError):
    """Use of a line that ended."""


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
