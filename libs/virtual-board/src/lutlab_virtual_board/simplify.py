"""Shrink a netlist: fold constants and inverters, share equal functions, drop what no observed pin depends on."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

from lutlab_virtual_board import bulk
from lutlab_virtual_board.errors import CombinationalLoop
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRam,
    BlockRamOutput,
    ClockLevel,
    DerivedClock,
    DistributedRam,
    Driver,
    Function,
    Multiplier,
    Net,
    Netlist,
    ProductOutput,
    RamOutput,
    RamPort,
    Register,
    RegisterOutput,
    Stage,
    function_of,
)

_BUFFER = 0b10
_INVERTER = 0b01
_NO_INVERTERS: dict[Net, Net] = {}
LOOP_NAMES_MAX = 8
"""Wires of a loop that a message names."""


def combinational_inputs(netlist: Netlist, driver: Driver | None) -> tuple[Net, ...]:
    """The nets that a driver's output follows without a clock."""
    if isinstance(driver, Function):
        return driver.inputs
    if isinstance(driver, RamOutput):
        return netlist.rams[driver.index].read
    if isinstance(driver, ProductOutput):
        return product_inputs(netlist.multipliers[driver.index])
    return ()


def product_inputs(multiplier: Multiplier) -> tuple[Net, ...]:
    """The nets that a multiplier's outputs follow without a clock."""
    last = multiplier.stage_output or multiplier.stage_product
    return held_reset(last) if last else factor_inputs(multiplier)


def factor_inputs(multiplier: Multiplier) -> tuple[Net, ...]:
    """The nets that the product inside a multiplier follows without a clock."""
    return (
        *(held_reset(multiplier.stage_a) if multiplier.stage_a else multiplier.a),
        *(held_reset(multiplier.stage_b) if multiplier.stage_b else multiplier.b),
        multiplier.signed_a,
        multiplier.signed_b,
    )


def held_reset(stage: Stage) -> tuple[Net, ...]:
    """The net that a rank of registers follows without its clock, if there is one."""
    return (stage.reset,) if stage.asynchronous and stage.reset != ZERO else ()


def combinational_order(netlist: Netlist, roots: Iterable[Net], known: Container[Net] = ()) -> list[Net]:
    """Every net that roots follow without a clock, each after the nets it follows itself.

    Args:
        netlist: of the nets.
        roots: where to start.
        known: nets to leave out, with what only they follow.

    Raises:
        CombinationalLoop: there is no such order.
    """
    order: list[Net] = []
    done: set[Net] = set()
    opened: set[Net] = set()
    drivers = netlist.drivers
    for root in roots:
        stack = [root]
        while stack:
            net = stack[-1]
            if net in done or net in known:
                stack.pop()
                continue
            if net not in opened:
                driver = drivers[net]
                sources = driver.inputs if isinstance(driver, Function) else combinational_inputs(netlist, driver)
                waiting = [source for source in sources if source not in done]
                if waiting:
                    opened.add(net)
                    _refuse_loops(netlist, stack, opened, waiting)
                    stack += waiting
                    continue
            opened.discard(net)
            done.add(net)
            order.append(net)
            stack.pop()
    return order


def _refuse_loops(netlist: Netlist, stack: list[Net], opened: set[Net], sources: list[Net]) -> None:
    """Refuse a design in which a net follows one that is still waited for: `opened` of those on a stack."""
    if not opened.isdisjoint(sources):
        source = next(filter(opened.__contains__, sources))
        _refuse_loop(netlist, [each for each in stack if each in opened], source)


def _refuse_loop(netlist: Netlist, path: list[Net], source: Net) -> NoReturn:
    """Name the wires of a loop; `path` leads from somewhere before it to its end."""
    loop = path[path.index(source) :]
    names = [netlist.names[net] for net in loop if net in netlist.names]
    raise CombinationalLoop(
        f"the design's logic feeds back on itself without a register, through {', '.join(names[:LOOP_NAMES_MAX])}"
    )


