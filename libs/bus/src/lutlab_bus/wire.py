"""The bytes on the serial line, as constants: what the host and the gateware both build on.

`docs/bus-protocol.md` tells the protocol; tests/golden/bus_protocol_v1.toml pins it down byte by byte. This module
holds no behaviour on purpose: the gateware imports it, so anything clever in here would be tested against itself.

Request: op, tag, words minus one (16 bits), word address (24 bits), [words], CRC-16.
Reply:   tag, [words], status, CRC-16.
All fields and words are little-endian; the CRC is big-endian, so that a CRC over a whole frame ends at zero.
"""

from __future__ import annotations

import enum
import struct

PROTOCOL_MAGIC = 0x4C55
"""High half of information word 0 ("LU")."""
PROTOCOL_VERSION = 1
"""Low half of information word 0; a host speaks exactly one version."""


class Op(enum.IntFlag):
    """The first byte of a request: a fixed high nibble and four flags."""

    BASE = 0xA0
    """The high nibble every request starts with; a read that increments has no flag."""
    WRITE = 0x01
    """Words follow the header and are written; without it words are read."""
    FIXED = 0x02
    """Every word goes to the same address, as for a FIFO's port."""
    CHAIN = 0x04
    """Run only if the frame before ended with status OK, else repeat that frame's status."""
    INFO = 0x08
    """Read information words instead of the bus. Not allowed with WRITE."""


HEADER = struct.Struct("<BBHHB")
"""op, tag, words - 1, word address bits 0..15, word address bits 16..23."""
HEADER_BYTES = HEADER.size
CRC = struct.Struct(">H")
CRC_BYTES = CRC.size
CRC_INIT = 0xFFFF
"""CRC-16/IBM-3740 (CCITT-FALSE): polynomial 0x1021, not reflected, no final XOR."""
STATUS_BYTES = 1
TAG_BYTES = 1
WORD_BYTES = 4

REQUEST_OVERHEAD_BYTES = HEADER_BYTES + CRC_BYTES
REPLY_OVERHEAD_BYTES = TAG_BYTES + STATUS_BYTES + CRC_BYTES

SYNC = 0xC3
"""Ignored between frames. As many as the longest frame has, and `SYNC_RUN` more, end whatever the bridge was in."""
SYNC_RUN = 16
"""Consecutive `SYNC` bytes that end the bridge's ignoring of a broken frame."""

WORDS_PER_FRAME_MAX = 1 << 16
"""What the count field can say. A write is further limited by the bridge's queue (see `INFO_WORDS`)."""
QUEUE_BYTES_MAX = 32_768
"""The largest queue a bridge can have."""
QUEUE_BYTES_PER_WRITE_WORD = 8
"""A write frame has at most a word for so many bytes of the queue, so it fills half of it."""
ADDRESS_BITS_MAX = 24
TAG_MODULUS = 256

STATUS_OK = 0
STATUS_BUS_ERROR = 1
STATUS_BUS_TIMEOUT = 2

INFO_WORDS = 8
"""Information words: 0 magic and version, 1 build id, 2 clock in Hz, 3 bus timeout in cycles, 4 silence in cycles,
5 divider | address bits << 16 | data bits << 24, 6 queue bytes | most words of a write frame << 16, 7 reserved."""
