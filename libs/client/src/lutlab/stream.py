"""A live connection to a reserved board: one binary message a transaction, answered in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, SupportsIndex

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from lutlab.config import Endpoint
from lutlab.errors import LutlabError, Refused, StreamFailed, refusal
from lutlab.words import checked
from lutlab_bus.errors import MalformedRequest
from lutlab_bus.operations import Operation, Read, Write
from lutlab_bus.stream import WORDS_MAX, decode_reply, encode_request

OPEN_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 30.0
WORD_BYTES = 4
MESSAGE_BYTES_MAX = 1 << 20
CLOSE_REASONS = {
    4409: "the board has another connection already; close that first",
    4401: "this API key is no longer good: it expired, or was revoked",
    4502: "the link to the board failed; the last operation may or may not have run",
}


class BoardStream:
    """Reads and writes words; addresses count bytes.

    Attributes:
        fpga_id: the board's number.

    Replies have no names, only an order. So after a call that ended without its reply (it took too long, or Ctrl-C
    came), the next one could take that reply for its own: every later call is refused instead.
    """

    def __init__(self, connection: ClientConnection, fpga_id: int = 0) -> None:
        self._connection = connection
        self.fpga_id = fpga_id
        self._lost = ""

    @staticmethod
    def open(endpoint: Endpoint, fpga_id: int) -> BoardStream:
        """Connect. Raises: StreamFailed."""
        url = endpoint.api_url.replace("http", "ws", 1) + f"/fpga/{fpga_id}/stream"
        try:
            connection = connect(
                url,
                additional_headers=endpoint.headers,
                open_timeout=OPEN_TIMEOUT_S,
                compression=None,
                max_size=MESSAGE_BYTES_MAX,
                proxy=None if endpoint.is_here else True,
            )
        except InvalidStatus as error:
            raise StreamFailed(f"the stream to board {fpga_id} was refused: {_said(error.response)}") from error
        except (InvalidHandshake, WebSocketException, OSError, TimeoutError, ImportError, ValueError) as error:
            raise StreamFailed(f"the stream to board {fpga_id} could not be opened: {error}") from error
        return BoardStream(connection, fpga_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the session stays."""
        self._connection.close()

    def write(self, address: int, words: Iterable[SupportsIndex], *, fixed_address: bool = False) -> None:
        """Write words from a byte address on, or all to it with `fixed_address`; any number of them.

        Args:
            words: integers from 0 to 2**32 - 1, in a list, an array, a NumPy array.

        Raises:
            Refused: `bus_error`: the board answered with an error.
            StreamFailed: the connection broke.
        """
        plain = checked(words)
        for start in range(0, len(plain), WORDS_MAX):
            part = tuple(plain[start : start + WORDS_MAX])
            at = address if fixed_address else address + start * WORD_BYTES
            self._exchange(Write(_word_address(at), part, fixed_address))

    def read(self, address: int, count: int = 1) -> list[int]:
        """Read words from a byte address on; any number of them. Raises: as `write`."""
        words: list[int] = []
        while len(words) < count:
            at = _word_address(address + len(words) * WORD_BYTES)
            words += self._exchange(Read(at, min(WORDS_MAX, count - len(words))))
        return words

    def _exchange(self, operation: Operation) -> Sequence[int]:
        reply = self._reply_to(encode_request(operation))
        wanted = operation.count if isinstance(operation, Read) else 0
        try:
            words = decode_reply(reply)
        except MalformedRequest as error:
            self._lost = f"the reply to the call before was none: {error}"
            raise StreamFailed(f"{error}; open the stream again") from error
        if words is None:
            address = operation.address_words * WORD_BYTES
            raise Refused(
                "bus_error", f"the board answered {type(operation).__name__} at {address:#x} with an error", status=200
            )
        if len(words) != wanted:
            self._lost = f"the reply to the call before had {len(words)} words in place of {wanted}"
            raise StreamFailed(f"a reply with {len(words)} words in place of {wanted}; open the stream again")
        return words

    def _reply_to(self, message: bytes) -> bytes:
        if self._lost:
            raise StreamFailed(f"{self._lost}; replies could be taken for others now: open the stream again")
        try:
            self._connection.send(message)
            return self._connection.recv(timeout=REPLY_TIMEOUT_S, decode=False)
        except ConnectionClosed as error:
            raise StreamFailed(_why_closed(error)) from error
        except TimeoutError as error:
            self._lost = f"the call before had no reply within {REPLY_TIMEOUT_S:g} s"
            raise StreamFailed(f"no reply within {REPLY_TIMEOUT_S:g} s; open the stream again") from error
        except BaseException:  # Ctrl-C
            self._lost = "the call before was interrupted"
            raise


def _why_closed(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "the connection broke; the last operation may or may not have run: open the stream again"
    code, reason = error.rcvd.code, error.rcvd.reason
    return CLOSE_REASONS.get(code, f"the lab closed the stream ({code}{reason and ', '}{reason}): open it again")


def _said(response: Response) -> str:
    """Why the lab does not open a stream, in its own words."""
    refused = refusal(response.status_code, bytes(response.body or b""))
    return f"{refused.message} ({refused.code})"


def _word_address(address: int) -> int:
    if address % WORD_BYTES:
        raise LutlabError(f"address {address:#x} is not a multiple of {WORD_BYTES}; addresses count bytes")
    return address // WORD_BYTES
