"""Frames under way, and what their bytes cost on the line."""

from __future__ import annotations

from lutlab_bus import wire
from lutlab_bus.jobs import Sliced, Small

Part = Small | tuple[Sliced, int, int, int]
"""What a frame carries: a small job whole, or of a sliced one: job, start, count, reply bytes."""


class Flight:
    """A frame under way."""

    __slots__ = (
        "answered",
        "chased",
        "copies",
        "head",
        "line",
        "parts",
        "reply_bytes",
        "reply_line_bytes",
        "sent_s",
        "words",
    )

    def __init__(
        self, head: int, line: bytes, parts: list[Part], *, reply_bytes: int, words: bool, now_s: float
    ) -> None:
        self.head = head
        self.line = line
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
