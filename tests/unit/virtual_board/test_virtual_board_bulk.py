"""What C does in bulk is what Python does one by one: the same nets, plans, programs and errors."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from test_virtual_board_bitstream import TOY, Writer
from vb_random_netlist import PINS, Builder

from lutlab_virtual_board import bulk
from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.codegen import Line, generate
from lutlab_virtual_board.errors import CombinationalLoop, VirtualBoardError
from lutlab_virtual_board.netlist import Function, Netlist, PinInput
from lutlab_virtual_board.schedule import Schedule, plan
from lutlab_virtual_board.simplify import simplify


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], tuple[object, object]]:
    """What something gives with C and without."""
    library = bulk.library()
    assert library is not None

    def results(make: Callable[[], object]) -> tuple[object, object]:
        found = []
        for each in (library, None):
            monkeypatch.setattr(bulk, "library", lambda each=each: each)
            try:
                found.append(make())
            except VirtualBoardError as error:
                found.append((type(error), str(error)))
        return found[0], found[1]

    return results


Both = Callable[[Callable[[], object]], tuple[object, object]]


@pytest.mark.parametrize("seed", range(24))
def test_a_netlist_becomes_the_same_program(both: Both, seed: int) -> None:
    netlist = Builder(seed, functions=150).netlist

    def made() -> object:
        small = simplify(netlist, list(netlist.outputs))
        schedule = plan(small)
        return small, schedule, generate(small, Line(PINS[0], "Q0", 1e6)).source

    in_bulk, one_by_one = both(made)
    assert in_bulk == one_by_one


@pytest.mark.parametrize("inputs", range(7))
def test_every_function_is_reduced_alike(both: Both, inputs: int) -> None:
    source = random.Random(inputs)
    netlist = Netlist()
    pins = [netlist.add(PinInput(f"P{number}")) for number in range(3)]
    nets = [0, 1, *pins, *(netlist.add(Function(0b01, (pin,))) for pin in pins)]
    for number in range(300):
        chosen = tuple(source.choice(nets) for _ in range(inputs))
        table = (
            source.getrandbits(1 << inputs) if number % 3 else source.choice((0, (1 << (1 << inputs)) - 1, 0b10, 0b01))
        )
        nets.append(netlist.add(Function(table, chosen)))
        netlist.outputs[f"Q{number}"] = nets[-1]
    in_bulk, one_by_one = both(lambda: simplify(netlist, list(netlist.outputs)))
    assert in_bulk == one_by_one


def test_expressions_are_cut_at_the_same_places(both: Both) -> None:
    netlist = Netlist()
    pins = [netlist.add(PinInput(f"P{number}")) for number in range(60)]
    net = pins[0]
    for index, pin in enumerate(pins[1:]):
        net = netlist.add(Function(0b0110 if index % 3 else 0b1110, (net, pin)))
    netlist.outputs["Q0"] = netlist.add(Function(0b01, (net,)))
    in_bulk, one_by_one = both(lambda: plan(simplify(netlist, ["Q0"])))
    assert isinstance(in_bulk, Schedule) and 0 < len(in_bulk.inlined) < len(in_bulk.order) - 1, "nothing was cut"
    assert in_bulk == one_by_one


def test_a_loop_is_refused_with_the_same_names(both: Both) -> None:
    netlist = Netlist()
    pin, first, second = netlist.add(PinInput("P0")), netlist.add(None), netlist.add(None)
    netlist.drive(first, Function(0b1000, (pin, second)))
    netlist.drive(second, Function(0b0110, (pin, first)))
    netlist.names |= {first: "R1C1 F0", second: "R1C1 F1"}
    netlist.outputs["Q0"] = first
    in_bulk, one_by_one = both(lambda: simplify(netlist, ["Q0"]))
    assert in_bulk == one_by_one
    assert isinstance(in_bulk, tuple) and in_bulk[0] is CombinationalLoop


def test_a_stream_that_is_damaged_or_cut_anywhere_gives_the_same_frames_or_error(both: Both) -> None:
    source = random.Random(1)
    whole = Writer().start().compressed().finish()
    assert both(lambda: parse(whole, TOY))[0] == both(lambda: parse(whole, TOY))[1]
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :]
        for stream in (damaged, whole[:at]):
            in_bulk, one_by_one = both(lambda stream=stream: parse(stream, TOY))  # type: ignore[misc]
            assert in_bulk == one_by_one, at
