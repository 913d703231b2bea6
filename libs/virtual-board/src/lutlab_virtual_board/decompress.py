"""Decompress configuration frames.

A byte is coded as `0` (zero), `100nnn` (only bit n set), `101nnn` (dictionary entry n) or `11bbbbbbbb` (itself), most
significant bit first; each frame starts on a byte boundary. Source: Lattice FPGA-TN-02039, "Bitstream compression".
"""

from __future__ import annotations

import functools

from lutlab_virtual_board.errors import BitstreamError

_WINDOW_BITS = 12
"""A window holds the longest code (ten bits), and up to twelve zero bytes."""


_CHUNK_BYTES = 32
"""Bytes of the stream that are looked at together."""


@functools.lru_cache(maxsize=4)
def decompressor(dictionary: bytes) -> Decompressor:
    """The decompressor of a dictionary, which is kept: making its table takes some milliseconds."""
    return Decompressor(dictionary)


class Decompressor:
    """The table of one dictionary: what the next twelve bits of a stream decode to.

    Args:
        dictionary: eight bytes in stream order, entry seven first.
    """

    def __init__(self, dictionary: bytes) -> None:
        entries = dictionary[::-1]
        self._one = [self._first(window, entries) for window in range(1 << _WINDOW_BITS)]
        self._many = [self._all(window) for window in range(1 << _WINDOW_BITS)]

    @staticmethod
    def _first(window: int, entries: bytes) -> tuple[int, int]:
        """The first code of a window: (byte, bits consumed)."""
        top = window >> (_WINDOW_BITS - 6)
        if not top & 0b100000:
            return 0, 1
        if top & 0b010000:
            return window >> (_WINDOW_BITS - 10) & 0xFF, 10
        index = top & 0b111
        return (entries[index] if top & 0b001000 else 1 << index), 6

    def _all(self, window: int) -> tuple[bytes, int]:
        """Every code that lies completely in a window: (bytes, bits consumed)."""
        out = bytearray()
        used = 0
        while used < _WINDOW_BITS:
            byte, bits = self._one[window << used & (1 << _WINDOW_BITS) - 1]
            if used + bits > _WINDOW_BITS:
                break
            out.append(byte)
            used += bits
        return bytes(out), used

    def frame(self, data: bytes, start: int, size: int) -> tuple[bytes, int]:
        """Decompress one frame.

        Args:
            data: the stream.
            start: index of the frame's first byte.
            size: bytes of the frame when decompressed.

        Returns:
            The frame, and the number of stream bytes it took.

        Raises:
            BitstreamError: the stream ends inside the frame.
        """
        out = bytearray()
        bit = 0
        many, mask = self._many, (1 << _WINDOW_BITS) - 1
        enough = size - _WINDOW_BITS
        while len(out) <= enough:
            # Shifting a short integer is cheap, one of a whole frame is not.
            first = start + (bit >> 3)
            bits = int.from_bytes(data[first : first + _CHUNK_BYTES].ljust(_CHUNK_BYTES, b"\0"))
            shift = 8 * _CHUNK_BYTES - _WINDOW_BITS - (bit & 7)
            begun = shift
            while shift >= 0 and len(out) <= enough:
                decoded, used = many[bits >> shift & mask]
                out += decoded
                shift -= used
            bit += begun - shift
        while len(out) < size:
            first = start + (bit >> 3)
            bits = int.from_bytes(data[first : first + 3].ljust(3, b"\0"))
            byte, used = self._one[bits >> 24 - _WINDOW_BITS - (bit & 7) & mask]
            out.append(byte)
            bit += used
        length = (bit + 7) // 8
        if start + length > len(data):
            raise BitstreamError(f"the stream ends inside a compressed frame at byte {start}")
        return bytes(out), length
