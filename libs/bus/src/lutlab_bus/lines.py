"""Frames as they go on the line: checked, stuffed, with the delimiter behind."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from struct import Struct

from cobs import cobs
from isal.isal_zlib import crc32

from lutlab_bus import wire

Piece = bytes | memoryview

_CHECK16 = Struct(">H")
_CHECK32 = Struct("<I")
_DELIMITER = bytes((wire.DELIMITER,))


def short_line(head: int, pieces: Sequence[Piece]) -> bytes:
    """A frame with a CRC-16."""
    content = b"".join((bytes((head,)), *pieces))
    line: bytes = cobs.encode(content + _CHECK16.pack(crc_hqx(content, wire.CRC16_INIT))) + _DELIMITER
    return line


def long_line(head: int, pieces: Sequence[Piece]) -> bytes:
    """A frame with a CRC-32. `head` has LONG."""
    begin = bytes((head, 0))
    check = crc32(begin)
    for piece in pieces:
        check = crc32(piece, check)
    line: bytes = cobs.encode(b"".join((begin, *pieces, _CHECK32.pack(check)))) + _DELIMITER
    return line
