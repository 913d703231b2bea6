"""Generated code does what a plain interpreter of the same netlist does, for random netlists of every kind of cell."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from vb_interpreter import Interpreter
from vb_random_netlist import PINS, Builder

from lutlab_virtual_board.codegen import Line, generate
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.errors import UnsupportedConfiguration
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRam,
    BlockRamOutput,
    Clock,
    Function,
    Netlist,
    PinInput,
    RamPort,
    Register,
    RegisterOutput,
)
from lutlab_virtual_board.simplify import simplify

CYCLES = 120
CHANGES = {"P0": 0.3, "P1": 0.05, "P2": 0.05}
"""How likely an input changes in a cycle."""


@pytest.mark.parametrize("seed", range(40))
def test_generated_code_does_what_the_netlist_says(seed: int) -> None:
    compare(Builder(seed).netlist, seed)


@pytest.mark.parametrize("write_mode", ["NORMAL", "WRITETHROUGH", "READBEFOREWRITE"])
@pytest.mark.parametrize("register", [False, True])
def test_a_memory_is_read_again_although_only_its_content_has_changed(write_mode: str, register: bool) -> None:
    netlist = Netlist()
    pin = netlist.add(PinInput(PINS[0]))
    fixed = (*[ONE] * 5, *[ZERO] * 9)
    writer = RamPort(9, fixed, (pin,) * 9, ONE, ONE, write_mode, ZERO, True, False, ONE, (0, 9), False)
    reader = RamPort(9, fixed, (), ONE, ZERO, "NORMAL", ZERO, True, register, ONE, (18, 9), False)
    netlist.block_rams.append(BlockRam([writer, reader], [0] * 2048, "b"))
    for bit in (0, 18):
        netlist.outputs[f"Q{bit}"] = netlist.add(BlockRamOutput(0, bit))
    compare(netlist, seed=1)


@pytest.mark.parametrize("write_mode", ["NORMAL", "WRITETHROUGH", "READBEFOREWRITE"])
def test_a_port_that_only_reads_gets_the_word_before_what_the_other_writes(write_mode: str) -> None:
    netlist = Netlist()
    pin, fixed = netlist.add(PinInput("rx")), (ZERO,) * 14
    writer = RamPort(9, fixed, (pin,) * 9, ONE, ONE, "NORMAL", ZERO, True, False, ONE, (0, 9), False)
    reader = RamPort(9, fixed, (ZERO,) * 9, ONE, ZERO, write_mode, ZERO, True, False, ONE, (18, 9), False)
    netlist.block_rams.append(BlockRam([writer, reader], [0] * 2048, "b"))
    netlist.outputs["Q"] = netlist.add(BlockRamOutput(0, 18))
    compiler = find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, generate(netlist, Line("rx", "none", 1e6)).source.encode()))
    levels = random.Random(1).randbytes(CYCLES).translate(bytes(value & 1 for value in range(256)))
    # Written at one edge, read at the next, seen in the cycle after that.
    assert fabric.trace(levels, CYCLES, 1) == bytes(2) + levels[:-2]
    fabric.close()


def compare(netlist: Netlist, seed: int) -> None:
    """Run the generated code of a netlist beside the interpreter."""
    original = Interpreter(netlist)
    small = simplify(netlist, list(netlist.outputs))
    # The serial input requests what reads it; another input that changes requests everything, and so it seldom may.
    program = generate(small, Line(PINS[0], "none", 1e6))
    compiler = find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    stimulus = random.Random(seed + 1000)
    wanted = []
    levels = bytearray()
    pins = dict.fromkeys(PINS, 0)
    for _ in range(CYCLES):
        pins = {pin: level ^ (stimulus.random() < CHANGES[pin]) for pin, level in pins.items()}
        wanted.append(original.cycle(pins))
        levels += bytes(pins[pin] for pin in program.inputs)
    got = fabric.trace(bytes(levels), CYCLES, len(program.outputs))
    width = len(program.outputs)
    for cycle, outputs in enumerate(wanted):
        row = dict(zip(program.outputs, got[cycle * width : (cycle + 1) * width], strict=True))
        assert row == outputs, f"seed {seed}, cycle {cycle}"
    fabric.close()


def two_clocks(second: Fraction) -> Netlist:
    """A register on each of two clocks that changes with every edge; the first clock's period is one second."""
    netlist = Netlist(clocks=[Clock("a", Fraction(1)), Clock("b", second)])
    for index in range(2):
        output = netlist.add(RegisterOutput(index))
        inverted = netlist.add(Function(0b01, (output,)))
        netlist.registers.append(Register(inverted, ONE, ZERO, 0, False, f"r{index}", index))
        netlist.outputs[f"Q{index}"] = output
    return netlist