def simplify(netlist: Netlist, observed: Iterable[str]) -> Netlist:
    """A smaller netlist that drives the observed pins alike.

    Args:
        netlist: left as it is.
        observed: pins whose level matters; those the design does not drive are ignored.

    Raises:
        CombinationalLoop: logic feeds back on itself.
    """
    pins = [pin for pin in observed if pin in netlist.outputs]
    lib = bulk.library()
    graph = graph_of(netlist, with_registers=True) if lib else None
    if lib and graph:
        # Where there is a loop, Python names its wires.
        with contextlib.suppress(bulk.Looped):
            return _BulkSimplifier(lib, netlist, graph).run(pins)
    return _Simplifier(netlist).run(pins)


def graph_of(netlist: Netlist, with_registers: bool = False) -> bulk.Graph | None:
    """A netlist's drivers as arrays, see `bulk.graph_of`, and its registers too where they are wanted."""
    graph = netlist.graph
    if graph is None or (with_registers and graph.registers is None):
        return bulk.graph_of(netlist, combinational_inputs)
    return graph


class _Simplifier:
    def __init__(self, netlist: Netlist) -> None:
        self.old = netlist
        self.new = Netlist(clocks=list(netlist.clocks))
        self.map: dict[Net, Net] = {ZERO: ZERO, ONE: ONE}
        self.shared: dict[Driver, Net] = {}
        self.functions: dict[tuple[int, tuple[Net, ...]], Net] = {}
        self.behind: dict[Net, Net] = {}
        self.registers: dict[int, int] = {}
        self.rams: dict[int, int] = {}
        self.block_rams: dict[int, int] = {}
        self.multipliers: dict[int, int] = {}
        self.clocks: set[int] = set()
        self.waiting: list[tuple[str, int]] = []

    def run(self, pins: list[str]) -> Netlist:
        """Copy what the pins need, state by state, until nothing new is reached."""
        for pin in pins:
            self.new.outputs[pin] = self.get(self.old.outputs[pin])
        while self.waiting:
            kind, index = self.waiting.pop()
            getattr(self, f"copy_{kind}")(index)
        return self.new

    def get(self, net: Net) -> Net:
        """The new net that carries what an old one does."""
        found = self.map.get(net)
        return self.copy_all(net) if found is None else found

    def copy_all(self, root: Net) -> Net:
        """Copy a net, each after what it follows without a clock itself; `combinational_order` in one go."""
        known, drivers, opened, stack = self.map, self.old.drivers, set[Net](), [root]
        while stack:
            net = stack[-1]
            if net in known:
                stack.pop()
                continue
            driver = drivers[net]
            if net not in opened:
                sources = driver.inputs if isinstance(driver, Function) else combinational_inputs(self.old, driver)
                waiting = [source for source in sources if source not in known]
                if waiting:
                    opened.add(net)
                    _refuse_loops(self.old, stack, opened, waiting)
                    stack += waiting
                    continue
            opened.discard(net)
            if isinstance(driver, Function):
                known[net] = self.function(driver.table, [known[each] for each in driver.inputs])
            else:
                known[net] = self.copy(driver)
            stack.pop()
        return known[root]

    def get_all(self, nets: tuple[Net, ...]) -> tuple[Net, ...]:
        return tuple(self.get(net) for net in nets)

    def copy(self, driver: Driver | None) -> Net:
        """Copy a driver that is no function."""
        if isinstance(driver, RegisterOutput):
            return self.register(driver.index)
        if isinstance(driver, RamOutput):
            return self.share(RamOutput(self.index("ram", driver.index)))
        if isinstance(driver, BlockRamOutput):
            return self.share(BlockRamOutput(self.index("block_ram", driver.index), driver.bit))
        if isinstance(driver, ProductOutput):
            return self.share(ProductOutput(self.index("multiplier", driver.index), driver.bit))
        assert driver is not None
        if isinstance(driver, ClockLevel):
            self.clock(driver.clock)
        return self.share(driver)

    def share(self, driver: Driver) -> Net:
        net = self.shared.get(driver)
        if net is None:
            net = self.shared[driver] = self.new.add(driver)
        return net

    def function(self, table: int, inputs: list[Net]) -> Net:
        """A function, reduced to the inputs that matter."""
        table, inputs = reduce_function(table, inputs, self.behind)
        if len(inputs) < 2:
            if not inputs:
                return table & 1
            if table == _BUFFER:
                return inputs[0]
        key = table, tuple(inputs)
        net = self.functions.get(key)
        if net is None:
            drivers = self.new.drivers
            net = self.functions[key] = len(drivers)
            drivers.append(function_of(*key))
            if table == _INVERTER and len(inputs) == 1:
                self.behind[net] = inputs[0]
        return net

    # -- state ----------------------------------------------------------------------------------------------------

    def register(self, old: int) -> Net:
        """The output of a register, which is copied later."""
        if old in self.registers:
            return self.share(RegisterOutput(self.registers[old]))
        new = self.registers[old] = len(self.registers)
        self.new.registers.append(self.old.registers[old])
        self.wait("register", old)
        driver = RegisterOutput(new)
        net = self.shared[driver] = self.new.add(driver)
        return net

    def index(self, kind: str, old: int) -> int:
        """The new index of a piece of state, which is copied later."""
        table: dict[int, int] = getattr(self, f"{kind}s")
        if old not in table:
            table[old] = len(table)
            places = getattr(self.new, f"{kind}s")
            places.append(getattr(self.old, f"{kind}s")[old])
            self.wait(kind, old)
        return table[old]

    def wait(self, kind: str, old: int) -> None:
        """Put a piece of state on the stack of what waits to be copied."""
        self.waiting.append((kind, old))

    def clock(self, number: int) -> int:
        """A clock by its number, which stays; what it is made of is copied later."""
        if number not in self.clocks:
            self.clocks.add(number)
            self.wait("clock", number)
        return number

    def copy_clock(self, number: int) -> None:
        clock = self.old.clocks[number] if number < len(self.old.clocks) else None
        if isinstance(clock, DerivedClock):
            for source in clock.sources:
                self.clock(source)
            self.new.clocks[number] = replace(clock, nets=self.get_all(clock.nets))

    def copy_register(self, old: int) -> None:
        r, get = self.old.registers[old], self.get
        # In this order: the first to ask for a net decides its number.
        d, enable, reset, clock, force = get(r.d), get(r.enable), get(r.reset), self.clock(r.clock), get(r.force)
        self.new.registers[self.registers[old]] = Register(d, enable, reset, r.value, r.falling, r.place, clock, force)

    def copy_ram(self, old: int) -> None:
        r = self.old.rams[old]
        self.new.rams[self.rams[old]] = DistributedRam(
            read=self.get_all(r.read),
            write=self.get_all(r.write),
            data=self.get(r.data),
            enable=self.get(r.enable),
            value=r.value,
            falling=r.falling,
            place=r.place,
            clock=self.clock(r.clock),
        )

    def copy_block_ram(self, old: int) -> None:
        r = self.old.block_rams[old]
        ports = [self.port(port) for port in r.ports if self.get(port.enable) != ZERO]
        self.new.block_rams[self.block_rams[old]] = BlockRam(ports=ports, words=r.words, place=r.place)

    def port(self, p: RamPort) -> RamPort:
        return RamPort(
            width=p.width,
            address=self.get_all(p.address),
            data=self.get_all(p.data),
            enable=self.get(p.enable),
            write=self.get(p.write),
            write_mode=p.write_mode,
            reset=self.get(p.reset),
            reset_stops_writes=p.reset_stops_writes,
            register=p.register,
            register_enable=self.get(p.register_enable),
            outputs=p.outputs,
            falling=p.falling,
            clock=self.clock(p.clock),
        )

    def copy_multiplier(self, old: int) -> None:
        m = self.old.multipliers[old]
        self.new.multipliers[self.multipliers[old]] = Multiplier(
            a=self.get_all(m.a),
            b=self.get_all(m.b),
            signed_a=self.get(m.signed_a),
            signed_b=self.get(m.signed_b),
            stage_a=self.stage(m.stage_a),
            stage_b=self.stage(m.stage_b),
            stage_product=self.stage(m.stage_product),
            stage_output=self.stage(m.stage_output),
            place=m.place,
        )

    def stage(self, stage: Stage | None) -> Stage | None:
        if stage is None:
            return None
        enable, reset = self.get(stage.enable), self.get(stage.reset)
        return replace(stage, enable=enable, reset=reset, clock=self.clock(stage.clock))


