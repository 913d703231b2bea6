"""Names of a design's signals, carried in the header of its bitstream: the builder writes them, the agent reads them.

A bitstream's header is `FF 00`, comments that end with a zero each, `FF`; devices never see it. One comment of ours is
`lutlab-names: ` and, in base64, a zlib-compressed JSON object: a signal's name to the places of its bits, least
significant first. A place is a register's, `R12C5 SLICEA register 0`; null stands for a bit without a register.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence

import msgspec

SignalNames = Mapping[str, Sequence[str | None]]

HEADER = b"\xff\x00"
COMMENT = b"lutlab-names: "
COMMENT_BYTES_MAX = 1 << 20
"""A design with more names goes without."""
JSON_BYTES_MAX = 16 << 20


def write_names(bitstream: bytes, names: SignalNames) -> bytes:
    """The bitstream with names in its header; unchanged if there are none, too many, or if it has no header."""
    packed = COMMENT + base64.b64encode(zlib.compress(msgspec.json.encode(names, order="sorted"), 9)) + b"\0"
    end = _header_end(bitstream)
    if not names or len(packed) > COMMENT_BYTES_MAX or end < 0:
        return bitstream
    return bitstream[:end] + packed + bitstream[end:]


def read_names(bitstream: bytes) -> dict[str, list[str | None]]:
    """The names in a bitstream's header; empty if there are none, or none that can be read."""
    start = bitstream.find(b"\0" + COMMENT, 0, max(0, _header_end(bitstream)))
    if start < 0:
        return {}
    start += 1 + len(COMMENT)
    try:
        packed = base64.b64decode(bitstream[start : bitstream.find(b"\0", start)], validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, JSON_BYTES_MAX)
        return msgspec.json.decode(text, type=dict[str, list[str | None]])
    except (binascii.Error, zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _header_end(bitstream: bytes) -> int:
    """Where the header's comments end; negative without a header."""
    return bitstream.find(b"\xff", len(HEADER)) if bitstream.startswith(HEADER) else -1
