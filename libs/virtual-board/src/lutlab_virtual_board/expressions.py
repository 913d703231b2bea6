"""Boolean functions of few inputs as short C expressions.

A truth table becomes a tree: a variable, a constant, NOT, AND, OR, XOR or a choice. The tree is found by taking single
inputs, or pairs of inputs that only matter through one value, out of the function, whichever needs least operations.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations

from lutlab_virtual_board.simplify import cofactors

_CHOICE_COST = 2


@dataclass(frozen=True, slots=True)
class Tree:
    """An expression.

    Attributes:
        op: `var`, `const`, `!`, `&`, `|`, `^` or `?` (condition, then, otherwise).
        value: number of the variable, or the constant.
        args: operands.
        cost: operations in it.
    """

    op: str
    value: int
    args: tuple[Tree, ...]
    cost: int

    def uses(self, counts: dict[int, int]) -> dict[int, int]:
        """How often each variable is written, added to `counts`."""
        if self.op == "var":
            counts[self.value] = counts.get(self.value, 0) + 1
        for arg in self.args:
            arg.uses(counts)
        return counts


@functools.lru_cache(maxsize=1 << 16)
def uses_of(table: int, count: int) -> tuple[tuple[int, int], ...]:
    """How often the tree of a truth table writes each variable: its number, and how often."""
    return tuple(tree_of(table, count).uses({}).items())


def variable(index: int) -> Tree:
    """A variable by itself."""
    return Tree("var", index, (), 0)


def constant(value: int) -> Tree:
    """Zero or one."""
    return Tree("const", value, (), 0)


def _node(op: str, *args: Tree, cost: int = 1) -> Tree:
    return Tree(op, 0, args, cost + sum(arg.cost for arg in args))


def _not(tree: Tree) -> Tree:
    return tree.args[0] if tree.op == "!" else _node("!", tree)


def _select(condition: Tree, high: Tree, low: Tree) -> Tree:
    """condition ? high : low, in its shortest form."""
    if high.op == "const" and low.op == "const":
        return constant(high.value) if high.value == low.value else condition if high.value else _not(condition)
    if low.op == "const":
        return _node("|", _not(condition), high) if low.value else _node("&", condition, high)
    if high.op == "const":
        return _node("|", condition, low) if high.value else _node("&", _not(condition), low)
    if high == _not(low) or low == _not(high):
        return _node("^", condition, low)
    return _node("?", condition, high, low, cost=_CHOICE_COST)


def tree_of(table: int, count: int) -> Tree:
    """The tree of a truth table over `count` variables."""
    return _best(table, tuple(range(count)))


def forget() -> None:
    """Let go of the trees that are kept."""
    _best.cache_clear()
    uses_of.cache_clear()


@functools.lru_cache(maxsize=1 << 16)
def _best(table: int, names: tuple[int, ...]) -> Tree:
    count = len(names)
    rows = 1 << count
    if table == 0 or table == (1 << rows) - 1:
        return constant(table & 1)
    for position in range(count):
        low, high = cofactors(table, count, position)
        if low == high:
            return _best(low, names[:position] + names[position + 1 :])
    if count == 1:
        return variable(names[0]) if table == 0b10 else _not(variable(names[0]))
    candidates = [_split(table, names, position) for position in range(count)]
    if count > 2:
        candidates += [tree for pair in combinations(range(count), 2) if (tree := _split_pair(table, names, pair))]
    return min(candidates, key=lambda tree: tree.cost)


def _split(table: int, names: tuple[int, ...], position: int) -> Tree:
    """Decide by one variable."""
    low, high = cofactors(table, len(names), position)
    rest = names[:position] + names[position + 1 :]
    rows = (1 << (1 << len(rest))) - 1
    if low == high ^ rows:
        return _node("^", variable(names[position]), _best(low, rest))
    return _select(variable(names[position]), _best(high, rest), _best(low, rest))


def _split_pair(table: int, names: tuple[int, ...], pair: tuple[int, int]) -> Tree | None:
    """Decide by a function of two variables, if the others see no more of them than that."""
    first, second = pair
    count = len(names)
    low, high = cofactors(table, count, second)
    parts = [*cofactors(low, count - 1, first), *cofactors(high, count - 1, first)]
    distinct = sorted(set(parts))
    if len(distinct) != 2:
        return None
    chooser = sum(1 << row for row, part in enumerate(parts) if part == distinct[1])
    condition = _best(chooser, (names[first], names[second]))
    rest = tuple(name for index, name in enumerate(names) if index not in pair)
    rows = (1 << (1 << len(rest))) - 1
    if distinct[0] == distinct[1] ^ rows:
        return _node("^", condition, _best(distinct[0], rest))
    return _select(condition, _best(distinct[1], rest), _best(distinct[0], rest))
