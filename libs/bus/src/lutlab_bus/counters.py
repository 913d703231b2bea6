"""What happened on a link, as totals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ROUND_TRIP_BUCKETS = 26
"""Bucket n counts round trips of 2**(n-1) up to 2**n microseconds; the last one also all longer ones."""


@dataclass(slots=True)
class LinkCounters:
    """Totals since the link was opened.

    Attributes:
        frames: requests that were answered, hellos excluded.
        operations: operations of those.
        retries: requests that were sent again.
        crc_failures: damaged frames that arrived.
        naks: times the board told that it missed a request.
        stale: undamaged frames that were not due: second copies of replies, or of an earlier user.
        protocol_faults: undamaged replies that could not be right.
        resyncs: sessions begun, opening included.
        timeouts: calls that ran out of time.
        bytes_sent, bytes_received: everything on the line.
        bytes_dropped: those of damaged and stale frames.
        round_trip: histogram of the time from sending a request to its reply, see `ROUND_TRIP_BUCKETS`; repeated
            requests are not in it.
    """

    frames: int = 0
    operations: int = 0
    retries: int = 0
    crc_failures: int = 0
    naks: int = 0
    stale: int = 0
    protocol_faults: int = 0
    resyncs: int = 0
    timeouts: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_dropped: int = 0
    round_trip: list[int] = field(default_factory=lambda: [0] * ROUND_TRIP_BUCKETS)

    def note_round_trip(self, seconds: float) -> None:
        """Count one round trip."""
        self.round_trip[min(int(seconds * 1e6).bit_length(), ROUND_TRIP_BUCKETS - 1)] += 1

    def as_dict(self) -> dict[str, Any]:
        """A copy, for JSON."""
        return asdict(self)
