"""Sequences and properties of a bounded subset of SystemVerilog assertions, as sets of words.

A sequence of bounded length is a finite set of words: "these booleans hold at these clock ticks, counted from the
start". `a ##[1:2] b` is {a@0 b@1, a@0 b@2}. An attempt of a property starts at every tick. Once a word of the
antecedent has matched, the attempt fails at the first tick at which every word of the consequent has been
contradicted; `violations` writes that down as a formula over the last ticks (IEEE 1800-2017, 16.12.7 and 16.14.6).
Failing late would be wrong: a `disable iff` after the real failure would excuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

WORDS_MAX = 1024
LITERALS_MAX = 50_000


class TooLarge(Exception):
    """The words of a property are too many to write down."""


@dataclass(frozen=True)
class Word:
    """One way a sequence can match.

    Attributes:
        end: the tick of its end, counted from its start.
        needs: (tick, boolean) pairs that must hold.
    """

    end: int
    needs: frozenset[tuple[int, int]]

    def later(self, ticks: int) -> frozenset[tuple[int, int]]:
        """Its needs, if it starts `ticks` later."""
        return frozenset((tick + ticks, boolean) for tick, boolean in self.needs)


EMPTY = Word(0, frozenset())
"""Matches at once, like `1'b1`."""


def joined(first: Iterable[Word], delays: range, second: Iterable[Word]) -> list[Word]:
    """`first ##[delays] second`. Raises: TooLarge."""
    rest = list(second)
    words = {
        Word(one.end + delay + two.end, one.needs | two.later(one.end + delay))
        for one in first
        for delay in delays
        for two in rest
    }
    if len(words) > WORDS_MAX:
        raise TooLarge(f"it can match in more than {WORDS_MAX} ways")
    return sorted(words, key=lambda word: (word.end, sorted(word.needs)))


@dataclass(frozen=True)
class Implication:
    """`antecedent |-> ##gap consequent`; without an antecedent that is {EMPTY}."""

    antecedent: tuple[Word, ...]
    gap: int
    consequent: tuple[Word, ...]
    conditional: bool

    @property
    def history(self) -> int:
        """How many past ticks its formulas look at."""
        before = max(word.end for word in self.antecedent)
        return before + self.gap + max((word.end for word in self.consequent), default=0)


Literal = Callable[[int, int], str]
"""(boolean, ticks ago) -> text."""
Alive = Callable[[int], str]
"""ticks since the start of an attempt -> text: that attempt exists and was not disabled."""


def matches(words: Iterable[Word], holds: Literal, alive: Callable[[Word], str]) -> str:
    """A word ends now. `alive`: of the attempt that it ends."""
    terms = (
        [alive(word), *(holds(boolean, word.end - tick) for tick, boolean in sorted(word.needs))] for word in words
    )
    return any_of(all_of(term) for term in terms)


def violations(property_: Implication, holds: Literal, alive: Alive) -> str:
    """Some attempt fails now, or failed already and would not be excused since. Raises: TooLarge."""
    terms: list[str] = []
    literals = 0
    for word in property_.antecedent:
        start = word.end + property_.gap
        rest = [other.later(start) for other in property_.consequent]
        for now in sorted({tick for needs in rest for tick, _ in needs}):
            due = [[need for need in needs if need[0] <= now] for needs in rest]
            if not all(due):
                continue  # some word is still open whatever happened so far
            literals += len(word.needs) + sum(map(len, due))
            if literals > LITERALS_MAX:
                raise TooLarge(f"its formula has more than {LITERALS_MAX} terms")
            matched = [holds(boolean, now - tick) for tick, boolean in sorted(word.needs)]
            refuted = [any_of(f"!{holds(b, now - tick)}" for tick, b in sorted(needs)) for needs in due]
            terms.append(all_of([alive(now), *matched, *refuted]))
    return any_of(terms)


def all_of(terms: Iterable[str]) -> str:
    """Conjunction as Verilog."""
    return "(" + (" && ".join(terms) or "1'b1") + ")"


def any_of(terms: Iterable[str]) -> str:
    """Disjunction as Verilog."""
    return "(" + (" || ".join(terms) or "1'b0") + ")"
