"""Wishbone operations as values: what a caller asks for and what it gets back."""

from __future__ import annotations

import enum
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lutlab_bus import wire
from lutlab_bus.errors import InvalidOperation, design_fault

WORDS_PER_OPERATION_MAX = 1 << 24
"""64 MiB; what the 24-bit count of a stream message can say. A bound against mistakes, not a property of the wire."""
WORD_TYPECODE = "I"
"""`array` typecode of a 32-bit word."""

Words = Sequence[int] | bytes | bytearray | memoryview
"""What a caller may hand over as words: numbers, or a buffer of 32-bit words in native byte order.

Best is an `array('I')`, which is never copied or converted."""

assert array(WORD_TYPECODE).itemsize == wire.WORD_BYTES, "this platform's unsigned int is not 32 bits"


class Status(enum.IntEnum):
    """How an operation ended on the bus."""

    OK = wire.STATUS_OK
    BUS_ERROR = wire.STATUS_BUS_ERROR
    """The target answered `err`, or the address is beyond the target's address width."""
    BUS_TIMEOUT = wire.STATUS_BUS_TIMEOUT
    """The target did not answer within the bus timeout that was built into the bitstream."""
    POLL_TIMEOUT = 3
    """The value a `Poll` waits for did not come in time."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read words.

    Attributes:
        address_words: word address of the first word (byte address / 4).
        count: number of words, 1 to `WORDS_PER_OPERATION_MAX`.
        fixed: read every word from the same address.

    Raises:
        InvalidOperation: a value is out of range.
    """

    address_words: int
    count: int = 1
    fixed: bool = False

    def __post_init__(self) -> None:
        _check(self.address_words, self.count)


@dataclass(frozen=True, slots=True)
class Write:
    """Write words.

    Attributes:
        address_words: word address of the first word (byte address / 4).
        words: any of `Words` when constructed; an `array('I')` in native byte order afterwards. An `array('I')` is
            kept, not copied: do not change it until the operation is done.
        fixed: write every word to the same address.

    Raises:
        InvalidOperation: a value is out of range.
    """

    address_words: int
    words: array[int]
    fixed: bool = False

    def __init__(self, address_words: int, words: Words, fixed: bool = False) -> None:
        object.__setattr__(self, "address_words", address_words)
        object.__setattr__(self, "words", as_words(words))
        object.__setattr__(self, "fixed", fixed)
        _check(address_words, len(self.words))

    @property
    def count(self) -> int:
        """Number of words."""
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Modify:
    """Read a word and write it back with the bits of `mask` replaced by those of `value`; nothing comes in between.

    Attributes:
        address_words: word address (byte address / 4).
        mask, value: 32 bits.

    Raises:
        InvalidOperation: a value is out of range.
    """

    address_words: int
    mask: int
    value: int

    def __post_init__(self) -> None:
        _check(self.address_words, 1)
        _check_words(mask=self.mask, value=self.value)

    @property
    def count(self) -> int:
        """Words its result has: the word as it was before."""
        return 1


@dataclass(frozen=True, slots=True)
class Poll:
    """Read a word on the board, without the host, until its bits under `mask` are those of `value`.

    Attributes:
        address_words: word address (byte address / 4).
        mask, value: 32 bits.
        timeout_cycles: clock cycles of the design after which to give up, 32 bits; the word is read at least once. The
            board does nothing else meanwhile, so keep it well below the timeout of the call.

    Raises:
        InvalidOperation: a value is out of range.
    """

    address_words: int
    mask: int
    value: int
    timeout_cycles: int

    def __post_init__(self) -> None:
        _check(self.address_words, 1)
        _check_words(mask=self.mask, value=self.value, timeout_cycles=self.timeout_cycles)

    @property
    def count(self) -> int:
        """Words its result has: the word that was read last."""
        return 1


Operation = Read | Write | Modify | Poll


@dataclass(frozen=True, slots=True)
class Result:
    """How one operation ended.

    Attributes:
        status: of the whole operation: the first fault, if there was one.
        words: of a `Read`, as many as asked for; zeros from the word on that failed. Of a `Modify`, the word
            before; of a `Poll`, the word read last. Empty for a `Write`.
    """

    status: Status
    words: array[int] = field(default_factory=lambda: array(WORD_TYPECODE))

    @property
    def ok(self) -> bool:
        """Every word was transferred."""
        return self.status is Status.OK

    def check(self) -> Result:
        """The result itself.

        Raises:
            DesignFault: it is not `ok`; the subclass tells what the design did.
        """
        if self.status is not Status.OK:
            raise design_fault(self.status)
        return self


def as_words(words: Words) -> array[int]:
    """Any of `Words` as an `array('I')`; the argument itself if it is one.

    Raises:
        InvalidOperation: a number is not an unsigned 32-bit integer, or a buffer is not a whole number of words.
    """
    if isinstance(words, array) and words.typecode == WORD_TYPECODE:
        return words
    result = array(WORD_TYPECODE)
    try:
        if isinstance(words, bytes | bytearray | memoryview | array):
            result.frombytes(memoryview(words).cast("B"))
        else:
            result.fromlist(list(words))
    except (TypeError, ValueError, OverflowError) as fault:
        raise InvalidOperation(f"not 32-bit words: {fault}") from fault
    return result


def zeros(count: int) -> array[int]:
    """`count` zero words."""
    return array(WORD_TYPECODE, bytes(count * wire.WORD_BYTES))


def to_order(words: array[int], byteorder: str) -> array[int]:
    """`words` with its bytes in `byteorder` ("little" or "big"): itself if that is native, else a swapped copy."""
    if byteorder == sys.byteorder:
        return words
    swapped = words[:]
    swapped.byteswap()
    return swapped


def check_address(address_words: int) -> None:
    """Raises: InvalidOperation: it is not a word address."""
    if not 0 <= address_words < 1 << wire.ADDRESS_BITS_MAX:
        raise InvalidOperation(f"word address {address_words:#x} is outside 0..{(1 << wire.ADDRESS_BITS_MAX) - 1:#x}")


def check_addresses(addresses_words: Iterable[int], words: array[int] | None) -> array[int]:
    """Word addresses as an `array('I')`.

    Raises:
        InvalidOperation: one is out of range, there are too many, or not as many `words`.
    """
    is_array = isinstance(addresses_words, array) and addresses_words.typecode == WORD_TYPECODE
    addresses = addresses_words if is_array else as_words(list(addresses_words))
    assert isinstance(addresses, array)
    if len(addresses) > WORDS_PER_OPERATION_MAX:
        raise InvalidOperation(f"{len(addresses)} addresses; at most {WORDS_PER_OPERATION_MAX}")
    if words is not None and len(words) != len(addresses):
        raise InvalidOperation(f"{len(addresses)} addresses for {len(words)} words")
    high = to_order(addresses, "little").tobytes()[wire.WORD_BYTES - 1 :: wire.WORD_BYTES]
    if high != bytes(len(addresses)):
        check_address(max(addresses))
    return addresses


def _check(address_words: int, count: int) -> None:
    check_address(address_words)
    if not 1 <= count <= WORDS_PER_OPERATION_MAX:
        raise InvalidOperation(f"{count} words; an operation has 1 to {WORDS_PER_OPERATION_MAX}")


def _check_words(**values: int) -> None:
    for name, value in values.items():
        if not 0 <= value < 1 << 32:
            raise InvalidOperation(f"{name} {value:#x} is not a 32-bit word")
