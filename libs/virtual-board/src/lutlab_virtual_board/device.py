"""Geometry of an ECP5 die's configuration memory."""

from __future__ import annotations

import msgspec

BRAM_WORDS = 2048
"""Nine-bit words in one block RAM."""


class DeviceGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """How a die's configuration memory is cut into frames.

    Attributes:
        name: the device in Lattice's spelling, e.g. `LFE5U-25F`.
        idcode: its 32-bit JTAG IDCODE.
        frames: configuration frames.
        frame_bits: configuration bits in a frame.
        pad_after_bits: unused bits sent after a frame's bits.
        pad_before_bits: unused bits sent before a frame's bits.
    """

    name: str
    idcode: int
    frames: int
    frame_bits: int
    pad_after_bits: int
    pad_before_bits: int

    @property
    def frame_bytes(self) -> int:
        """Bytes one frame takes in an uncompressed stream."""
        return (self.frame_bits + self.pad_after_bits + self.pad_before_bits) // 8
