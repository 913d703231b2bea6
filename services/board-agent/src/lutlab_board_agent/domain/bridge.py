"""The TCP bridge's rules: how a connection begins, how frames follow each other, and whom a token admits.

The bytes are those of the public stream (`lutlab_bus.stream`), one request behind the other. The first one is the
token's frame, in the same form with op 0x10: word count 8, byte address 0, and the 32 bytes of the token. It is
answered like a write; any other beginning, a wrong token, and a board that another stream has, with an error frame and
the end.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from lutlab_board_agent.domain.fencing import BoardMemory, lease_refusal
from lutlab_events.busmsg import Lease

OP_TOKEN = 0x10
TOKEN_BYTES = 32
HEAD_BYTES = 8
_WORD_BYTES = 4
_WORDS_MAX = 512
TOKEN_HEAD = bytes((OP_TOKEN, 0, 0, TOKEN_BYTES // _WORD_BYTES, 0, 0, 0, 0))
ACCEPTED = bytes(4)


@dataclass(frozen=True)
class Ticket:
    """A token and the lease under which it was given out; it is worth nothing under any other.

    Attributes:
        key: names the API key it was given out for, "" where none was asked for; without that key it is worth nothing.
    """

    token: bytes
    lease: Lease
    key: str = ""

    def admits(self, token: bytes, memory: BoardMemory) -> bool:
        """Whether whoever shows this token may talk to the board now; takes as long for a wrong as for a right one."""
        return hmac.compare_digest(self.token, token) and lease_refusal(memory, self.lease) is None


def body_bytes(head: bytes) -> int | None:
    """How many bytes follow the first eight of a request; None if more than any request has: nothing can follow it."""
    words = int.from_bytes(head[1:4], "big")
    return words * _WORD_BYTES if words <= _WORDS_MAX else None
