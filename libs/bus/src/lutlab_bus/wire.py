"""The bytes on the serial line, version 3, as constants: what the host and the gateware both build on.

`docs/bus-protocol.md` tells the protocol; tests/golden/bus_protocol_v3.toml pins it down byte by byte. This module
holds no behaviour on purpose: the gateware imports it, so anything clever in here would be tested against itself.
"""

from __future__ import annotations

import enum

PROTOCOL_MAGIC = 0x4C55
"""High half of information word 0 ("LU")."""
PROTOCOL_VERSION = 3
"""Low half of information word 0; a host speaks exactly one version."""

DELIMITER = 0x00
"""Ends every frame and occurs nowhere else."""


class Head(enum.IntFlag):
    """Flags of a frame's first byte; the rest of it is the sequence number."""

    LONG = 0x40
    """The check is a CRC-32 instead of a CRC-16, and a zero byte follows the head."""
    CONTROL = 0x80
    """Hello and its answer (with LONG), or NAK (without). Brief frames are checked as if they had this head too."""


SEQUENCE_MODULUS = 64
SEQUENCE_MASK = SEQUENCE_MODULUS - 1
WINDOW_MAX = 32
"""With more, a late second copy of a reply could be taken for the next one of the same number."""


class Kind(enum.IntEnum):
    """Bits 0..1 of an operation's first byte."""

    READ = 0
    WRITE = 1
    MODIFY = 2
    POLL = 3


class Op(enum.IntFlag):
    """Flags of an operation's first byte, beside its `Kind`; the two highest bits are zero."""

    FIXED = 0x04
    """Every word goes to the same address, as for a FIFO's port; for reads and writes."""
    CHAIN = 0x08
    """Run only if the operation before ended with status OK, else repeat its status."""
    COUNT = 0x10
    """The number of words minus one follows in two bytes; for reads and writes. Without it: one word."""
    WIDE = 0x20
    """The address has three bytes instead of two."""


KIND_MASK = 0x03
RESERVED_MASK = 0x40
"""Of an operation's first byte, beside `BRIEF`."""

BRIEF = 0x80
"""Bit 7 of a frame's first byte on the line: it is a brief one. Also of an operation's first byte, which then is all of
it: read the word at the address in the lower bits. The receiver makes this of a brief request."""
BRIEF_ADDRESSES = 128
"""Words that a brief request can ask for."""
BRIEF_REQUEST_BYTES = 3
BRIEF_REPLY_BYTES = 7
"""Both without the zero behind."""
BRIEF_CHECK_XOR = 0xC080
"""Into the check of a brief request, beside its sequence number: no ordinary frame whose first bit was flipped passes,
and the first byte of the check is never zero."""
BRIEF_STATUS_SHIFT = 4
"""Place of the status in the first byte of a brief reply; its COBS code is below."""
BRIEF_CODE_MASK = 0x0F

HEAD_BYTES = 1
PAD_BYTES = 1
"""Behind the head of a frame with LONG: a zero, so that the first byte on the line is small."""
OP_BYTES = 1
COUNT_BYTES = 2
NARROW_ADDRESS_BYTES = 2
WIDE_ADDRESS_BYTES = 3
WORD_BYTES = 4
STATUS_BYTES = 1
NONCE_BYTES = 4
MODIFY_OPERANDS = 2
"""Mask, value."""
POLL_OPERANDS = 3
"""Timeout in cycles, mask, value."""

CRC16_BYTES = 2
CRC16_INIT = 0xFFFF
"""CRC-16/IBM-3740: polynomial 0x1021, not reflected, no final XOR, high byte first; over a whole frame it is zero."""
CRC32_BYTES = 4
CRC32_RESIDUE = 0xDEBB20E3
"""The register (before the final inversion) after a whole frame, its CRC-32 included."""

SHORT_BYTES_MAX = 32
"""Longest decoded frame, head and check included, that may do without LONG."""
LONG_BYTES_MIN = HEAD_BYTES + PAD_BYTES + CRC32_BYTES
FRAME_BYTES_MIN = HEAD_BYTES + CRC16_BYTES
WORDS_PER_OP_MAX = 1 << 16
ADDRESS_BITS_MAX = 24
COBS_RUN_MAX = 254
"""Bytes without a zero that one COBS piece can hold."""

STATUS_OK = 0
STATUS_BUS_ERROR = 1
STATUS_BUS_TIMEOUT = 2
STATUS_POLL_TIMEOUT = 3

INFO_WORDS = 8
"""Information words: 0 magic and version, 1 build id, 2 clock in Hz, 3 bus timeout in cycles,
4 divider | address bits << 16 | data bits << 24, 5 receive ring in bytes, 6 reply ring in bytes, 7 window."""
HELLO_BYTES = HEAD_BYTES + PAD_BYTES + NONCE_BYTES + CRC32_BYTES
HELLO_REPLY_BYTES = HELLO_BYTES + INFO_WORDS * WORD_BYTES
