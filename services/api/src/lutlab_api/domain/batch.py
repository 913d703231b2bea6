"""A batch of bus operations as `POST /fpga/{id}/run` asks for it with `ops`, checked before it goes anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.transaction import WORD_MAX, check_count, check_range, check_words


class BatchOp(IntEnum):
    """What to do; the first two as in the contract."""

    WRITE = 1
    READ = 2
    MODIFY = 3
    POLL = 4


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """The fields of one operation of a batch, unchecked."""

    op: int
    address: int
    data: Sequence[int] = ()
    count: int | None = None
    fixed_address: bool = False
    mask: int | None = None
    value: int | None = None
    timeout_cycles: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operation that fits the board.

    Attributes:
        address_bytes: byte address of the first word, a multiple of 4.
        count: words to transfer.
        words: what to write.
        fixed_address: every word goes to, or comes from, the same address.
        mask, value: 32 bits, of a modify or poll.
        timeout_cycles: clock cycles of a poll.
    """

    op: BatchOp
    address_bytes: int
    count: int = 1
    words: tuple[int, ...] = ()
    fixed_address: bool = False
    mask: int = 0
    value: int = 0
    timeout_cycles: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """What a batch may have: operations, words in all, and clock cycles of all its polls."""

    operations_max: int
    words_max: int
    poll_cycles_max: int


def check_batch(ops: Sequence[StepRequest], *, address_words: int, limits: BatchLimits) -> tuple[Step, ...]:
    """The operations these fields ask for.

    Args:
        ops: as they came.
        address_words: size of the board's address space in words.
        limits: of one batch.

    Raises:
        Invalid: a field breaks a rule; the message names the operation by its index, the value and what is allowed.
    """
    if not 1 <= len(ops) <= limits.operations_max:
        raise Invalid(Code.INVALID_OPS, f"ops has {len(ops)} operations; a batch has 1 to {limits.operations_max}")
    steps = []
    for index, asked in enumerate(ops):
        try:
            steps.append(_check(asked, address_words, limits))
        except Invalid as error:
            raise Invalid(error.code, f"ops[{index}]: {error.message}", details={"index": index}) from None
    for what, number, most in (
        ("words", sum(step.count for step in steps), limits.words_max),
        ("cycles of polling", sum(step.timeout_cycles for step in steps), limits.poll_cycles_max),
    ):
        if number > most:
            raise Invalid(Code.INVALID_OPS, f"ops have {number} {what} together; a batch has at most {most}: send two")
    return tuple(steps)


def _check(asked: StepRequest, address_words: int, limits: BatchLimits) -> Step:
    if asked.op not in list(BatchOp):
        raise Invalid(Code.INVALID_OP, f"op {asked.op} is unknown; use 1 to write, 2 to read, 3 to modify, 4 to poll")
    op = BatchOp(asked.op)
    if op in (BatchOp.MODIFY, BatchOp.POLL):
        return _check_masked(op, asked, address_words, limits)
    words = check_words(asked.data) if op is BatchOp.WRITE else ()
    count = len(words) if op is BatchOp.WRITE else (1 if asked.count is None else asked.count)
    check_count(op is BatchOp.WRITE, count, limits.words_max)
    check_range(asked.address, 1 if asked.fixed_address else count, address_words)
    return Step(op=op, address_bytes=asked.address, count=count, words=words, fixed_address=asked.fixed_address)


def _check_masked(op: BatchOp, asked: StepRequest, address_words: int, limits: BatchLimits) -> Step:
    check_range(asked.address, 1, address_words)
    name = op.name.lower()
    if asked.value is None:
        raise Invalid(Code.INVALID_DATA, f"a {name} needs a value")
    mask = WORD_MAX if asked.mask is None else asked.mask
    for field, word in (("mask", mask), ("value", asked.value)):
        if not 0 <= word <= WORD_MAX:
            raise Invalid(Code.INVALID_DATA, f"{field} is {word}; a word lies between 0 and {WORD_MAX}")
    if op is BatchOp.MODIFY:
        return Step(op=op, address_bytes=asked.address, mask=mask, value=asked.value)
    cycles = asked.timeout_cycles
    if cycles is None or not 0 <= cycles <= limits.poll_cycles_max:
        allowed = f"a poll has timeout_cycles from 0 to {limits.poll_cycles_max}"
        raise Invalid(Code.INVALID_COUNT, f"timeout_cycles is {'missing' if cycles is None else cycles}; {allowed}")
    return Step(op=op, address_bytes=asked.address, mask=mask, value=asked.value, timeout_cycles=cycles)
