"""The design as a graph of one-bit nets: what a configured chip computes.

Nets 0 and 1 are the constants. Every other net has one driver. State lives in registers, distributed RAMs, block RAMs
and multipliers, each on one of the design's clocks; `falling` ones act on its falling edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lutlab_virtual_board.bulk import Graph

Net = int
ZERO: Net = 0
ONE: Net = 1


class Function(NamedTuple):
    """A Boolean function of nets.

    Attributes:
        table: truth table; bit `sum(inputs[i] << i)` is the output.
        inputs: at most six nets.
    """

    table: int
    inputs: tuple[Net, ...]


def function_of(table: int, inputs: tuple[Net, ...]) -> Function:
    """`Function(table, inputs)`, made in half the time."""
    return tuple.__new__(Function, (table, inputs))


@dataclass(frozen=True, slots=True)
class PinInput:
    """The level outside a pin."""

    pin: str


@dataclass(frozen=True, slots=True)
class ClockLevel:
    """A clock seen as data: zero before its rising edge, one before its falling edge."""

    clock: int = 0


@dataclass(frozen=True, slots=True)
class RegisterOutput:
    """What register `index` holds."""

    index: int


@dataclass(frozen=True, slots=True)
class RamOutput:
    """The bit that distributed RAM `index` reads, without a clock, at its read address."""

    index: int


@dataclass(frozen=True, slots=True)
class BlockRamOutput:
    """Bit `bit` (0..17 of port A, 18..35 of port B) of the outputs of block RAM `index`."""

    index: int
    bit: int


@dataclass(frozen=True, slots=True)
class ProductOutput:
    """Bit `bit` (0..35) of the product of multiplier `index`."""

    index: int
    bit: int


@dataclass(frozen=True, slots=True)
class OpenCarry:
    """The carry that a carry cell gets where none comes: nobody knows its level, so nothing may depend on it.

    Attributes:
        place: of the cell.
    """

    place: str


Driver = Function | PinInput | ClockLevel | RegisterOutput | RamOutput | BlockRamOutput | ProductOutput | OpenCarry


@dataclass(slots=True)
class Register:
    """A flip-flop with enable and reset; where that is asynchronous, functions after it show it at once.

    Attributes:
        d: data.
        enable: load when one.
        reset: load `value` when one, whatever `enable` says.
        value: after configuration and after a reset.
        falling: acts on the falling edge.
        place: for messages.
        clock: number of its clock.
        force: what resets it without its clock; included in `reset`.
    """

    d: Net
    enable: Net
    reset: Net
    value: int
    falling: bool
    place: str
    clock: int = 0
    force: Net = ZERO


@dataclass(slots=True)
class DistributedRam:
    """Sixteen bits in one LUT: written on the clock, read at once.

    Attributes:
        read: read address, lowest bit first.
        write: write address, lowest bit first.
        data: bit to write.
        enable: write when one.
        value: initial contents, bit n at address n.
        falling: writes on the falling edge.
        place: for messages.
        clock: number of its clock.
    """

    read: tuple[Net, ...]
    write: tuple[Net, ...]
    data: Net
    enable: Net
    value: int
    falling: bool
    place: str
    clock: int = 0


@dataclass(slots=True)
class RamPort:
    """One port of a block RAM.

    Attributes:
        width: 1, 2, 4, 9, 18 or 36 bits.
        address: fourteen nets; where the width is 18 or 36 the lowest ones are byte enables of writes.
        data: bits to write; empty on a read-only port.
        enable: the port acts when one.
        write: write when one; ZERO on a read-only port.
        write_mode: `NORMAL` (outputs hold during a write), `WRITETHROUGH` (show the new word) or
            `READBEFOREWRITE` (show the old word).
        reset: clears the outputs at the clock edge, an output register only where that is enabled; an asynchronous
            reset is functions after the outputs too, and waits for neither.
        reset_stops_writes: while it is one, the port does not write.
        register: an output register follows.
        register_enable: that register loads when one.
        outputs: first output bit of the port, and how many it has.
        falling: acts on the falling edge.
        clock: number of its clock.
    """

    width: int
    address: tuple[Net, ...]
    data: tuple[Net, ...]
    enable: Net
    write: Net
    write_mode: str
    reset: Net
    reset_stops_writes: bool
    register: bool
    register_enable: Net
    outputs: tuple[int, int]
    falling: bool
    clock: int = 0


@dataclass(slots=True)
class BlockRam:
    """2048 words of nine bits behind ports; initial contents in `words`."""

    ports: list[RamPort]
    words: list[int]
    place: str


@dataclass(slots=True)
class Stage:
    """A rank of registers inside a multiplier.

    Attributes:
        enable: load when one.
        reset: clear when one.
        asynchronous: the reset acts without the clock.
        falling: acts on the falling edge.
        clock: number of its clock.
    """

    enable: Net
    reset: Net
    asynchronous: bool = False
    falling: bool = False
    clock: int = 0


@dataclass(slots=True)
class Multiplier:
    """An 18 x 18 bit multiplier with optional registers at its inputs, after the product, and at its output.

    Attributes:
        a: first factor, lowest bit first.
        b: second factor.
        signed_a: the first factor is in two's complement.
        signed_b: the second factor is.
        stage_a, stage_b, stage_product, stage_output: registers, or None.
        place: for messages.
    """

    a: tuple[Net, ...]
    b: tuple[Net, ...]
    signed_a: Net
    signed_b: Net
    stage_a: Stage | None
    stage_b: Stage | None
    stage_product: Stage | None
    stage_output: Stage | None
    place: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that drives cells.

    Attributes:
        name: where it comes from, e.g. `pin G2`.
        period_s: its period in seconds.
        first_s: time of its first rising edge, less than the period.
        high_s: how long it is high; half of its period if not given.
    """

    name: str
    period_s: Fraction
    first_s: Fraction = Fraction(0)
    high_s: Fraction | None = None

    @property
    def fall_s(self) -> Fraction:
        """Time of its first falling edge after the first rising edge."""
        return self.first_s + (self.period_s / 2 if self.high_s is None else self.high_s)

    @property
    def hz(self) -> float:
        """Its frequency."""
        return float(1 / self.period_s)


