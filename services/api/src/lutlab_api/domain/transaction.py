"""One bus transaction as `POST /fpga/{id}/run` asks for it, checked before it goes anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lutlab_api.domain.errors import Code, Invalid

WORD_MAX = (1 << 32) - 1
WORD_BYTES = 4


class Op(IntEnum):
    """What to do, in the contract's numbers."""

    WRITE = 1
    READ = 2


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """A transaction that fits the board.

    Attributes:
        address_bytes: byte address of the first word, a multiple of 4.
        count: words to transfer, at least 1.
        words: what to write; empty for a read.
        fixed_address: write every word to the same address.
    """

    op: Op
    address_bytes: int
    count: int
    words: tuple[int, ...] = ()
    fixed_address: bool = False


def check_transaction(
    *,
    op: int,
    address: int,
    data: Sequence[int],
    count: int | None,
    fixed_address: bool,
    address_words: int,
    words_max: int,
) -> Transaction:
    """The transaction these fields ask for.

    Args:
        op: 1 write, 2 read.
        address: byte address.
        data: words to write; ignored for a read.
        count: words to read, None for one; ignored for a write, which has as many as `data`.
        address_words: size of the board's address space in words.
        words_max: most words of one transaction.

    Raises:
        Invalid: a field breaks a rule; the message names the field, the value and what is allowed.
    """
    if op not in (Op.WRITE, Op.READ):
        raise Invalid(Code.INVALID_OP, f"op {op} is unknown; use 1 to write or 2 to read")
    if op == Op.READ and fixed_address:
        raise Invalid(Code.INVALID_OP, "fixed_address is for writes only; read one word at a time instead")
    words = check_words(data) if op == Op.WRITE else ()
    number = len(words) if op == Op.WRITE else (1 if count is None else count)
    check_count(op == Op.WRITE, number, words_max)
    check_range(address, 1 if fixed_address else number, address_words)
    return Transaction(op=Op(op), address_bytes=address, count=number, words=words, fixed_address=fixed_address)


def check_words(data: Sequence[int]) -> tuple[int, ...]:
    """Words to write. Raises: Invalid: one is no 32-bit word."""
    for index, word in enumerate(data):
        if not 0 <= word <= WORD_MAX:
            raise Invalid(Code.INVALID_DATA, f"data[{index}] is {word}; a word lies between 0 and {WORD_MAX}")
    return tuple(data)


def check_count(is_write: bool, number: int, words_max: int) -> None:
    """Raises: Invalid: not 1 to `words_max` words."""
    if 1 <= number <= words_max:
        return
    if is_write:
        raise Invalid(Code.INVALID_DATA, f"data has {number} words; a write has 1 to {words_max}")
    raise Invalid(Code.INVALID_COUNT, f"count is {number}; a read has 1 to {words_max} words")


def check_range(address: int, number: int, address_words: int) -> None:
    """Raises: Invalid: so many words from this byte address are not within the address space."""
    end = address_words * WORD_BYTES
    if address % WORD_BYTES:
        raise Invalid(Code.INVALID_ADDRESS, f"address {address:#x} is not a multiple of 4; addresses count bytes")
    if not 0 <= address < end:
        raise Invalid(Code.INVALID_ADDRESS, f"address {address:#x} is outside 0x0 to {end - WORD_BYTES:#x}")
    if address + number * WORD_BYTES > end:
        raise Invalid(
            Code.INVALID_ADDRESS,
            f"{number} words from address {address:#x} run past the last word at {end - WORD_BYTES:#x}",
        )
