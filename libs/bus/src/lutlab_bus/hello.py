"""Hello: the first thing said on a link, and the way back into step after a fault.

A hello is a read of the information words. Its reply is found among stale bytes by its tag, its magic word and its CRC.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from dataclasses import dataclass

from lutlab_bus import wire
from lutlab_bus.errors import ProtocolMismatch
from lutlab_bus.framer import Limits, pack_header

HELLO_REPLY_BYTES = wire.REPLY_OVERHEAD_BYTES + wire.INFO_WORDS * wire.WORD_BYTES
_INFO = struct.Struct("<HHIIIIHBBHHI")
_MAGIC = struct.pack("<H", wire.PROTOCOL_MAGIC)
_MAGIC_OFFSET = wire.TAG_BYTES + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """What a bitstream tells about itself.

    Attributes:
        build_id: 32 bits chosen when it was built.
        clk_hz: the design's clock.
        bus_timeout_cycles: clock cycles a target has to answer.
        silence_cycles: clock cycles of silence that end a broken frame.
        divider: clock cycles a serial bit.
        address_bits: the target has 2**address_bits words.
        data_bits: 32.
        queue_bytes, write_words_max: see `Limits`.
    """

    build_id: int
    clk_hz: int
    bus_timeout_cycles: int
    silence_cycles: int
    divider: int
    address_bits: int
    data_bits: int
    queue_bytes: int
    write_words_max: int

    @property
    def baud(self) -> float:
        """Bits a second on the line."""
        return self.clk_hz / self.divider

    @property
    def limits(self) -> Limits:
        """For the framer."""
        return Limits(queue_bytes=self.queue_bytes, write_words_max=self.write_words_max)


def encode_hello(tag: int) -> bytes:
    """The request; the bridge answers with `HELLO_REPLY_BYTES` bytes."""
    header = pack_header(wire.Op.BASE | wire.Op.INFO, tag, wire.INFO_WORDS, 0)
    return header + wire.CRC.pack(crc_hqx(header, wire.CRC_INIT))


def find_hello(received: bytes | bytearray, tag: int) -> tuple[BoardInfo, int] | None:
    """Look for the reply to `encode_hello(tag)` among stale bytes.

    Returns:
        The information and the position after the reply, or None if it is not (wholly) there.

    Raises:
        ProtocolMismatch: the reply is there and names another protocol version.
    """
    magic = received.find(_MAGIC, _MAGIC_OFFSET)
    while magic >= 0:
        start = magic - _MAGIC_OFFSET
        reply = bytes(received[start : start + HELLO_REPLY_BYTES])
        is_reply = len(reply) == HELLO_REPLY_BYTES and reply[0] == tag
        if is_reply and crc_hqx(reply, wire.CRC_INIT) == 0:
            return _decode(reply), start + HELLO_REPLY_BYTES
        magic = received.find(_MAGIC, magic + 1)
    return None


def _decode(reply: bytes) -> BoardInfo:
    version, _, build_id, clk_hz, timeout, silence, divider, address, data, queue, words, _ = _INFO.unpack_from(
        reply, wire.TAG_BYTES
    )
    if version != wire.PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"the board speaks bus protocol {version}, this host {wire.PROTOCOL_VERSION}; "
            "rebuild its bitstream, or use the matching release"
        )
    return BoardInfo(
        build_id=build_id,
        clk_hz=clk_hz,
        bus_timeout_cycles=timeout,
        silence_cycles=silence,
        divider=divider,
        address_bits=address,
        data_bits=data,
        queue_bytes=queue,
        write_words_max=words,
    )