@dataclass(frozen=True, slots=True)
class DerivedClock:
    """A clock without a period of its own: its edges are the changes of its level.

    Attributes:
        kind: `logic` (the level of a net), `gate` (a clock that a latch lets pass, open while the clock is low) or
            `select` (one of two clocks).
        name: where it comes from.
        nets: `logic`: the net; `gate`: the enable; `select`: SEL0, SEL1 and MODESEL.
        sources: numbers of the clocks that it follows.
        mode: how `select` changes over, in the vendor's spelling.
    """

    kind: str
    name: str
    nets: tuple[Net, ...]
    sources: tuple[int, ...] = ()
    mode: str = ""


@dataclass(slots=True)
class Netlist:
    """A design.

    Attributes:
        drivers: by net; None for the constants.
        outputs: net of each pin that is driven.
        registers, rams, block_rams, multipliers: the state.
        clocks: the design's clocks; empty where nothing is clocked.
        names: wires of nets, for messages.
        graph: `drivers` as arrays where they are at hand, see `bulk`; whoever changes drivers drops it.
    """

    drivers: list[Driver | None] = field(default_factory=lambda: [None, None])
    outputs: dict[str, Net] = field(default_factory=dict)
    registers: list[Register] = field(default_factory=list)
    rams: list[DistributedRam] = field(default_factory=list)
    block_rams: list[BlockRam] = field(default_factory=list)
    multipliers: list[Multiplier] = field(default_factory=list)
    clocks: list[Clock | DerivedClock] = field(default_factory=list)
    names: dict[Net, str] = field(default_factory=dict)
    graph: Graph | None = field(default=None, repr=False, compare=False)

    def add(self, driver: Driver | None) -> Net:
        """A new net with this driver."""
        self.drivers.append(driver)
        return len(self.drivers) - 1

    def driver(self, net: Net) -> Driver | None:
        """The driver of a net that is neither a function nor a register's output."""
        return self.drivers[net]

    def drive(self, net: Net, driver: Driver) -> None:
        """Let something drive a net."""
        self.drivers[net] = driver

    def add_register(self, register: Register) -> int:
        """Another register, which may change until the netlist is complete; its index."""
        self.registers.append(register)
        return len(self.registers) - 1

    def name(self, net: Net, text: str) -> None:
        """Call a net something in messages."""
        self.names[net] = text
