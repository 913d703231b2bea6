"""What every cell needs while a netlist is extracted."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from lutlab_virtual_board.bulk_design import BulkNetlist
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.errors import DatabaseError, UnsupportedConfiguration
from lutlab_virtual_board.netlist import ONE, ZERO, Clock, ClockLevel, DerivedClock, Net, Netlist, PinInput, function_of
from lutlab_virtual_board.routing import FLOATING, TIED_HIGH, TIED_LOW, Routing, Source, Tie
from lutlab_virtual_board.wires import NAME_SHIFT, PLACE_MASK, Wire, name_number, name_of, place_of, wire_key

_LUTS = {
    name_number(f"F{index}_SLICE"): (f"SLICE{'ABCD'[index // 2]}.MODE", f"SLICE{'ABCD'[index // 2]}.K{index % 2}.INIT")
    for index in range(8)
}
"""For each LUT's output, by the number of its name, the names of its slice's mode and of its truth table."""

_LUT_INIT_ERASED = 0xFFFF
_CONSTANT_INITS = {0: ZERO, 0xFFFF: ONE}
INVERT = 0b01
AND = 0b1000
OR = 0b1110
SELECT = 0b11001010
"""Truth table of (otherwise, chosen, select)."""


@dataclass
class Context:
    """The extraction of one chip.

    Attributes:
        configuration: of the chip.
        package: whose pins are bonded out.
        clock_pin: of the oscillator.
        clock_hz: of the oscillator.
        netlist: so far.
        pending: cell outputs, by their numbers, that have a net but no driver yet.
        built: cells with several outputs that have been built, by place.
        clock_numbers: numbers of the clocks that cells run on, by the numbers of the wires they come from.
    """

    configuration: Configuration
    package: str
    clock_pin: str
    clock_hz: int
    netlist: Netlist = field(default_factory=Netlist)
    pending: list[tuple[int, Net]] = field(default_factory=list)
    built: dict[object, object] = field(default_factory=dict)
    clock_numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pins = self.configuration.database.pins
        if self.package not in pins:
            raise DatabaseError(f"no package {self.package!r} of this device; known: {', '.join(sorted(pins))}")
        self.pins = pins[self.package]
        self._pin_names = {place: pin for pin, place in self.pins.items()}
        self._nets: dict[int, Net] = {FLOATING: ONE, TIED_LOW: ZERO, TIED_HIGH: ONE}
        self._functions: dict[tuple[int, tuple[Net, ...]], Net] = {}
        self._pins: dict[str, Net] = {}
        self._levels: dict[int, Net] = {}

    @functools.cached_property
    def routing(self) -> Routing:
        """The drivers of the chip's wires."""
        return Routing(self.configuration)

    # -- nets ---------------------------------------------------------------------------------------------------

    def net(self, wire: Wire) -> Net:
        """The net that a cell's input wire carries; a floating wire reads as one."""
        return self.net_at(wire_key(wire))

    def net_at(self, sink: int) -> Net:
        """The net that a cell's input wire, by its number, carries."""
        source = self.routing.source_key(sink)
        net = self._nets.get(source)
        return self._new_net(source) if net is None else net

    def net_of(self, source: Source) -> Net:
        """The net of a routed source."""
        if source is None:
            return ONE
        if isinstance(source, Tie):
            return ONE if source.value else ZERO
        return self.net_from(wire_key(source))

    def net_from(self, source: int) -> Net:
        """The net of a cell's output, by its number, or of what else `Routing.source_key` gives."""
        net = self._nets.get(source)
        return self._new_net(source) if net is None else net

    def _new_net(self, source: int) -> Net:
        """The net of a cell's output that is met for the first time."""
        number = source >> NAME_SHIFT
        lut = _LUTS.get(number)
        if lut is not None:
            # A LUT without inputs is there for a constant: nextpnr makes zeros that way.
            choices, words = self.configuration.settings(source & PLACE_MASK)
            constant = _CONSTANT_INITS.get(words.get(lut[1], _LUT_INIT_ERASED))
            if constant is not None and choices.get(lut[0], "LOGIC") == "LOGIC":
                self._nets[source] = constant
                return constant
        netlist = self.netlist
        net = self._nets[source] = len(netlist.drivers)
        netlist.drivers.append(None)
        x, y = place_of(source)
        netlist.names[net] = f"R{y}C{x} {name_of(number)}"
        self.pending.append((source, net))
        return net

    def output(self, wire: Wire) -> Net:
        """The net of a cell's output; whoever builds the cell drives it."""
        return self.net_of(wire)

    def drive(self, net: Net, table: int, *inputs: Net) -> None:
        """Let a function drive a net."""
        self.netlist.drive(net, function_of(table, inputs))

    def function(self, table: int, *inputs: Net) -> Net:
        """A net that carries a function of others; equal ones are shared."""
        key = (table, inputs)
        net = self._functions.get(key)
        if net is None:
            net = self._functions[key] = self.netlist.add(function_of(table, inputs))
        return net

    def invert(self, net: Net) -> Net:
        """The opposite of a net."""
        return 1 - net if net in (ZERO, ONE) else self.function(INVERT, net)

    def pin_at(self, pad: Wire) -> str | None:
        """The package pin of a pad's wire, e.g. of `JPADDIA_PIO`; None if it is not bonded out."""
        letter = pad.name.removesuffix("_PIO")[-1]
        return self._pin_names.get((pad.x, pad.y, letter))

    def pin_input(self, pin: str) -> Net:
        """The level outside a pin."""
        if pin not in self._pins:
            self._pins[pin] = self.netlist.add(PinInput(pin))
        return self._pins[pin]

    def clock_level(self, clock: Clock | DerivedClock) -> Net:
        """A clock as data."""
        return self.clock_level_of(self.clock_number(clock))

    def clock_level_of(self, number: int) -> Net:
        """A clock, by its number, as data."""
        if number not in self._levels:
            self._levels[number] = self.netlist.add(ClockLevel(number))
        return self._levels[number]

    # -- clocks -------------------------------------------------------------------------------------------------

    def clock_number(self, clock: Clock | DerivedClock) -> int:
        """The number of a clock that some cell runs on."""
        if clock not in self.netlist.clocks:
            self.netlist.clocks.append(clock)
        return self.netlist.clocks.index(clock)

    # -- settings -----------------------------------------------------------------------------------------------

    def choice(self, x: int, y: int, name: str, default: str) -> str:
        """A choice of the tiles at a place, or what an erased chip has."""
        return self.configuration.choices(x, y).get(name, default)


def place(wire: Wire, cell: str) -> str:
    """How messages name a cell's place."""
    return f"R{wire.y}C{wire.x} {cell}"


def number(name: str) -> int:
    """The first number in a wire's name. Raises: UnsupportedConfiguration."""
    match = re.search(r"\d+", name)
    if match is None:
        raise UnsupportedConfiguration(f"wire name {name!r} has no number")
    return int(match[0])


class BulkContext(Context):
    """The same, with nets and functions kept in C once that is attached."""

    def attach(self, netlist: BulkNetlist) -> None:
        """Keep nets here from now on."""
        self.netlist, self._design = netlist, netlist.design

    def net_at(self, sink: int) -> Net:
        return self._design.net_from(self.routing.source_key(sink))

    def net_from(self, source: int) -> Net:
        return self._design.net_from(source)

    def function(self, table: int, *inputs: Net) -> Net:
        return self._design.function(table, inputs)
