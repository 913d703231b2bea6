"""Questions that only the scheduler can answer, because only it can fold the log; they change nothing. And one wish:
that a dead letter be sent again, which only the scheduler may, wherever it came from.

Asked by core NATS request on `subjects.query`; whoever leads answers.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from uuid import UUID

import msgspec

from lutlab_events.codec import Undecodable
from lutlab_events.values import Frozen, Json

STATE = "state"
"""The query's name in its subject."""
REPLAY = "replay"
"""The wish's."""
TOO_LARGE = "answer_too_large"
DEFLATED = b"\x78"
"""How zlib's output begins, and JSON never does."""
ANSWER_BYTES_MAX = 64 << 20
"""Of an answer once it is inflated."""


class StateQuery(Frozen, frozen=True, kw_only=True):
    """What did the log say of a stream?

    Attributes:
        stream: e.g. `board-3`.
        position: up to and with this position, None for no such limit.
        at: up to and with this moment, None for no such limit.
    """

    stream: str
    position: int | None = None
    at: datetime | None = None


class StateAnswer(Frozen, frozen=True, kw_only=True):
    """What the log said.

    Attributes:
        stream: as asked.
        state: the aggregate as the scheduler believed it to be; None if nothing had happened to it.
        view: its row of the view, as the API showed it; None if nothing had happened.
        events: how many events of the stream were folded.
        position, event_type, at: the last of them.
        error: why there is no answer, empty if there is one.
        code: `TOO_LARGE` where that is why.
    """

    stream: str
    state: Json | None = None
    view: Json | None = None
    events: int = 0
    position: int | None = None
    event_type: str | None = None
    at: datetime | None = None
    error: str = ""
    code: str = ""


class ReplayWish(Frozen, frozen=True, kw_only=True):
    """Send a dead letter again, to where it came from."""

    letter_id: UUID


class ReplayAnswer(Frozen, frozen=True, kw_only=True):
    """How a wish went; `error` says why the letter was not sent, empty if it was."""

    error: str = ""


_query = msgspec.json.Decoder(StateQuery)
_answer = msgspec.json.Decoder(StateAnswer)


def decode_replay_wish(data: bytes) -> ReplayWish:
    """A wish. Raises: Undecodable."""
    try:
        return msgspec.json.decode(data, type=ReplayWish)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def decode_replay_answer(data: bytes) -> ReplayAnswer:
    """How a wish went. Raises: Undecodable."""
    try:
        return msgspec.json.decode(data, type=ReplayAnswer)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def decode_state_query(data: bytes) -> StateQuery:
    """A question. Raises: Undecodable."""
    try:
        return _query.decode(data)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def encode_state_answer(answer: StateAnswer, bytes_max: int) -> bytes:
    """An answer as a message of at most `bytes_max` bytes: deflated where it has more, refused where that is too much.

    A project of 2,000 files with long paths has more than NATS takes, and whoever asked must hear something.
    """
    plain = msgspec.json.encode(answer)
    if len(plain) <= bytes_max:
        return plain
    deflated = zlib.compress(plain, 1)
    if len(deflated) <= bytes_max and len(plain) <= ANSWER_BYTES_MAX:
        return deflated
    told = f"the state of {answer.stream} has {len(plain)} bytes, more than a message holds, whichever way it is packed"
    return msgspec.json.encode(StateAnswer(stream=answer.stream, error=told, code=TOO_LARGE))


def decode_state_answer(data: bytes) -> StateAnswer:
    """An answer. Raises: Undecodable."""
    try:
        if data.startswith(DEFLATED):
            inflating = zlib.decompressobj()
            data = inflating.decompress(data, ANSWER_BYTES_MAX)
            if not inflating.eof:
                raise Undecodable(f"an answer of more than {ANSWER_BYTES_MAX} bytes, or half of one")
        return _answer.decode(data)
    except (msgspec.MsgspecError, zlib.error) as error:
        raise Undecodable(str(error)) from error
