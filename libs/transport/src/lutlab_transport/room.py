"""What NATS refuses for lack of room: a stream or bucket at its limit, an account at its own, a disk that is full."""

from __future__ import annotations

from nats.js.errors import APIError
from nats.js.errors import Error as JetStreamError

NO_ROOM_CODES = frozenset({10002, 10023, 10028, 10047, 10077})
"""JetStream's error codes: account resources, resources, memory, storage, and a message that a stream does not take
("maximum bytes exceeded")."""


class NoRoom(JetStreamError):
    """NATS did not take it, for there is no room; nothing of it is stored. Later there may be some."""

    code = "no_room"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


def is_no_room(error: BaseException) -> bool:
    """Whether NATS refused for lack of room, and so for certain stored nothing."""
    return isinstance(error, NoRoom) or (isinstance(error, APIError) and error.err_code in NO_ROOM_CODES)
