"""Whoever waits for the answers of a `BusLink`: one caller of many operations, or many callers of one word each."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from typing import Any

from lutlab_bus.errors import BusFault
from lutlab_bus.jobs import WORD_REPLY_BYTES, Job, Small, Vector, read_piece
from lutlab_bus.operations import WORD_TYPECODE

WORDS_TOGETHER_MAX = 256
"""One-word reads that share a job: who is answered first need not wait for all of a thousand."""
LATE = -1
"""The answer of a one-word read whose time is up; words are never negative."""
_FAULTY = -2
_is_done = asyncio.Future.done
_set_result = asyncio.Future.set_result


def status_of(answer: int) -> int:
    """The status in the answer of a one-word read that failed in the design."""
    return _FAULTY - answer


def _answer_of(word: int, status: int) -> int:
    """What a caller is told: the word, or in its place a status that is no word and not `LATE`."""
    return _FAULTY - status if status else word


class Call:
    """One caller, with one or more jobs.

    Attributes:
        future: True when all are done, False when the time is up.
        left: jobs without an answer.
        deadline_s: on the loop's clock.
        open: see `jobs.Owner`.
    """

    __slots__ = ("deadline_s", "future", "left", "open")

    def __init__(self, future: asyncio.Future[Any], left: int, deadline_s: float) -> None:
        self.future = future
        self.left = left
        self.deadline_s = deadline_s
        self.open = True

    def answer(self, _job: object) -> bool:
        """A job is done; whether it was the last one."""
        self.left -= 1
        if self.left:
            return False
        self._end(True)
        return True

    def late(self) -> None:
        """The time is up."""
        self._end(False)

    def fail(self, fault: BusFault) -> None:
        """There will be no answer."""
        self.open = False
        if not self.future.done():
            self.future.set_exception(fault)

    def _end(self, done: bool) -> None:
        self.open = False
        if not self.future.done():
            self.future.set_result(done)


class WordCalls:
    """Callers that each asked for one word in the same turn of the event loop, with the same time limit.

    They are one job, so that neither the engine nor this has Python work for each of them but to wake it up.

    Attributes:
        addresses, futures: one of each for every caller; a future tells a word, `LATE`, or a status (`status_of`).
        timeout_s, deadline_s: of the earliest.
        open: see `jobs.Owner`.
    """

    __slots__ = ("addresses", "deadline_s", "futures", "open", "timeout_s")

    def __init__(self, timeout_s: float, now_s: float) -> None:
        self.timeout_s = timeout_s
        self.deadline_s = now_s + timeout_s
        self.addresses = array(WORD_TYPECODE)
        self.futures: list[asyncio.Future[int]] = []
        self.open = True

    @property
    def waiting(self) -> bool:
        """Somebody has no answer yet and has not given up."""
        return not all(map(_is_done, self.futures))

    def job(self) -> Job | None:
        """What is to be sent for those that still wait; nobody joins any more. None: nobody waits."""
        if any(map(_is_done, self.futures)):
            waiting = [n for n, future in enumerate(self.futures) if not future.done()]
            self.addresses = array(WORD_TYPECODE, [self.addresses[n] for n in waiting])
            self.futures = [self.futures[n] for n in waiting]
        if len(self.futures) > 1:
            return _Words(self, self.addresses)
        return Small(self, 0, read_piece(self.addresses[0]), WORD_REPLY_BYTES) if self.futures else None

    def answer(self, job: object) -> bool:
        """The job is done: everybody is told; always True."""
        self.open = False
        if isinstance(job, Small):
            answers = [_answer_of(job.value, job.status)]
        else:
            assert isinstance(job, _Words)
            answers = job.answers()
        self._tell(answers)
        return True

    def late(self) -> None:
        """The time is up."""
        self.open = False
        self._tell([LATE] * len(self.futures))

    def fail(self, fault: BusFault) -> None:
        """There will be no answer."""
        self.open = False
        for future in self.futures:
            if not future.done():
                future.set_exception(fault)

    def _tell(self, answers: list[int]) -> None:
        try:
            deque(map(_set_result, self.futures, answers), 0)  # without Python code for each
        except asyncio.InvalidStateError:  # somebody gave up; the others are told one by one
            for future, answer in zip(self.futures, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


class _Words(Vector):
    """Reads of single words that keep the status of each."""

    def __init__(self, owner: WordCalls, addresses: array[int]) -> None:
        super().__init__(owner, addresses)
        self._statuses = bytearray(len(addresses))

    def answer(self, reply: memoryview, start: int, count: int) -> None:
        super().answer(reply, start, count)
        self._statuses[start : start + count] = reply[WORD_REPLY_BYTES - 1 :: WORD_REPLY_BYTES]

    def answers(self) -> list[int]:
        """One for each word."""
        words = self.words.tolist()
        if not any(self._statuses):
            return words
        return list(map(_answer_of, words, self._statuses))
