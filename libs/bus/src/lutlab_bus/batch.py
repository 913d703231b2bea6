"""Several operations as one message and their results as another, for one bus round between API and agent.

Big-endian. A request is one piece after the other, each in the form of a public stream message (`lutlab_bus.stream`):
op, word count (24 bits), byte address (32 bits), words. Beyond those it has fixed-address reads (0x82), modify (3;
mask, value) and poll (4; timeout in cycles, mask, value). The reply has a piece for each: `Status` (8 bits), word
count (24 bits), words.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence

from lutlab_bus.errors import InvalidOperation, MalformedRequest
from lutlab_bus.operations import WORD_TYPECODE, Modify, Operation, Poll, Read, Result, Status, Write, to_order
from lutlab_bus.stream import OP_FIXED, OP_READ, OP_WRITE, SPACE_WORDS, Bytes

OPERATIONS_MAX = 256
WORDS_MAX = 2048
"""Words of all operations of a batch together, read and written."""
POLL_CYCLES_MAX = 20_000_000
"""Clock cycles that the polls of a batch may take together: 0.4 s at 50 MHz, some seconds on a simulated board. The
board does nothing else meanwhile, so who wants to wait for longer asks again."""
OP_MODIFY = 0x03
OP_POLL = 0x04

_REQUEST = struct.Struct(">II")  # op << 24 | count, byte address
_REPLY = struct.Struct(">I")  # status << 24 | count
_WORD_BYTES = 4
_COUNT_MASK = 0xFF_FFFF
MESSAGE_BYTES_MAX = OPERATIONS_MAX * (_REQUEST.size + 3 * _WORD_BYTES) + WORDS_MAX * _WORD_BYTES


def encode(operations: Sequence[Operation]) -> bytes:
    """Operations as one message.

    Raises:
        InvalidOperation: none, or more operations, words or cycles than a batch may have.
    """
    problem = _excess(operations)
    if problem is not None:
        raise InvalidOperation(problem)
    return b"".join(map(_piece, operations))


def decode(message: Bytes, *, space_words: int = SPACE_WORDS) -> list[Operation]:
    """The operations of a message.

    Args:
        message: the whole message.
        space_words: words of the target's address space.

    Raises:
        MalformedRequest: the message breaks a rule; says at which operation.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise MalformedRequest(f"a batch of {len(message)} bytes; at most {MESSAGE_BYTES_MAX}")
    operations: list[Operation] = []
    position = 0
    while position < len(message):
        where = f"operation {len(operations)}"
        if len(operations) >= OPERATIONS_MAX:
            raise MalformedRequest(f"a batch of more than {OPERATIONS_MAX} operations")
        if position + _REQUEST.size > len(message):
            raise MalformedRequest(f"{where} is cut short")
        head, address_bytes = _REQUEST.unpack_from(message, position)
        start, position = position + _REQUEST.size, position + _REQUEST.size + (head & _COUNT_MASK) * _WORD_BYTES
        if position > len(message):
            raise MalformedRequest(f"{where} announces {head & _COUNT_MASK} words; the message has fewer")
        if address_bytes % _WORD_BYTES:
            raise MalformedRequest(f"{where}: byte address {address_bytes:#x} is not a multiple of 4")
        words = _words(message, start, position)
        operation = _operation(head >> 24, address_bytes // _WORD_BYTES, words, where)
        span = 1 if getattr(operation, "fixed", False) else operation.count
        if operation.address_words + span > space_words:
            raise MalformedRequest(f"{where}: {span} words from {address_bytes:#x} are not within {space_words} words")
        operations.append(operation)
    problem = _excess(operations)
    if problem is not None:
        raise MalformedRequest(problem)
    return operations


def encode_results(results: Sequence[Result]) -> bytes:
    """Results as one message. Words of an operation that failed are left out, but for those a poll read last."""
    pieces = []
    for result in results:
        words = result.words if result.status in (Status.OK, Status.POLL_TIMEOUT) else array(WORD_TYPECODE)
        pieces.append(_REPLY.pack(result.status << 24 | len(words)) + to_order(words, "big").tobytes())
    return b"".join(pieces)


def decode_results(message: Bytes, operations: Sequence[Operation]) -> list[Result]:
    """The results in a message.

    Args:
        message: the whole message.
        operations: what was asked.

    Raises:
        MalformedRequest: it is not a reply to these operations.
    """
    results: list[Result] = []
    position = 0
    for index, operation in enumerate(operations):
        if position + _REPLY.size > len(message):
            raise MalformedRequest(f"the reply ends before operation {index}")
        (head,) = _REPLY.unpack_from(message, position)
        start, position = position + _REPLY.size, position + _REPLY.size + (head & _COUNT_MASK) * _WORD_BYTES
        try:
            status = Status(head >> 24)
        except ValueError:
            raise MalformedRequest(f"operation {index} has the unknown status {head >> 24}") from None
        words = _words(message, start, position)
        wanted = 0 if isinstance(operation, Write) else operation.count
        if position > len(message) or (status is Status.OK and len(words) != wanted):
            raise MalformedRequest(f"operation {index} came back with {len(words)} words instead of {wanted}")
        results.append(Result(status, words))
    if position != len(message):
        raise MalformedRequest(f"{len(message) - position} bytes behind the last result")
    return results


def _excess(operations: Sequence[Operation]) -> str | None:
    """What a batch has too many of, or too few."""
    words = sum(operation.count for operation in operations)
    cycles = sum(operation.timeout_cycles for operation in operations if isinstance(operation, Poll))
    for what, number, most in (
        ("operations", len(operations), OPERATIONS_MAX),
        ("words", words, WORDS_MAX),
        ("cycles of polling", cycles, POLL_CYCLES_MAX),
    ):
        if number > most:
            return f"a batch of {number} {what}; at most {most}: send several batches"
    return None if operations else "a batch without operations"


def _piece(operation: Operation) -> bytes:
    if isinstance(operation, Read):
        op, words = OP_READ | OP_FIXED * operation.fixed, array(WORD_TYPECODE, [operation.count])
    elif isinstance(operation, Write):
        op, words = OP_WRITE | OP_FIXED * operation.fixed, operation.words
    elif isinstance(operation, Modify):
        op, words = OP_MODIFY, array(WORD_TYPECODE, [operation.mask, operation.value])
    else:
        op, words = OP_POLL, array(WORD_TYPECODE, [operation.timeout_cycles, operation.mask, operation.value])
    head = _REQUEST.pack(op << 24 | len(words), operation.address_words * _WORD_BYTES)
    return head + to_order(words, "big").tobytes()


_MAKERS: dict[int, tuple[int, Callable[[int, Sequence[int]], Operation]]] = {
    OP_READ: (1, lambda address, words: Read(address, words[0])),
    OP_READ | OP_FIXED: (1, lambda address, words: Read(address, words[0], fixed=True)),
    OP_MODIFY: (2, lambda address, words: Modify(address, mask=words[0], value=words[1])),
    OP_POLL: (3, lambda address, words: Poll(address, words[1], words[2], words[0])),
}
"""Number of words, and what they mean."""


def _operation(op: int, address_words: int, words: array[int], where: str) -> Operation:
    try:
        if op in (OP_WRITE, OP_WRITE | OP_FIXED):
            return Write(address_words, words, bool(op & OP_FIXED))
        if op not in _MAKERS:
            raise MalformedRequest(f"{where}: unknown op {op:#04x}")
        wanted, make = _MAKERS[op]
        if len(words) != wanted:
            raise MalformedRequest(f"{where}: op {op:#04x} has {len(words)} words instead of {wanted}")
        return make(address_words, words)
    except InvalidOperation as error:
        raise MalformedRequest(f"{where}: {error}") from error


def _words(message: Bytes, start: int, end: int) -> array[int]:
    words = array(WORD_TYPECODE)
    data = memoryview(message)[start:end]
    words.frombytes(data[: len(data) // _WORD_BYTES * _WORD_BYTES])
    if sys.byteorder == "little":
        words.byteswap()
    return words
