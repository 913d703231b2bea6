"""A slow, plain interpreter of netlists, to compare generated code with."""

from __future__ import annotations

from dataclasses import dataclass, field

from lutlab_virtual_board.netlist import (
    BlockRamOutput,
    ClockLevel,
    Function,
    Multiplier,
    Net,
    Netlist,
    PinInput,
    ProductOutput,
    RamOutput,
    RamPort,
    RegisterOutput,
    Stage,
)


@dataclass
class BlockState:
    """Contents and output latches of a block RAM."""

    words: list[int]
    latch: list[int] = field(default_factory=lambda: [0, 0])
    out: list[int] = field(default_factory=lambda: [0, 0])


class Interpreter:
    """Runs a netlist cycle by cycle."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self.registers = [register.value for register in netlist.registers]
        self.rams = [ram.value for ram in netlist.rams]
        self.blocks = [BlockState(list(block.words)) for block in netlist.block_rams]
        self.stages = [{"a": 0, "b": 0, "product": 0, "output": 0} for _ in netlist.multipliers]
        self.level = 0
        self.pins: dict[str, int] = {}
        self.known: dict[Net, int] = {}

    def cycle(self, pins: dict[str, int]) -> dict[str, int]:
        """Output levels before the rising edge; then both edges happen."""
        self.pins = pins
        self.level, self.known = 0, {}
        outputs = {pin: self.value(net) for pin, net in self.netlist.outputs.items()}
        self.edge(falling=False)
        self.level, self.known = 1, {}
        self.edge(falling=True)
        return outputs

    def value(self, net: Net) -> int:
        if net in (0, 1):
            return net
        if net not in self.known:
            self.known[net] = self.compute(net)
        return self.known[net]

    def word(self, nets: tuple[Net, ...]) -> int:
        return sum(self.value(net) << bit for bit, net in enumerate(nets))

    def compute(self, net: Net) -> int:
        driver = self.netlist.drivers[net]
        match driver:
            case Function():
                return driver.table >> self.word(driver.inputs) & 1
            case PinInput():
                return self.pins[driver.pin]
            case ClockLevel():
                return self.level
            case RegisterOutput():
                return self.registers[driver.index]
            case RamOutput():
                return self.rams[driver.index] >> self.word(self.netlist.rams[driver.index].read) & 1
            case BlockRamOutput():
                return self.block_bit(driver)
            case ProductOutput():
                return self.result(driver.index) >> driver.bit & 1
        raise AssertionError(driver)

    def block_bit(self, driver: BlockRamOutput) -> int:
        state = self.blocks[driver.index]
        for number, port in enumerate(self.netlist.block_rams[driver.index].ports):
            first, count = port.outputs
            if first <= driver.bit < first + count:
                word = state.out[number] if port.register else state.latch[number]
                return word >> (driver.bit - first) & 1
        return 0

    def product(self, index: int) -> int:
        m: Multiplier = self.netlist.multipliers[index]
        a = self.held(index, "a", m.stage_a) if m.stage_a else self.word(m.a)
        b = self.held(index, "b", m.stage_b) if m.stage_b else self.word(m.b)
        if self.value(m.signed_a) and a >> 17:
            a -= 1 << 18
        if self.value(m.signed_b) and b >> 17:
            b -= 1 << 18
        return (a * b) & (1 << 36) - 1

    def result(self, index: int) -> int:
        m = self.netlist.multipliers[index]
        if m.stage_output:
            return self.held(index, "output", m.stage_output)
        return self.held(index, "product", m.stage_product) if m.stage_product else self.product(index)

    def held(self, index: int, name: str, stage: Stage) -> int:
        return 0 if stage.asynchronous and self.value(stage.reset) else self.stages[index][name]

    # -- edges ----------------------------------------------------------------------------------------------------

    def edge(self, falling: bool) -> None:
        registers, rams = list(self.registers), list(self.rams)
        for index, register in enumerate(self.netlist.registers):
            if register.falling != falling:
                continue
            if self.value(register.reset):
                registers[index] = register.value
            elif self.value(register.enable):
                registers[index] = self.value(register.d)
        for index, ram in enumerate(self.netlist.rams):
            if ram.falling == falling and self.value(ram.enable):
                address = self.word(ram.write)
                rams[index] = rams[index] & ~(1 << address) | self.value(ram.data) << address
        stages = [self.next_stages(index, falling) for index in range(len(self.stages))]
        blocks = [self.next_block(index, falling) for index in range(len(self.blocks))]
        self.registers, self.rams, self.stages, self.blocks = registers, rams, stages, blocks

    def next_stages(self, index: int, falling: bool) -> dict[str, int]:
        m, old = self.netlist.multipliers[index], self.stages[index]
        new = dict(old)
        values = {"a": self.word(m.a), "b": self.word(m.b), "product": self.product(index)}
        values["output"] = self.held(index, "product", m.stage_product) if m.stage_product else values["product"]
        stages = {"a": m.stage_a, "b": m.stage_b, "product": m.stage_product, "output": m.stage_output}
        for name, stage in stages.items():
            if not stage or (stage.falling != falling and not stage.asynchronous):
                continue
            if stage.falling != falling and not self.value(stage.reset):
                continue
            if self.value(stage.reset):
                new[name] = 0
            elif self.value(stage.enable):
                new[name] = values[name]
        return new

    def next_block(self, index: int, falling: bool) -> BlockState:
        old = self.blocks[index]
        new = BlockState(list(old.words), list(old.latch), list(old.out))
        ports = [(n, p) for n, p in enumerate(self.netlist.block_rams[index].ports) if p.falling == falling]
        writing = {}
        for number, port in ports:
            stopped = port.reset_stops_writes and self.value(port.reset)
            writing[number] = self.value(port.enable) and self.value(port.write) and not stopped
            reset = self.value(port.reset)
            if port.register and (self.value(port.register_enable) or (reset and not port.reset_stops_writes)):
                new.out[number] = 0 if reset else old.latch[number]
        for number, port in ports:
            if writing[number]:
                store(new.words, port.width, self.word(port.address), self.word(port.data))
        for number, port in ports:
            if not port.outputs[1]:
                continue
            if self.value(port.enable):
                self.read_port(new, old, number, port, bool(writing[number]))
            if self.value(port.reset):
                new.latch[number] = 0
        for number, port in enumerate(self.netlist.block_rams[index].ports):
            if self.value(port.reset) and not port.reset_stops_writes:
                new.latch[number] = new.out[number] = 0
        return new

    def read_port(self, new: BlockState, old: BlockState, number: int, port: RamPort, writing: bool) -> None:
        if writing and port.write_mode == "NORMAL":
            return
        words = new.words if writing and port.write_mode == "WRITETHROUGH" else old.words
        new.latch[number] = fetch(words, port.width, self.word(port.address))


def fetch(words: list[int], width: int, address: int) -> int:
    if width >= 9:
        count = width // 9
        first = (address >> {9: 3, 18: 4, 36: 5}[width]) * count
        return sum(words[first + n] << 9 * n for n in range(count))
    offset = address & {1: 7, 2: 6, 4: 4}[width]
    return words[address >> 3] >> offset & (1 << width) - 1


def store(words: list[int], width: int, address: int, data: int) -> None:
    if width == 9:
        words[address >> 3] = data & 511
    elif width > 9:
        count = width // 9
        first = (address >> {18: 4, 36: 5}[width]) * count
        for n in range(count):
            if address >> n & 1:
                words[first + n] = data >> 9 * n & 511
    else:
        offset = address & {1: 7, 2: 6, 4: 4}[width]
        mask = (1 << width) - 1
        words[address >> 3] = words[address >> 3] & ~(mask << offset) | (data & mask) << offset
