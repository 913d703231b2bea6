"""Boolean functions survive simplification and being written as expressions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutlab_virtual_board.errors import CombinationalLoop
from lutlab_virtual_board.expressions import Tree, tree_of
from lutlab_virtual_board.netlist import Function, Netlist, PinInput
from lutlab_virtual_board.simplify import reduce_function, simplify


def evaluate(tree: Tree, values: list[int]) -> int:
    if tree.op == "var":
        return values[tree.value]
    if tree.op == "const":
        return tree.value
    args = [evaluate(arg, values) for arg in tree.args]
    operations: dict[str, Callable[[], int]] = {
        "!": lambda: 1 - args[0],
        "&": lambda: args[0] & args[1],
        "|": lambda: args[0] | args[1],
        "^": lambda: args[0] ^ args[1],
        "?": lambda: args[1] if args[0] else args[2],
    }
    return operations[tree.op]()


def rows(count: int) -> list[list[int]]:
    return [[row >> bit & 1 for bit in range(count)] for row in range(1 << count)]


def test_every_function_of_three_inputs_is_written_right() -> None:
    for count in (0, 1, 2, 3):
        for table in range(1 << (1 << count)):
            tree = tree_of(table, count)
            assert [evaluate(tree, row) for row in rows(count)] == [table >> n & 1 for n in range(1 << count)]


@given(table=st.integers(0, (1 << 64) - 1), count=st.integers(4, 6))
def test_larger_functions_are_written_right(table: int, count: int) -> None:
    table &= (1 << (1 << count)) - 1
    tree = tree_of(table, count)
    assert [evaluate(tree, row) for row in rows(count)] == [table >> n & 1 for n in range(1 << count)]


def test_common_functions_are_short() -> None:
    assert tree_of(0b0110_1001_1001_0110, 4).cost == 3  # parity
    assert tree_of(0b1000, 2).cost == 1
    assert tree_of(0b1111_1000_1000_1000, 4).cost == 3  # a b + c d
    assert tree_of(0b11001010, 3).cost == 2  # a choice


@given(
    table=st.integers(0, (1 << 16) - 1),
    inputs=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    inverters=st.sets(st.integers(2, 5)),
)
def test_a_reduced_function_computes_the_same(table: int, inputs: list[int], inverters: set[int]) -> None:
    # Nets 2..5 are free; those in `inverters` are the opposite of nets 12..15.
    behind = {net: net + 10 for net in inverters}
    fresh, nets = reduce_function(table, inputs, behind)
    free = [behind.get(net, net) for net in range(2, 6)]
    for row in rows(4):
        value = {0: 0, 1: 1} | dict(zip(free, row, strict=True))
        value |= {net: 1 - value[source] for net, source in behind.items()}
        old = table >> sum(value[net] << n for n, net in enumerate(inputs)) & 1
        assert fresh >> sum(value[net] << n for n, net in enumerate(nets)) & 1 == old
    assert len(set(nets)) == len(nets)
    assert not set(nets) & {0, 1, *inverters}


def test_logic_that_feeds_back_on_itself_is_refused_by_name() -> None:
    netlist = Netlist()
    pin = netlist.add(PinInput("A1"))
    first, second = netlist.add(None), netlist.add(None)
    netlist.drivers[first] = Function(0b0111, (second, pin))
    netlist.drivers[second] = Function(0b0111, (first, pin))
    netlist.names = {first: "R2C3 F0_SLICE", second: "R2C3 F1_SLICE"}
    netlist.outputs["B1"] = first
    with pytest.raises(CombinationalLoop, match="R2C3 F0_SLICE, R2C3 F1_SLICE"):
        simplify(netlist, ["B1"])


def test_what_is_not_observed_is_dropped() -> None:
    netlist = Netlist()
    a, b = netlist.add(PinInput("A1")), netlist.add(PinInput("A2"))
    netlist.outputs = {"B1": netlist.add(Function(0b0110, (a, a))), "B2": netlist.add(Function(0b1000, (a, b)))}
    small = simplify(netlist, ["B1", "B3"])
    assert small.outputs == {"B1": 0}
    assert PinInput("A2") not in small.drivers