def test_clocks_whose_common_unit_of_time_is_tiny_keep_their_pace() -> None:
    compiler = find_tcc()
    assert compiler is not None
    program = generate(two_clocks(1 + Fraction(1, 1 << 58)), Line("rx", "Q1", 1.0))
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    levels = fabric.trace(b"", CYCLES, 2)
    assert levels == bytes(cycle & 1 for cycle in range(CYCLES) for _ in range(2))
    fabric.close()


def test_clocks_without_a_unit_that_can_be_counted_are_refused() -> None:
    with pytest.raises(UnsupportedConfiguration, match="the periods of a, b have no common unit"):
        generate(two_clocks(1 + Fraction(1, 1 << 70)), Line("rx", "Q1", 1.0))


def echo(bit_offset: int = 0) -> Netlist:
    """A design whose serial output is its serial input, some cycles later."""
    netlist = Netlist()
    net = netlist.add(PinInput("rx"))
    for index in range(3 + bit_offset):
        netlist.registers.append(Register(net, ONE, ZERO, 1, False, f"r{index}"))
        net = netlist.add(RegisterOutput(index))
    netlist.outputs["tx"] = net
    return netlist


def run_all(fabric: Fabric) -> bytes:
    received = b""
    for _ in range(1000):
        fabric.run(10_000)
        received += fabric.pull()
        if fabric.quiet and not fabric.host_pending:
            return received
    raise AssertionError("the design does not get quiet")


@pytest.mark.parametrize("baud", [1_000_000 // 4, 1_000_000 // 7, 300_000, 115_200, 9_600, 38_461])
def test_the_serial_line_keeps_time_at_any_ratio(baud: int) -> None:
    compiler = find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, generate(echo(), Line("rx", "tx", 1e6)).source.encode()))
    fabric.set_baud(baud)
    data = bytes(range(256)) * 2
    assert fabric.push(data) == len(data)
    assert run_all(fabric) == data
    ideal = len(data) * 10 * 1e6 / baud
    assert ideal <= fabric.cycles <= ideal * 1.002 + 12 * 1e6 / baud
    fabric.close()


def test_two_loads_of_one_design_have_their_own_state() -> None:
    compiler = find_tcc()
    assert compiler is not None
    code = compile_now(compiler, generate(echo(), Line("rx", "tx", 1e6)).source.encode())
    one, two = Fabric(code), Fabric(code)
    one.push(b"x")
    one.run(5)
    assert two.host_pending == 0
    two.take_over(one)
    assert two.host_pending == 1
    assert run_all(two) == b"x"
    assert run_all(one) == b"x"
    one.close()
    two.close()


def test_a_design_without_a_serial_output_is_silent() -> None:
    compiler = find_tcc()
    assert compiler is not None
    netlist = Netlist()
    fabric = Fabric(compile_now(compiler, generate(netlist, Line("rx", "tx", 1e6)).source.encode()))
    fabric.push(b"anything")
    assert run_all(fabric) == b""
    fabric.close()


def test_a_pressed_button_wakes_up_a_design_that_waits_for_its_host() -> None:
    compiler = find_tcc()
    assert compiler is not None
    netlist = echo()
    pressed = netlist.add(PinInput("button"))
    netlist.registers.append(Register(pressed, ONE, ZERO, 0, False, "seen"))
    netlist.outputs["led"] = netlist.add(RegisterOutput(len(netlist.registers) - 1))
    program = generate(netlist, Line("rx", "tx", 1e6))
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    button, led = program.inputs.index("button"), (1, program.outputs.index("led"))
    for level in (1, 0):
        run_all(fabric)
        fabric.drive(button, level)
        assert not fabric.quiet
        fabric.run(10)
        assert fabric.level(led) == level
    fabric.close()
