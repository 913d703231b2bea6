"""Questions that only the scheduler can answer, because only it can fold the log. They change nothing.

Asked by core NATS request on `subjects.query`; whoever leads answers.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from lutlab_events.codec import Undecodable
from lutlab_events.values import Frozen, Json

STATE = "state"
"""The query's name in its subject."""


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
    """

    stream: str
    state: Json | None = None
    view: Json | None = None
    events: int = 0
    position: int | None = None
    event_type: str | None = None
    at: datetime | None = None
    error: str = ""


_query = msgspec.json.Decoder(StateQuery)
_answer = msgspec.json.Decoder(StateAnswer)


def decode_state_query(data: bytes) -> StateQuery:
    """A question. Raises: Undecodable."""
    try:
        return _query.decode(data)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error


def decode_state_answer(data: bytes) -> StateAnswer:
    """An answer. Raises: Undecodable."""
    try:
        return _answer.decode(data)
    except msgspec.MsgspecError as error:
        raise Undecodable(str(error)) from error
