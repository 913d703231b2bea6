"""A frame that is alone on the line: what a thread mostly does, with less ado than in the engine's queue."""

from __future__ import annotations

from lutlab_bus import wire
from lutlab_bus.intake import whole
from lutlab_bus.jobs import Sliced
from lutlab_bus.lines import Piece, long_line

_LONG = int(wire.Head.LONG)
_BODY_BEGIN = wire.HEAD_BYTES + wire.PAD_BYTES
_SHORT_BODY_MAX = wire.SHORT_BYTES_MAX - wire.HEAD_BYTES - wire.CRC16_BYTES


class LoneFrame:
    """A whole job of many words in one long frame.

    Args:
        job: not begun yet.
        sequence: the frame's number.
        pieces: the job's request.
        body_bytes: of the reply, between head and check.

    Attributes:
        line: the request as it goes on the line.
        reply_bytes: decoded bytes of the reply.
    """

    __slots__ = ("_head", "job", "line", "reply_bytes")

    def __init__(self, job: Sliced, sequence: int, pieces: list[Piece], body_bytes: int) -> None:
        self.job = job
        self._head = sequence | _LONG
        self.line = long_line(self._head, pieces)
        self.reply_bytes = wire.LONG_BYTES_MIN + body_bytes

    @classmethod
    def of(cls, job: Sliced, sequence: int, frame_bytes: int) -> LoneFrame | None:
        """None if the job needs several frames of at most so many decoded bytes, or a short one does; it is as before.

        Args:
            job, sequence: see the class.
            frame_bytes: for request and reply each.
        """
        pieces: list[Piece] = []
        room = frame_bytes - wire.LONG_BYTES_MIN
        body_bytes = job.take(room, room, True, pieces)
        if job.exhausted and max(body_bytes, sum(map(len, pieces))) > _SHORT_BODY_MAX:
            return cls(job, sequence, pieces, body_bytes)
        job.position = 0
        return None

    @property
    def operations(self) -> int:
        """As the counters count them."""
        return self.job.count if self.job.words_are_operations else 1

    def accept(self, line: bytearray) -> bool:
        """Give the job its answer if this, without the delimiter, is the undamaged reply; otherwise False."""
        frame = whole(line)
        if frame is None or len(frame) != self.reply_bytes or frame[0] != self._head:
            return False
        self.job.answer(memoryview(frame)[_BODY_BEGIN : -wire.CRC32_BYTES], 0, self.job.count)
        return True
