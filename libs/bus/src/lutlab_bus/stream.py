"""The public binary stream messages: one message is one request or one reply, big-endian. Shared by API, agent and SDK.

Request: op (1 write, 2 read; 0x80 on a write: fixed address), word count (24 bits), byte address (32 bits), words.
A read carries one word, the number of words to read. Reply: 0 and the words read, or 1 for an error, in the same form.
Every broken rule has the same answer, `ERROR_REPLY`; the exception tells which rule, for logs.
"""

from __future__ import annotations

import struct
import sys
from array import array

from lutlab_bus.errors import InvalidOperation, MalformedRequest
from lutlab_bus.operations import WORD_TYPECODE, Operation, Read, Result, Words, Write, as_words, to_order

OP_WRITE = 0x01
OP_READ = 0x02
OP_FIXED = 0x80
"""Flag of a write."""

SPACE_WORDS = 512
"""Words a standard target has: a 9-bit word address."""
WORDS_MAX = 512
"""Words of one message, whatever the size of the target's address space."""
REPLY_OK = 0
REPLY_ERROR = 1

_REQUEST = struct.Struct(">II")  # op << 24 | count, byte address
_REPLY = struct.Struct(">I")  # status << 24 | count
_WORD_BYTES = 4
REQUEST_BYTES_MAX = _REQUEST.size + WORDS_MAX * _WORD_BYTES
REPLY_BYTES_MAX = _REPLY.size + WORDS_MAX * _WORD_BYTES
_COUNT_MASK = 0xFF_FFFF

ERROR_REPLY = _REPLY.pack(REPLY_ERROR << 24)
"""The answer to a malformed request, and to an operation that failed on the bus."""

Bytes = bytes | bytearray | memoryview


def decode_request(message: Bytes, *, space_words: int = SPACE_WORDS) -> Read | Write:
    """A request message as an operation.

    Args:
        message: the whole binary message.
        space_words: words of the target's address space.

    Raises:
        MalformedRequest: unknown op, count of zero, address not a multiple of 4, more words than a message or the
            address space holds, or a length that does not match the count. Answer it with `ERROR_REPLY`.
    """
    if not _REQUEST.size < len(message) <= REQUEST_BYTES_MAX:
        raise MalformedRequest(
            f"a request of {len(message)} bytes; {_REQUEST.size + 4} to {REQUEST_BYTES_MAX} are legal"
        )
    head, address_bytes = _REQUEST.unpack_from(message)
    op, length = head >> 24, head & _COUNT_MASK
    if len(message) != _REQUEST.size + length * _WORD_BYTES:
        raise MalformedRequest(f"a request of {len(message)} bytes announces {length} words")
    if address_bytes % _WORD_BYTES:
        raise MalformedRequest(f"byte address {address_bytes:#x} is not a multiple of 4")
    words = _from_big_endian(message, _REQUEST.size)
    if op == OP_READ:
        if length != 1:
            raise MalformedRequest(f"a read announces {length} words instead of one, the count")
        count, fixed = words[0], False
    elif op in (OP_WRITE, OP_WRITE | OP_FIXED):
        count, fixed = length, bool(op & OP_FIXED)
    else:
        raise MalformedRequest(f"unknown op {op:#04x}")
    address_words = address_bytes // _WORD_BYTES
    if not 1 <= count <= WORDS_MAX or address_words + (1 if fixed else count) > space_words:
        raise MalformedRequest(f"{count} words from byte address {address_bytes:#x} are not within {space_words} words")
    return Read(address_words, count) if op == OP_READ else Write(address_words, words, fixed)


def encode_reply(operation: Operation, result: Result) -> bytes:
    """The reply message to an operation that was executed; `ERROR_REPLY` unless its status is OK."""
    if not result.ok:
        return ERROR_REPLY
    if isinstance(operation, Write):
        return _REPLY.pack(REPLY_OK << 24)
    return _REPLY.pack(REPLY_OK << 24 | len(result.words)) + _to_big_endian(result.words)


def encode_request(operation: Operation) -> bytes:
    """An operation as a request message, as a client sends it.

    Raises:
        InvalidOperation: more words than a message holds, or a fixed-address read, a `Modify` or a `Poll`, which the
            messages cannot express.
    """
    if not 1 <= operation.count <= WORDS_MAX:
        raise InvalidOperation(
            f"{operation.count} words; a stream message carries 1 to {WORDS_MAX}: split the operation"
        )
    if not isinstance(operation, Read | Write):
        raise InvalidOperation(f"a stream message cannot say a {type(operation).__name__}")
    address_bytes = operation.address_words * _WORD_BYTES
    if isinstance(operation, Write):
        op = OP_WRITE | (OP_FIXED if operation.fixed else 0)
        return _REQUEST.pack(op << 24 | operation.count, address_bytes) + _to_big_endian(operation.words)
    if operation.fixed:
        raise InvalidOperation("a stream message cannot say a fixed-address read; read the words one by one")
    return _REQUEST.pack(OP_READ << 24 | 1, address_bytes) + _REPLY.pack(operation.count)


def decode_reply(message: Bytes) -> array[int] | None:
    """A reply message: the words read (none for a write), or None for an error reply.

    Raises:
        MalformedRequest: its length does not match its count, or its status is unknown.
    """
    if len(message) < _REPLY.size:
        raise MalformedRequest(f"a reply of {len(message)} bytes is too short")
    (head,) = _REPLY.unpack_from(message)
    status, count = head >> 24, head & _COUNT_MASK
    if len(message) != _REPLY.size + count * _WORD_BYTES or status not in (REPLY_OK, REPLY_ERROR):
        raise MalformedRequest(f"a reply of {len(message)} bytes says status {status} and {count} words")
    return _from_big_endian(message, _REPLY.size) if status == REPLY_OK else None


def _from_big_endian(message: Bytes, start: int) -> array[int]:
    words = array(WORD_TYPECODE)
    words.frombytes(memoryview(message)[start:])
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _to_big_endian(words: Words) -> bytes:
    return to_order(as_words(words), "big").tobytes()
