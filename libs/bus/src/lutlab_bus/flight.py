"""Frames under way, and what their bytes cost on the line."""

from __future__ import annotations

from lutlab_bus import wire
from lutlab_bus.jobs import Sliced, Small

Part = Small | tuple[Sliced, int, int, int]
"""What a frame carries: a small job whole, or of a sliced one: job, start, count, reply bytes."""


BRIEF_REPEATED_BYTES = 24
"""More than the read of one word with a CRC-32 takes on the line."""


class Flight:
    """A frame under way.

    Attributes:
        brief: it was sent as a brief one; `head` and `reply_bytes` are those of its repetitions, which are ordinary.
        request_bytes: on the line, of the longest of its copies.
    """

    __slots__ = (
        "answered",
        "brief",
        "chased",
        "copies",
        "head",
        "line",
        "parts",
        "reply_bytes",
        "reply_line_bytes",
        "request_bytes",
        "sent_s",
        "words",
    )

    def __init__(
        self,
        head: int,
        line: bytes,
        parts: list[Part],
        *,
        reply_bytes: int,
        words: bool,
        now_s: float,
        brief: bool = False,
    ) -> None:
        self.head = head
        self.line = line
        self.brief = brief
        self.request_bytes = BRIEF_REPEATED_BYTES if brief else len(line)
        self.parts = parts
        self.reply_bytes = reply_bytes
        self.reply_line_bytes = line_bytes_max(reply_bytes)
        self.words = words  # only small jobs that bring a word each
        self.sent_s = now_s
        self.copies = 1
        self.chased = False  # was sent again because a later reply came first
        self.answered = False

    @property
    def live(self) -> bool:
        """Somebody still waits for it."""
        return any((part if isinstance(part, Small) else part[0]).owner.open for part in self.parts)


def line_bytes_max(frame_bytes: int) -> int:
    """Bytes on the line, delimiter included, that a frame of so many bytes needs at most."""
    return frame_bytes + frame_bytes // wire.COBS_RUN_MAX + 2


def decoded_room(line_bytes: int) -> int:
    """The longest frame that needs at most so many bytes on the line."""
    return line_bytes - line_bytes // wire.COBS_RUN_MAX - 2
