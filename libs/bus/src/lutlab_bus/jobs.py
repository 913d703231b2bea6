"""What the engine carries: pieces of request bytes, and where the bytes of their replies go.

A job is one operation, or a whole vector of single-word ones. Blocks of words move as slices and vectors as strided
slices, so no Python code runs per word.
"""

from __future__ import annotations

import struct
from array import array
from functools import lru_cache
from typing import Protocol

from lutlab_bus import wire
from lutlab_bus.operations import WORD_TYPECODE, Modify, Operation, Poll, Read, Write, to_order, zeros

NARROW_SPACE_WORDS = 1 << 16
"""Addresses below need two bytes instead of three."""
PIECES_MAX = 4096
"""Requests for one word that are kept: who reads words mostly reads the same ones."""
SLIVER_WORDS = 16
"""A block begins a frame of its own rather than squeeze fewer words into the rest of one."""

# Plain numbers: operations on flags of an `enum` are slow.
_READ, _WRITE = int(wire.Kind.READ), int(wire.Kind.WRITE)
_FIXED, _CHAIN, _COUNT, _WIDE = (int(flag) for flag in (wire.Op.FIXED, wire.Op.CHAIN, wire.Op.COUNT, wire.Op.WIDE))
_NARROW = struct.Struct("<BH")
_COUNTED = struct.Struct("<BHH")
_MASKED = struct.Struct("<II")
_POLLED = struct.Struct("<III")
_WORD = struct.Struct("<I")
WORD_REPLY_BYTES = wire.WORD_BYTES + wire.STATUS_BYTES


class Owner(Protocol):
    """Whoever waits for jobs.

    Attributes:
        open: False once nobody waits any more; what was not sent yet is then dropped.
    """

    open: bool


class Small:
    """A single-word operation: one piece out, a status and perhaps a word back.

    Attributes:
        owner, index: whose job, and a number of the owner's choice.
        piece: request bytes.
        reply_bytes: 5 with a word, 1 without.
        status, value: the outcome.
    """

    __slots__ = ("index", "owner", "piece", "reply_bytes", "status", "value")

    def __init__(self, owner: Owner, index: int, piece: bytes, reply_bytes: int) -> None:
        self.owner = owner
        self.index = index
        self.piece = piece
        self.reply_bytes = reply_bytes
        self.status = wire.STATUS_OK
        self.value = 0

    @property
    def words(self) -> array[int]:
        """The word that came back, if any does."""
        return array(WORD_TYPECODE, [self.value] if self.reply_bytes == WORD_REPLY_BYTES else [])


class Sliced:
    """An operation of many words; its parts travel in one frame or several.

    Attributes:
        owner, index, status: as for `Small`; the status is that of the first fault.
        unanswered: parts under way.
        position, count: words (or operations) put into parts so far, and all of them.
        words_are_operations: each word is an operation of its own.
    """

    words_are_operations = False

    def __init__(self, owner: Owner, index: int, count: int) -> None:
        self.owner = owner
        self.index = index
        self.count = count
        self.status = wire.STATUS_OK
        self.unanswered = 0
        self.position = 0

    @property
    def exhausted(self) -> bool:
        """Nothing more is to be sent."""
        return self.position >= self.count

    def take(self, request_room: int, reply_room: int, fresh: bool, pieces: list[bytes | memoryview]) -> int:
        """Add the next part to a frame; returns its reply's bytes, 0 if it does not fit. `fresh`: an empty frame."""
        raise NotImplementedError

    def answer(self, reply: memoryview, start: int, count: int) -> None:
        """Take the reply to the part that began at `start`."""
        raise NotImplementedError

    @property
    def words(self) -> array[int]:
        """The words that came back."""
        raise NotImplementedError


class Block(Sliced):
    """A read or write of consecutive words, or of one address many times."""

    def __init__(self, owner: Owner, index: int, operation: Read | Write) -> None:
        super().__init__(owner, index, operation.count)
        self._writes = isinstance(operation, Write)
        self._words = to_order(operation.words, "little") if isinstance(operation, Write) else array(WORD_TYPECODE)
        self._payload = memoryview(self._words).cast("B")
        self._address = operation.address_words
        self._fixed = operation.fixed
        self._code = (_WRITE if self._writes else _READ) | _COUNT | (_FIXED if operation.fixed else 0)

    def take(self, request_room: int, reply_room: int, fresh: bool, pieces: list[bytes | memoryview]) -> int:
        start = self.position
        address = self._address + (0 if self._fixed else start)
        wide = address >= NARROW_SPACE_WORDS
        header_bytes = _COUNTED.size + wide
        if self._writes:
            room = (request_room - header_bytes) // wire.WORD_BYTES if reply_room >= wire.STATUS_BYTES else 0
        else:
            room = (reply_room - wire.STATUS_BYTES) // wire.WORD_BYTES if request_room >= header_bytes else 0
        left = self.count - start
        count = min(left, room, wire.WORDS_PER_OP_MAX)
        if count < 1 or (not fresh and count < min(left, SLIVER_WORDS)):
            return 0
        code = self._code | (_CHAIN if start else 0) | (_WIDE if wide else 0)
        header = _COUNTED.pack(code, count - 1, address & 0xFFFF)
        pieces.append(header + bytes((address >> 16,)) if wide else header)
        self.position = start + count
        if not self._writes:
            return count * wire.WORD_BYTES + wire.STATUS_BYTES
        pieces.append(self._payload[start * wire.WORD_BYTES : self.position * wire.WORD_BYTES])
        return wire.STATUS_BYTES

    def answer(self, reply: memoryview, start: int, count: int) -> None:
        if not self._writes:
            self._store(reply[:-1], start, count)
        if self.status == wire.STATUS_OK:
            self.status = reply[-1]
        if self.status != wire.STATUS_OK:
            self.position = self.count  # the rest of an operation that failed is not sent

    def _store(self, words: memoryview, start: int, count: int) -> None:
        if count == self.count:  # all in one frame
            self._words = array(WORD_TYPECODE)
            self._words.frombytes(words)
            return
        if not self._words:
            self._words = zeros(self.count)
            self._payload = memoryview(self._words).cast("B")
        self._payload[start * wire.WORD_BYTES : (start + count) * wire.WORD_BYTES] = words

    @property
    def words(self) -> array[int]:
        self._payload.release()  # or the caller could never resize the array
        if self._writes:
            return array(WORD_TYPECODE)
        return to_order(self._words or zeros(self.count), "little")