class _BulkSimplifier(_Simplifier):
    """The same, with functions and registers copied in C; see `bulk`."""

    def __init__(self, lib: ctypes.CDLL, netlist: Netlist, graph: bulk.Graph) -> None:
        super().__init__(netlist)
        self.others: dict[Net, Driver | None] = {ZERO: None, ONE: None}
        self.graph = graph
        self.bulk = bulk.BulkSimplifier(lib, netlist, graph, self.copy)

    def run(self, pins: list[str]) -> Netlist:
        new = self.new
        for pin in pins:
            new.outputs[pin] = self.get(self.old.outputs[pin])
        while state := self.bulk.run():
            kind, index = state
            getattr(self, f"copy_{kind}")(index)
        words, place = self.graph.registers, self.graph.place
        assert words is not None and place is not None
        for old, d, enable, reset, clock, force in self.bulk.registers():
            value, falling = words[bulk.REGISTER_WORDS * old + 3], bool(words[bulk.REGISTER_WORDS * old + 4])
            new.registers.append(Register(d, enable, reset, value, falling, place(old), clock, force))
        new.graph = self.bulk.result()
        new.graph.follow({net: combinational_inputs(new, driver) for net, driver in self.others.items()})
        new.drivers = new.graph.drivers(self.others)
        return new

    def get(self, net: Net) -> Net:
        return self.bulk.get(net)

    def share(self, driver: Driver) -> Net:
        net = self.shared.get(driver)
        if net is None:
            net = self.shared[driver] = self.bulk.add()
            self.others[net] = driver
        return net

    def wait(self, kind: str, old: int) -> None:
        self.bulk.wait(kind, old)

    def clock(self, number: int) -> int:
        self.bulk.clock(number)
        return number


