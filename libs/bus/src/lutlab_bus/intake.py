"""Bytes of the line to frames that are whole and rightly checked, in any chunking."""

from __future__ import annotations

from binascii import crc_hqx

from cobs import cobs
from isal.isal_zlib import crc32

from lutlab_bus import brief, wire

PIECE_BYTES_MAX = 1 << 17
"""More bytes without a delimiter than this are garbage."""
_CRC32_OVER_FRAME = wire.CRC32_RESIDUE ^ 0xFFFF_FFFF
_LONG, _CONTROL = int(wire.Head.LONG), int(wire.Head.CONTROL)
_BRIEF = wire.BRIEF
_BRIEF_BYTES = wire.BRIEF_REPLY_BYTES

Received = bytes | bytearray
Taken = tuple[bytes | None, int]
"""A frame, None for a damaged one, and its bytes on the line without the delimiter. A brief reply is the frame that was
checked; it is taken at its last byte, and what follows it before the delimiter is a damaged frame of its own."""


class Intake:
    """What arrived of a frame whose end did not.

    Attributes:
        line_bytes: how much.
    """

    def __init__(self) -> None:
        self.line_bytes = 0
        self._pieces: list[bytes] = []
        self._early = False  # these began with a brief reply, which was taken

    def clear(self) -> None:
        """Forget it."""
        self.line_bytes = 0
        self._pieces.clear()
        self._early = False

    @property
    def empty(self) -> bool:
        """Nothing waits for its end."""
        return not self.line_bytes

    def feed(self, data: Received, size: int | None = None) -> list[Taken]:
        """Take bytes, with `size` the first so many of a buffer; returns the frames that they end."""
        if size is None:
            size = len(data)
        taken: list[Taken] = []
        start, end = 0, data.find(0, 0, size)  # quicker by far than `split`, which looks at each byte
        while end >= 0:
            if self.line_bytes:
                self._finish(data[:end], taken)
            elif end > start:
                if data[start] & _BRIEF:
                    _brief(bytes(data[start:end]), end - start, taken)
                else:
                    taken.append((whole(data[start:end]), end - start))
            start = end + 1
            end = data.find(0, start, size)
        if start < size:
            self.keep([bytes(data[start:size])])
            if self.line_bytes >= _BRIEF_BYTES and not self._early and self._pieces and self._pieces[0][0] & _BRIEF:
                self._early = True
                taken.append((brief.reply(b"".join(self._pieces)[:_BRIEF_BYTES]), _BRIEF_BYTES))
        return taken

    def keep(self, pieces: list[bytes]) -> int:
        """Take bytes among which there is no delimiter; how many."""
        size = sum(map(len, pieces))
        self.line_bytes += size
        if self.line_bytes > PIECE_BYTES_MAX:
            self._pieces.clear()
        else:
            self._pieces += pieces
        return size

    def _finish(self, last: Received, taken: list[Taken]) -> None:
        size, early = self.line_bytes + len(last), self._early
        piece = b"".join((*self._pieces, last))
        self.clear()
        if early:
            if size > _BRIEF_BYTES:
                taken.append((None, size - _BRIEF_BYTES))
        elif size > PIECE_BYTES_MAX:
            taken.append((None, size))
        elif piece[0] & _BRIEF:
            _brief(piece, size, taken)
        else:
            taken.append((whole(piece), size))


def _brief(piece: bytes, size: int, taken: list[Taken]) -> None:
    if size < _BRIEF_BYTES:
        taken.append((None, size))
        return
    taken.append((brief.reply(piece[:_BRIEF_BYTES]), _BRIEF_BYTES))
    if size > _BRIEF_BYTES:
        taken.append((None, size - _BRIEF_BYTES))


def whole(piece: Received) -> bytes | None:
    """The frame of a line without its delimiter; None if it is damaged."""
    try:
        frame = cobs.decode(piece)
    except cobs.DecodeError:
        return None
    size = len(frame)
    if size < wire.FRAME_BYTES_MIN:
        return None
    if frame[0] & _LONG:
        return frame if crc32(frame) == _CRC32_OVER_FRAME else None
    return frame if size <= wire.SHORT_BYTES_MAX and crc_hqx(frame, wire.CRC16_INIT) == 0 else None
