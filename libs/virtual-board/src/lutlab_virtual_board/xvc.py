"""The Xilinx Virtual Cable protocol, version 1.0, without any I/O.

`getinfo:` asks for the version and the largest vector, `settck:` for a clock period, `shift:` clocks the TAP. Source:
Xilinx XAPP1251 "Xilinx Virtual Cable Running on Zynq-7000".
"""

from __future__ import annotations

from typing import Protocol

VECTOR_BYTES_MAX = 32768
"""Bytes of TMS and TDI together in one shift, as announced. openFPGALoader's lengths overflow beyond 65535."""

_COMMAND_BYTES_MAX = 8
_SHIFT_BITS_MAX = VECTOR_BYTES_MAX * 8


class XvcError(Exception):
    """The client does not speak the protocol."""

    code = "xvc_protocol_error"


class Shifter(Protocol):
    """A TAP."""

    def shift(self, count: int, tms: int, tdi: int) -> int:
        """See `jtag.Tap.shift`."""


class XvcSession:
    """One client.

    Args:
        tap: that the client drives.
    """

    def __init__(self, tap: Shifter) -> None:
        self._tap = tap
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client.

        Returns:
            Bytes to send back.

        Raises:
            XvcError: an unknown command, or a vector that is longer than announced.
        """
        self._buffer += data
        answer = bytearray()
        while (step := self._next()) is not None:
            answer += step
        return bytes(answer)

    def _next(self) -> bytes | None:
        """Execute the first complete command in the buffer; None if there is none."""
        end = self._buffer.find(b":", 0, _COMMAND_BYTES_MAX)
        if end < 0:
            if len(self._buffer) >= _COMMAND_BYTES_MAX:
                raise XvcError(f"unknown command {bytes(self._buffer[:_COMMAND_BYTES_MAX])!r}")
            return None
        command = bytes(self._buffer[:end])
        if command == b"getinfo":
            del self._buffer[: end + 1]
            return f"xvcServer_v1.0:{VECTOR_BYTES_MAX}\n".encode()
        if command == b"settck":
            return self._take(end + 1, 4)
        if command == b"shift":
            return self._shift(end + 1)
        raise XvcError(f"unknown command {command!r}")

    def _take(self, start: int, count: int) -> bytes | None:
        """The `count` bytes of an argument, once all are there."""
        if len(self._buffer) < start + count:
            return None
        taken = bytes(self._buffer[start : start + count])
        del self._buffer[: start + count]
        return taken

    def _shift(self, start: int) -> bytes | None:
        if len(self._buffer) < start + 4:
            return None
        bits = int.from_bytes(self._buffer[start : start + 4], "little")
        if bits > _SHIFT_BITS_MAX:
            raise XvcError(f"a shift of {bits} bits; at most {_SHIFT_BITS_MAX} were announced")
        size = (bits + 7) // 8
        vectors = self._take(start + 4, 2 * size)
        if vectors is None:
            return None
        mask = (1 << bits) - 1
        tms = int.from_bytes(vectors[:size], "little") & mask
        tdi = int.from_bytes(vectors[size:], "little") & mask
        return self._tap.shift(bits, tms, tdi).to_bytes(size, "little")
