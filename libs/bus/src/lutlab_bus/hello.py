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

QUEUE_BYTES_USUAL = 4096
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


@dataclass(frozen=True, slots=True)
class HelloReply:
    """A reply to a hello, found in a stream of bytes.

    Attributes:
        tag: of the hello.
        info: what it says.
        end: position after the reply.
    """

    tag: int
    info: BoardInfo
    end: int


def find_hello(received: bytes | bytearray) -> HelloReply | None:
    """Look for the first whole reply to a hello among stale bytes.

    Raises:
        ProtocolMismatch: it is there and names another protocol version.
    """
    magic = received.find(_MAGIC, _MAGIC_OFFSET)
    while magic >= 0:
        start = magic - _MAGIC_OFFSET
        reply = bytes(received[start : start + HELLO_REPLY_BYTES])
        if len(reply) == HELLO_REPLY_BYTES and crc_hqx(reply, wire.CRC_INIT) == 0:
            return HelloReply(reply[0], _decode(reply), start + HELLO_REPLY_BYTES)
        magic = received.find(_MAGIC, magic + 1)
    return None


def sync_bytes(info: BoardInfo | None, attempt: int) -> bytes:
    """What to send before the hello of an attempt (0 is the first) so that a bridge in any state understands it.

    The longest frame ends whatever frame was begun, and a run more ends the ignoring of it. Without `info` the longest
    frame is not known: first that of a usual bridge is assumed, then that of the largest. The first attempt has none,
    since a bridge is rarely in the middle of anything.
    """
    if attempt == 0:
        return b""
    queue_bytes = QUEUE_BYTES_USUAL if attempt == 1 else wire.QUEUE_BYTES_MAX
    words = queue_bytes // wire.QUEUE_BYTES_PER_WRITE_WORD if info is None else info.write_words_max
    return bytes([wire.SYNC]) * (wire.REQUEST_OVERHEAD_BYTES + words * wire.WORD_BYTES + wire.SYNC_RUN)


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
