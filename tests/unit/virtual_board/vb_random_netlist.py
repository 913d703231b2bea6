"""Random netlists of every kind of cell."""

from __future__ import annotations

import random

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

PINS = ["P0", "P1", "P2"]


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
