"""Bodies about a board's serial line."""

from __future__ import annotations

from pydantic import Field

from lutlab_api.web.models import Model


class LatencyTimer(Model):
    """A USB serial adapter's latency timer."""

    found_ms: int
    now_ms: int
    problem: str = Field(description="why it is still long, empty if it is not")


class LinkDevice(Model):
    """What the running bitstream told in its answer to hello."""

    build_id: int
    clk_hz: int
    bus_timeout_cycles: int
    divider: int = Field(description="clock cycles a serial bit")
    address_bits: int
    data_bits: int
    receive_ring_bytes: int
    reply_ring_bytes: int
    window: int


class LinkCounters(Model):
    """Totals of a board's line since its agent started."""

    frames: int
    operations: int
    retries: int = Field(description="requests that were sent again")
    crc_failures: int = Field(description="damaged frames that arrived")
    naks: int = Field(description="times the board told that it missed a request")
    stale: int
    protocol_faults: int
    resyncs: int = Field(description="sessions begun, openings included")
    timeouts: int
    bytes_sent: int
    bytes_received: int
    bytes_dropped: int
    round_trip: list[int] = Field(description="histogram; bucket n: 2^(n-1) up to 2^n microseconds")


class BoardLink(Model):
    """How a board's serial line does."""

    open: bool
    in_step: bool = Field(description="nothing is unanswered")
    device: LinkDevice | None
    line_baud: int | None
    latency_timer: LatencyTimer | None
    counters: LinkCounters
