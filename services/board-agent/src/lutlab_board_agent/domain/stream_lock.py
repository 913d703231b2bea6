"""The stream lock: one open stream per board, held as long as its API process keeps sending something.

Times are seconds of any monotonic clock. The lock is a value; whoever holds it replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutlab_events.busmsg import STREAM_LOCK_S


@dataclass(frozen=True)
class StreamLock:
    """A stream holds the board until `until_s`."""

    stream_id: str
    until_s: float


def holder(lock: StreamLock | None, now_s: float) -> str | None:
    """The stream that holds the board now, None if it is free."""
    return lock.stream_id if lock is not None and now_s < lock.until_s else None


def touch(lock: StreamLock | None, stream_id: str, now_s: float) -> StreamLock | None:
    """Take the board for a stream, or renew its hold.

    Returns:
        The new lock, or None if another stream holds the board.
    """
    held_by = holder(lock, now_s)
    if held_by is not None and held_by != stream_id:
        return None
    return StreamLock(stream_id, now_s + STREAM_LOCK_S)


def drop(lock: StreamLock | None, stream_id: str) -> StreamLock | None:
    """The lock after this stream gave the board back; another stream's hold stays."""
    return None if lock is not None and lock.stream_id == stream_id else lock
