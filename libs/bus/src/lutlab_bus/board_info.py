"""What a bitstream tells about itself in its answer to hello."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lutlab_bus import wire
from lutlab_bus.errors import ProtocolMismatch

_INFO = struct.Struct("<HHIIIHBBIIBxxx")
assert _INFO.size == wire.INFO_WORDS * wire.WORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """What a bitstream tells about itself.

    Attributes:
        build_id: 32 bits chosen when it was built.
        clk_hz: the design's clock.
        bus_timeout_cycles: clock cycles a target has to answer.
        divider: clock cycles a serial bit.
        address_bits: the target has 2**address_bits words.
        data_bits: 32.
        receive_ring_bytes, reply_ring_bytes: encoded bytes of requests and of replies that may be under way.
        window: requests that may be under way.
    """

    build_id: int
    clk_hz: int
    bus_timeout_cycles: int
    divider: int
    address_bits: int
    data_bits: int
    receive_ring_bytes: int
    reply_ring_bytes: int
    window: int

    @property
    def baud(self) -> float:
        """Bits a second on the line."""
        return self.clk_hz / self.divider

    @classmethod
    def decode(cls, words: bytes | memoryview) -> BoardInfo:
        """From the `wire.INFO_WORDS` information words.

        Raises:
            ProtocolMismatch: they are of another protocol version, or promise less than any device has.
        """
        version, magic, build_id, clk_hz, timeout, divider, address, data, receive, reply, window = _INFO.unpack(words)
        if magic != wire.PROTOCOL_MAGIC or version != wire.PROTOCOL_VERSION:
            raise ProtocolMismatch(
                f"the board speaks bus protocol {version}, this host {wire.PROTOCOL_VERSION}; "
                "rebuild its bitstream, or use the matching release"
            )
        if not 1 <= window <= wire.WINDOW_MAX or min(receive, reply) < RING_BYTES_MIN:
            raise ProtocolMismatch(f"the board announces a window of {window} and rings of {receive} and {reply} bytes")
        return cls(
            build_id=build_id,
            clk_hz=clk_hz,
            bus_timeout_cycles=timeout,
            divider=divider,
            address_bits=address,
            data_bits=data,
            receive_ring_bytes=receive,
            reply_ring_bytes=reply,
            window=window,
        )


RING_BYTES_MIN = 256
"""Less than this does not hold the frames a host makes."""
