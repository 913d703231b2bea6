"""Generated code does what a plain interpreter of the same netlist does, for random netlists of every kind of cell."""

from __future__ import annotations

import random

import pytest
from vb_interpreter import Interpreter

from lutlab_virtual_board.codegen import Line, generate
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRam,
    BlockRamOutput,
    ClockLevel,
    DistributedRam,
    Function,
    Multiplier,
    Net,
    Netlist,
    PinInput,
    ProductOutput,
    RamOutput,
    RamPort,
    Register,
    RegisterOutput,
    Stage,
)
from lutlab_virtual_board.simplify import simplify

CYCLES = 120
PINS = ["P0", "P1", "P2"]
CHANGES = {"P0": 0.3, "P1": 0.05, "P2": 0.05}
"""How likely an input changes in a cycle."""


class Builder:
    """A random netlist: state first, then functions of it, then what the state loads."""

    def __init__(self, seed: int, functions: int = 60) -> None:
        self.random = random.Random(seed)
        self.netlist = Netlist()
        self.nets: list[Net] = [ZERO, ONE, *(self.netlist.add(PinInput(pin)) for pin in PINS)]
        self.falling = self.random.random() < 0.5
        if self.falling:
            self.nets.append(self.netlist.add(ClockLevel()))
        self.registers()
        self.early = [ZERO, *self.nets[-5:]]
        self.products = self.multipliers()
        self.blocks = self.block_rams()
        self.logic(functions)
        self.rams = self.distributed_rams()
        self.logic(functions)
        self.connect()
        for number in range(6):
            self.netlist.outputs[f"Q{number}"] = self.pick()

    def pick(self) -> Net:
        return self.random.choice(self.nets)

    def picks(self, count: int) -> tuple[Net, ...]:
        return tuple(self.pick() for _ in range(count))

    def edge(self) -> bool:
        return self.falling and self.random.random() < 0.4

    def registers(self) -> None:
        for index in range(20):
            register = Register(ZERO, ONE, ZERO, self.random.getrandbits(1), self.edge(), f"r{index}")
            self.netlist.registers.append(register)
            self.nets.append(self.netlist.add(RegisterOutput(index)))

    def logic(self, count: int) -> None:
        for _ in range(count):
            size = self.random.randint(1, 4)
            self.nets.append(self.netlist.add(Function(self.random.getrandbits(1 << size), self.picks(size))))

    def distributed_rams(self) -> list[DistributedRam]:
        for index in range(3):
            fields = self.picks(4), self.picks(4), self.pick(), self.pick()
            ram = DistributedRam(*fields, self.random.getrandbits(16), self.edge(), f"m{index}")
            self.netlist.rams.append(ram)
            self.nets.append(self.netlist.add(RamOutput(index)))
        return self.netlist.rams

    def multipliers(self) -> list[Multiplier]:
        for index in range(2):
            stages = [self.stage() if self.random.random() < 0.5 else None for _ in range(4)]
            if index == 0:
                stages[self.random.choice([2, 3])] = self.stage()
            factors = self.picks(18), self.picks(18), self.pick(), self.pick()
            self.netlist.multipliers.append(Multiplier(*factors, *stages, f"x{index}"))
            self.nets += [self.netlist.add(ProductOutput(index, bit)) for bit in range(0, 36, 3)]
        return self.netlist.multipliers

    def stage(self) -> Stage:
        return Stage(ONE, ZERO, self.random.random() < 0.5, self.edge())

    def block_rams(self) -> list[BlockRam]:
        for index in range(2):
            words = [self.random.getrandbits(9) for _ in range(2048)]
            ports = [self.port(number) for number in (0, 1)]
            self.netlist.block_rams.append(BlockRam(ports, words, f"b{index}"))
            self.nets += [self.block_output(index, bit) for bit in range(0, 36, 2)]
        return self.netlist.block_rams

    def block_output(self, index: int, bit: int) -> Net:
        """An output of a block RAM: with an asynchronous reset, a function of that."""
        port = self.netlist.block_rams[index].ports[bit // 18]
        held = self.netlist.add(BlockRamOutput(index, bit))
        return held if port.reset_stops_writes else self.netlist.add(Function(0b0010, (held, port.reset)))

    def port(self, number: int) -> RamPort:
        register = self.random.random() < 0.3
        synchronous = self.random.random() < 0.5
        return RamPort(
            width=self.random.choice([1, 2, 4, 9, 18]),
            address=(),
            data=(),
            enable=ONE,
            write=ZERO,
            write_mode=self.random.choice(["NORMAL", "WRITETHROUGH", "READBEFOREWRITE"]),
            reset=ZERO if synchronous else self.random.choice(self.early),
            reset_stops_writes=synchronous,
            register=register,
            register_enable=ONE,
            outputs=(18 * number, 18),
            falling=self.edge(),
        )

    def connect(self) -> None:
        """What state loads, with few distinct enables so that groups form."""
        controls = [ONE, ONE, *self.picks(3)]
        resets = [ZERO, ZERO, ZERO, *self.picks(2)]
        for register in self.netlist.registers:
            register.d = self.pick()
            register.enable, register.reset = self.random.choice(controls), self.random.choice(resets)
        for block in self.netlist.block_rams:
            for port in block.ports:
                # Few address bits change, so that the ports meet what they wrote.
                port.address = (*self.picks(7), *[ZERO] * 7)
                port.data = self.picks(18)
                port.enable = self.random.choice(controls)
                if port.reset_stops_writes:
                    port.reset = self.random.choice(resets)
                port.write, port.register_enable = self.pick(), self.random.choice(controls)
            if block.ports[0].falling == block.ports[1].falling:
                # Both ports writing one word at one edge has no defined result.
                block.ports[1].write = ZERO
        for multiplier in self.netlist.multipliers:
            for stage in (multiplier.stage_a, multiplier.stage_b, multiplier.stage_product, multiplier.stage_output):
                if stage:
                    stage.enable, stage.reset = self.random.choice(controls), self.random.choice(resets)
                    if stage.asynchronous:
                        # Not from logic after a product: a reset that acts at once may not follow what it resets.
                        stage.reset = self.random.choice(self.early)


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