class Vector(Sliced):
    """Many single-word operations of one kind at independent addresses, prepared and answered by strided slices.

    Args:
        addresses: word addresses.
        words: to write; without them the words are read.
    """

    words_are_operations = True

    def __init__(self, owner: Owner, addresses: array[int], words: array[int] | None = None) -> None:
        super().__init__(owner, 0, len(addresses))
        self._piece_bytes, self._ops = _strided(addresses, words)
        self._reply_bytes = wire.STATUS_BYTES if words is not None else WORD_REPLY_BYTES
        self._words = bytearray(0 if words is not None else len(addresses) * wire.WORD_BYTES)

    def take(self, request_room: int, reply_room: int, fresh: bool, pieces: list[bytes | memoryview]) -> int:
        start = self.position
        count = min(self.count - start, request_room // self._piece_bytes, reply_room // self._reply_bytes)
        if count < 1:
            return 0
        self.position = start + count
        pieces.append(self._ops[start * self._piece_bytes : self.position * self._piece_bytes])
        return count * self._reply_bytes

    def answer(self, reply: memoryview, start: int, count: int) -> None:
        data = bytearray(reply)
        statuses = data[self._reply_bytes - 1 :: self._reply_bytes]
        if self._reply_bytes == WORD_REPLY_BYTES:
            del data[wire.WORD_BYTES :: WORD_REPLY_BYTES]
            self._words[wire.WORD_BYTES * start : wire.WORD_BYTES * (start + count)] = data
        if self.status == wire.STATUS_OK and statuses != bytes(count):
            self.status = next(filter(None, statuses))

    @property
    def words(self) -> array[int]:
        words = array(WORD_TYPECODE)
        words.frombytes(self._words)
        return to_order(words, "little")


Job = Small | Sliced


def job_of(owner: Owner, index: int, operation: Operation) -> Job:
    """The job that carries one operation."""
    if isinstance(operation, Read):
        if operation.count == 1:
            return Small(owner, index, read_piece(operation.address_words), WORD_REPLY_BYTES)
        return Block(owner, index, operation)
    if isinstance(operation, Write):
        if operation.count > 1:
            return Block(owner, index, operation)
        operand = _WORD.pack(operation.words[0])
        return Small(owner, index, _head(wire.Kind.WRITE, operation.address_words) + operand, wire.STATUS_BYTES)
    if isinstance(operation, Modify):
        operands = _MASKED.pack(operation.mask, operation.value)
        return Small(owner, index, _head(wire.Kind.MODIFY, operation.address_words) + operands, WORD_REPLY_BYTES)
    assert isinstance(operation, Poll)
    operands = _POLLED.pack(operation.timeout_cycles, operation.mask, operation.value)
    return Small(owner, index, _head(wire.Kind.POLL, operation.address_words) + operands, WORD_REPLY_BYTES)


@lru_cache(PIECES_MAX)
def read_piece(address_words: int) -> bytes:
    """The request bytes of a one-word read."""
    return _head(_READ, address_words)


def _head(kind: int, address_words: int) -> bytes:
    if address_words < NARROW_SPACE_WORDS:
        return _NARROW.pack(kind, address_words)
    return _NARROW.pack(kind | _WIDE, address_words & 0xFFFF) + bytes((address_words >> 16,))


def _strided(addresses: array[int], words: array[int] | None) -> tuple[int, memoryview]:
    """Bytes of one operation, and of all of them, one behind the other."""
    count = len(addresses)
    raw = to_order(addresses, "little").tobytes()
    high = raw[2::4]
    wide = high != bytes(count)
    size = wire.OP_BYTES + wire.NARROW_ADDRESS_BYTES + wide + (wire.WORD_BYTES if words is not None else 0)
    ops = bytearray(size * count)
    ops[1::size] = raw[0::4]
    ops[2::size] = raw[1::4]
    if wide:
        ops[3::size] = high
    op = (_READ if words is None else _WRITE) | (_WIDE if wide else 0)
    if op:
        ops[0::size] = bytes((op,)) * count
    if words is not None:
        data = to_order(words, "little").tobytes()
        for byte in range(wire.WORD_BYTES):
            ops[size - wire.WORD_BYTES + byte :: size] = data[byte::4]
    return size, memoryview(ops)
