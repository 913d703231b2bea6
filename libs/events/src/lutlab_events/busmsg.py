"""Live bus traffic between API and agent: NATS requests whose headers name board and lease, the payload is a frame.

Verbs (header `Lutlab-Verb`):
- `open`: take the board's stream for `Lutlab-Stream`; answers `ok` or `busy`. Held for `STREAM_LOCK_S` after the last
  message.
- `exchange`: one request frame of the public stream format (docs/bus-protocol.md); answers `ok` with one reply frame.
- `batch`: several operations for one bus round, and their results (`lutlab_bus.batch`).
- `bridge`: how to reach the board over TCP under this lease; answers `ok` with `BridgeWay` as JSON. `Lutlab-Key` names
  the key of whoever asks, so that the agent can ask on `subjects.key_question` whether it is still good.
- `keep`: renew the stream lock. `close`: give it back.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from lutlab_events.values import Frozen

STREAM_LOCK_S = 30.0
"""How long a stream stays taken without any message from its API process."""

H_VERB = "Lutlab-Verb"
H_BOARD = "Lutlab-Board"
H_SESSION = "Lutlab-Session"
H_EPOCH = "Lutlab-Epoch"
H_STREAM = "Lutlab-Stream"
H_REQUEST = "Lutlab-Request"
H_KEY = "Lutlab-Key"
H_STATUS = "Lutlab-Status"
H_MESSAGE = "Lutlab-Message"
H_ENCODING = "Lutlab-Encoding"
DEFLATE = "deflate"
PLAIN_BYTES_MAX = 256 << 10
"""Longer frames are deflated."""
FRAME_BYTES_MAX = 16 << 20
HEADERS_BYTES_MAX = 4096
"""What a message's headers may take of what a message may have."""


class BusVerb(StrEnum):
    """What a bus request asks."""

    OPEN = "open"
    EXCHANGE = "exchange"
    BATCH = "batch"
    BRIDGE = "bridge"
    KEEP = "keep"
    CLOSE = "close"
    STATS = "stats"
    """How the board's line does; needs no session. Answers `ok` with a JSON object as the frame."""
    PINS = "pins"
    """The levels of the board's pins, as JSON; needs no session. `refused` where the board cannot be looked at."""
    SIGNALS = "signals"
    """What `capture` can record, as a JSON object of widths in bits by name; otherwise as `pins`."""
    DRIVE = "drive"
    """Set pins; the frame is a JSON object of levels by pin. Answers as `pins` does."""
    CAPTURE = "capture"
    """Record signals of the design for some cycles; the frame is the JSON request. Answers with a VCD."""


class BusStatus(StrEnum):
    """How a bus request went, before looking into the reply frame."""

    OK = "ok"
    BUSY = "busy"
    STALE_LEASE = "stale_lease"
    LINK_FAILED = "link_failed"
    UNKNOWN_BOARD = "unknown_board"
    BAD_REQUEST = "bad_request"
    NOT_OFFERED = "not_offered"
    """The operator gave this board no such way in (no TCP bridge): there is nothing at this address, whatever is sent
    there, so callers are answered 404 `no_bridge` and told of another way."""
    REFUSED = "refused"
    """The address exists, but not for what was sent: the board is real, or its design has no such pin; another request,
    or the same one under another design, may go through. Callers are answered 409 `board_refused` with the reason."""


class Lease(Frozen, frozen=True, kw_only=True):
    """The right to talk to a board: its session under its fencing epoch."""

    fpga_id: int
    session_id: UUID
    epoch: int