def reduce_function(table: int, inputs: list[Net], behind: Mapping[Net, Net] = _NO_INVERTERS) -> tuple[int, list[Net]]:
    """Drop constant, repeated and irrelevant inputs of a function, and take inverters into its table.

    Args:
        table: truth table, see `Function`.
        inputs: its nets.
        behind: by the nets of inverters the nets that they invert.

    Returns:
        The new table and inputs, lowest net first.
    """
    if min(inputs, default=ZERO) > ONE and behind.keys().isdisjoint(inputs):
        kept = sorted(set(inputs))
        fresh, positions = _reduced(table, len(kept), tuple([kept.index(net) << 1 for net in inputs]))
        return fresh, kept if len(positions) == len(kept) else [kept[position] for position in positions]
    sources = [behind.get(net, net) for net in inputs]
    kept = sorted({source for source in sources if source > ONE})
    # For each old input: its position among the kept ones and whether it is inverted, or a constant below zero.
    codes = tuple(
        [
            kept.index(source) << 1 | (source != net) if source > ONE else source - 2
            for source, net in zip(sources, inputs, strict=True)
        ]
    )
    fresh, positions = _reduced(table, len(kept), codes)
    return fresh, [kept[position] for position in positions]


def forget() -> None:
    """Let go of the reductions that are kept."""
    _reduced.cache_clear()


@functools.lru_cache(maxsize=1 << 16)
def _reduced(table: int, count: int, codes: tuple[int, ...]) -> tuple[int, list[int]]:
    """A table over `count` inputs, and which of them matter; `codes` are as in `reduce_function`."""
    fresh = 0
    for row in range(1 << count):
        old_row = 0
        for position, code in enumerate(codes):
            old_row |= (code + 2 if code < 0 else row >> (code >> 1) & 1 ^ code & 1) << position
        fresh |= (table >> old_row & 1) << row
    return drop_irrelevant(fresh, list(range(count)))


def drop_irrelevant(table: int, inputs: list[Net]) -> tuple[int, list[Net]]:
    """Drop inputs that never change a function's output."""
    position = 0
    inputs = list(inputs)
    while position < len(inputs):
        low, high = cofactors(table, len(inputs), position)
        if low == high:
            table = low
            del inputs[position]
        else:
            position += 1
    return table, inputs


def cofactors(table: int, count: int, position: int) -> tuple[int, int]:
    """The truth tables that remain when input `position` of `count` is zero, and when it is one."""
    low = high = 0
    for row in range(1 << (count - 1)):
        base = (row >> position << (position + 1)) | (row & (1 << position) - 1)
        low |= (table >> base & 1) << row
        high |= (table >> (base | 1 << position) & 1) << row
    return low, high
