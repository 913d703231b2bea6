"""The board's serial line as a pseudo terminal, as a USB serial adapter would offer it."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import pty
import termios
import tty
from pathlib import Path

from lutlab_virtual_board.files import link_atomically

READ_BYTES_MAX = 4096
_TCGETS2 = 0x802C542A
_TERMIOS2_WORDS = 11
_OUTPUT_SPEED_WORD = 10


class SerialLine:
    """A pseudo terminal that stays while its users come and go.

    Args:
        link: a symbolic link that points to it as long as it exists, or None.
    """

    def __init__(self, link: Path | None) -> None:
        self.descriptor, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.descriptor, False)
        self.name = os.ttyname(self._slave)
        """Path of the terminal."""
        self._link = link
        if link is not None:
            link_atomically(link, self.name)

    def baud(self) -> int:
        """The bit rate that the terminal's user has set, standard or not."""
        words = array.array("I", [0] * _TERMIOS2_WORDS)
        fcntl.ioctl(self._slave, _TCGETS2, words)
        return words[_OUTPUT_SPEED_WORD]

    def read(self, limit: int) -> bytes:
        """Bytes the user has written; empty if there are none now."""
        try:
            return os.read(self.descriptor, min(limit, READ_BYTES_MAX))
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def write(self, data: bytes) -> int:
        """Hand bytes to the user; how many there was room for."""
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            return 0

    def discard(self) -> None:
        """Forget bytes the user has written and the board has not read."""
        while self.read(READ_BYTES_MAX):
            pass

    def close(self) -> None:
        """Remove the terminal and its link."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                if self._link.readlink() == Path(self.name):
                    self._link.unlink()
        for descriptor in (self.descriptor, self._slave):
            with contextlib.suppress(OSError, termios.error):
                os.close(descriptor)