class BusHeaders(Frozen, frozen=True, kw_only=True):
    """The headers of a bus request.

    Attributes:
        stream_id: the stream it belongs to; "" for none.
        request_id: a name under which the agent carries out an exchange or a batch only once; "" if it is not repeated.
        key: names the caller's API key for an API, and opens nothing; "" where none was asked for.
    """

    verb: BusVerb
    lease: Lease
    stream_id: str = ""
    request_id: str = ""
    key: str = ""

    def to_headers(self) -> dict[str, str]:
        """As NATS headers."""
        headers = {
            H_VERB: self.verb.value,
            H_BOARD: str(self.lease.fpga_id),
            H_SESSION: str(self.lease.session_id),
            H_EPOCH: str(self.lease.epoch),
            H_STREAM: self.stream_id,
        }
        more = {H_REQUEST: self.request_id, H_KEY: self.key}
        return headers | {name: value for name, value in more.items() if value}

    @staticmethod
    def from_headers(headers: Mapping[str, str] | None) -> BusHeaders:
        """From NATS headers. Raises: ValueError naming what is missing or wrong."""
        if headers is None:
            raise ValueError("a bus request needs headers")
        try:
            lease = Lease(
                fpga_id=int(headers[H_BOARD]),
                session_id=UUID(headers[H_SESSION]),
                epoch=int(headers[H_EPOCH]),
            )
            return BusHeaders(
                verb=BusVerb(headers[H_VERB]),
                lease=lease,
                stream_id=headers.get(H_STREAM, ""),
                request_id=headers.get(H_REQUEST, ""),
                key=headers.get(H_KEY, ""),
            )
        except KeyError as error:
            raise ValueError(f"bus request without header {error.args[0]}") from error


class BridgeWay(Frozen, frozen=True, kw_only=True):
    """Where a board's TCP bridge listens, and the token that opens it while the lease lasts."""

    host: str
    port: int
    token: str


class KeyAnswer(Frozen, frozen=True, kw_only=True):
    """An API's answer to the question for a key: why it is no longer good, "" while it is."""

    refused: str = ""


class BusReply(Frozen, frozen=True, kw_only=True):
    """The agent's answer to a bus request: a status, a sentence, and what the verb brings back as a frame."""

    status: BusStatus
    message: str = ""
    frame: bytes = b""

    def to_headers(self) -> dict[str, str]:
        """As NATS headers; the frame is the payload."""
        headers = {H_STATUS: self.status.value}
        if self.message:
            headers[H_MESSAGE] = " ".join(self.message.split())
        return headers

    def to_message(self, bytes_max: int) -> tuple[dict[str, str], bytes]:
        """As headers and payload of a NATS message of at most `bytes_max` bytes.

        A large frame (a recording of signals has megabytes) is deflated; one that does not fit even so is refused, so
        that whoever asked hears why instead of nothing.
        """
        if len(self.frame) <= PLAIN_BYTES_MAX:
            return self.to_headers(), self.frame
        payload = zlib.compress(self.frame, 1)
        if len(payload) <= bytes_max - HEADERS_BYTES_MAX and len(self.frame) <= FRAME_BYTES_MAX:
            return self.to_headers() | {H_ENCODING: DEFLATE}, payload
        told = f"the answer has {len(self.frame)} bytes, more than a message holds; ask for less, e.g. fewer cycles"
        return BusReply(status=BusStatus.REFUSED, message=told).to_headers(), b""

    @staticmethod
    def from_message(headers: Mapping[str, str] | None, payload: bytes) -> BusReply:
        """From a NATS message. Raises: ValueError if it carries no known status, or its frame is damaged."""
        status = BusStatus((headers or {}).get(H_STATUS, ""))
        if (headers or {}).get(H_ENCODING) == DEFLATE:
            inflating = zlib.decompressobj()
            try:
                payload = inflating.decompress(payload, FRAME_BYTES_MAX)
            except zlib.error as error:
                raise ValueError(f"a frame that cannot be inflated: {error}") from error
            if not inflating.eof:
                raise ValueError(f"a frame of more than {FRAME_BYTES_MAX} bytes, or half of one")
        return BusReply(status=status, message=(headers or {}).get(H_MESSAGE, ""), frame=payload)
