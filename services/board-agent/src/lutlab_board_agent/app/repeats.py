"""Exchanges that may be asked for again: one that names itself is carried out once, and answered as often as asked.

A client that heard nothing sends its request again, and another API process may get it, which knows nothing of the
first time. The board is the one place that both must come through.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from lutlab_board_agent.app.ports import Answer
from lutlab_events.busmsg import BusReply

REPLIES_MAX = 4096
"""Replies kept for a repetition."""
REPLIES_BYTES_MAX = 4 << 20
"""What their frames may take."""

Key = tuple[str, bytes]
"""The name of a request, and a digest of what it asks."""


def key_of(request_id: str, frame: bytes) -> Key:
    """What a repetition has in common with the first time."""
    return request_id, hashlib.sha256(frame).digest()


class Repeats:
    """What one board was asked for by name, lately."""

    def __init__(self) -> None:
        self._replies: OrderedDict[Key, BusReply] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[Key, list[Answer]] = {}

    def reply(self, key: Key) -> BusReply | None:
        """How it was answered the first time."""
        return self._replies.get(key)

    def join(self, key: Key, answer: Answer) -> bool:
        """Whether it is under way; then `answer` hears how it went, too."""
        waiting = self._under_way.get(key)
        if waiting is not None:
            waiting.append(answer)
        return waiting is not None

    def begin(self, key: Key, answer: Answer) -> Answer:
        """Note that it is under way; how to answer it."""
        self._under_way[key] = [answer]

        async def tell(reply: BusReply) -> None:
            self._keep(key, reply)
            for one in self._under_way.pop(key, ()):
                await one(reply)

        return tell

    def drop(self, key: Key) -> None:
        """It was not begun after all."""
        self._under_way.pop(key, None)

    def _keep(self, key: Key, reply: BusReply) -> None:
        self._replies[key] = reply
        self._bytes += len(reply.frame)
        while len(self._replies) > REPLIES_MAX or self._bytes > REPLIES_BYTES_MAX:
            _, oldest = self._replies.popitem(last=False)
            self._bytes -= len(oldest.frame)
