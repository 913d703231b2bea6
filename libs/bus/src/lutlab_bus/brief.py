"""Brief frames: one word of the first 128 with 3 + 7 bytes; docs/bus-protocol.md, "Brief frames"."""

from __future__ import annotations

from binascii import crc_hqx

from cobs import cobs

from lutlab_bus import wire

_BRIEF, _CONTROL = wire.BRIEF, int(wire.Head.CONTROL)
_DELIMITER = b"\0"
REPLY_FRAME_BYTES = wire.HEAD_BYTES + wire.WORD_BYTES + wire.STATUS_BYTES + wire.CRC16_BYTES

HEAD_CHECKS = [crc_hqx(bytes((_CONTROL | sequence,)), wire.CRC16_INIT) for sequence in range(wire.SEQUENCE_MODULUS)]
"""By sequence number: the CRC-16 register behind the head of its brief reply."""
CODES = {_BRIEF | code: bytes((code,)) for code in range(1, wire.BRIEF_REPLY_BYTES + 1)}
"""First bytes of brief replies with status OK, and the COBS code in them."""
_HEADS = {
    crc_hqx(bytes(REPLY_FRAME_BYTES - 1), check ^ HEAD_CHECKS[0]): _CONTROL | sequence
    for sequence, check in enumerate(HEAD_CHECKS)
}
"""What the register holds behind a whole reply that was checked as if its number were 0, and the head it has: the CRC
is linear, so nothing but the number is left in it."""


def request(address_words: int, sequence: int) -> bytes:
    """The bytes on the line, zero behind included, that read a word; none if these would have a zero in them."""
    first = bytes((_BRIEF | address_words,))
    check = crc_hqx(first, wire.CRC16_INIT) ^ wire.BRIEF_CHECK_XOR ^ sequence
    line = first + check.to_bytes(wire.CRC16_BYTES, "big")
    return b"" if 0 in line else line + _DELIMITER


def reply(piece: bytes) -> bytes | None:
    """A brief reply (`wire.BRIEF_REPLY_BYTES` without a zero) as the frame that was checked; None if it is damaged."""
    status, code = (piece[0] ^ _BRIEF) >> wire.BRIEF_STATUS_SHIFT, piece[0] & wire.BRIEF_CODE_MASK
    if status > wire.STATUS_POLL_TIMEOUT:
        return None
    try:
        rest = cobs.decode(bytes((code,)) + piece[1:])
    except cobs.DecodeError:
        return None
    body = rest[: wire.WORD_BYTES] + bytes((status,)) + rest[wire.WORD_BYTES :]
    head = _HEADS.get(crc_hqx(body, HEAD_CHECKS[0])) if len(body) == REPLY_FRAME_BYTES - 1 else None
    return None if head is None else bytes((head,)) + body
