"""Decide what is computed when.

State is grouped by what makes it change (clock edge, enable, reset). A function that only one group needs is computed
only in the cycles in which that group changes, so that the idle parts of a design cost nothing; the others are computed
every cycle. Functions with a single reader become part of their reader's expression.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

from lutlab_virtual_board.expressions import Tree, tree_of
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRam,
    Clock,
    ClockLevel,
    Function,
    Multiplier,
    Net,
    Netlist,
    ProductOutput,
    RamOutput,
    Stage,
)
from lutlab_virtual_board.simplify import combinational_order

EXPRESSION_COST_MAX = 48
"""Operations in one C expression; more are cut into variables, which keeps small compilers' recursion flat."""

Edge = tuple[int, bool]
"""A clock's number, and whether it is the falling edge."""

ALWAYS = -1
"""Owner of what is computed every cycle."""


@dataclass(slots=True)
class Group:
    """State that changes together.

    Attributes:
        kind: `registers`, `ram`, `port`, `output` or `stage`; `force` is registers that are reset without a clock.
        falling: on the falling edge.
        enable: must be one for a change other than a reset.
        reset: sets every register to its reset value; ZERO for other kinds.
        members: indices of registers or RAMs; (block RAM, port) or (multiplier, stage name) for the others.
        nets: what has to be computed for a change.
    """

    kind: str
    falling: bool
    enable: Net
    reset: Net
    members: list[int] = field(default_factory=list)
    index: tuple[int, int] = (0, 0)
    stage: str = ""
    nets: list[Net] = field(default_factory=list)
    clock: int = 0

    @property
    def edge(self) -> Edge:
        """Which clock's edge changes it."""
        return self.clock, self.falling


@dataclass(slots=True)
class Schedule:
    """The plan of one design.

    Attributes:
        groups: state in the order in which it is stored.
        owner: for each computed net the group it is computed for, or ALWAYS.
        order: computed nets, sources first.
        inlined: nets that are written out inside their one reader.
        trees: expression of every net that a function drives.
        edges: clock edges at which something happens.
        reference: the fastest clock in use; the board's cycles are its.
    """

    groups: list[Group]
    owner: dict[Net, int]
    order: list[Net]
    inlined: set[Net]
    trees: dict[Net, Tree]
    edges: list[Edge]
    reference: int


def plan(netlist: Netlist) -> Schedule:
    """Plan a simplified netlist."""
    groups = _groups(netlist)
    edges, reference = _edges(netlist, groups)
    # On a single edge a forced register is reset at every step by its own group.
    if len(edges) > 1:
        groups += _force_groups(netlist)
    always = [*netlist.outputs.values()]
    for group in groups:
        always += [group.enable, group.reset]
    needed = [*always, *(net for group in groups for net in group.nets)]
    order = [net for net in combinational_order(netlist, needed) if _is_computed(netlist, net)]
    trees = {
        net: tree_of(driver.table, len(driver.inputs))
        for net in order
        if isinstance(driver := netlist.drivers[net], Function)
    }
    owner = _owners(netlist, groups, always, order)
    reading = _Reading(groups, always, order, owner, trees)
    return Schedule(groups, owner, order, _inlined(netlist, reading), trees, edges, reference)


def reference_hz(netlist: Netlist) -> float | None:
    """Frequency of the fastest clock that a netlist runs on; None where it names no clock."""
    if not netlist.clocks:
        return None
    return clock_of(netlist, _edges(netlist, _groups(netlist))[1]).hz


def _is_computed(netlist: Netlist, net: Net) -> bool:
    return isinstance(netlist.drivers[net], Function | RamOutput | ProductOutput)


def readers_inputs(netlist: Netlist, net: Net) -> tuple[Net, ...]:
    """The nets whose values computing `net` needs, state aside."""
    driver = netlist.drivers[net]
    if isinstance(driver, Function):
        return driver.inputs
    if isinstance(driver, RamOutput):
        return netlist.rams[driver.index].read
    if isinstance(driver, ProductOutput):
        return product_inputs(netlist.multipliers[driver.index])
    return ()


def product_inputs(multiplier: Multiplier) -> tuple[Net, ...]:
    """The nets that a multiplier's product follows without a clock."""
    if multiplier.stage_product or multiplier.stage_output:
        return ()
    return (
        *(() if multiplier.stage_a else multiplier.a),
        *(() if multiplier.stage_b else multiplier.b),
        multiplier.signed_a,
        multiplier.signed_b,
    )


def reachable(netlist: Netlist, schedule: Schedule) -> set[Net]:
    """Every net that a schedule reads."""
    nets = set(netlist.outputs.values())
    for group in schedule.groups:
        nets |= {group.enable, group.reset, *group.nets}
    for net in schedule.order:
        nets |= set(readers_inputs(netlist, net))
    return nets


# -- groups -----------------------------------------------------------------------------------------------------------


def _groups(netlist: Netlist) -> list[Group]:
    groups = _register_groups(netlist) + _ram_groups(netlist)
    for index, block in enumerate(netlist.block_rams):
        groups += _port_groups(index, block)
    for index, multiplier in enumerate(netlist.multipliers):
        groups += _stage_groups(index, multiplier)
    return groups


def _edges(netlist: Netlist, groups: list[Group]) -> tuple[list[Edge], int]:
    """Every edge at which a group acts or a clock that is read as data changes, and the fastest clock."""
    levels = {driver.clock for driver in netlist.drivers if isinstance(driver, ClockLevel)}
    edges = {group.edge for group in groups} | {(clock, falling) for clock in levels for falling in (False, True)}
    used = sorted({clock for clock, _ in edges}) or [0]
    reference = min(used, key=lambda clock: clock_of(netlist, clock).period_s)
    return sorted(edges | {(reference, False)}), reference


def clock_of(netlist: Netlist, number: int) -> Clock:
    """A clock by its number; where the netlist names none, cells run on an unnamed one."""
    return netlist.clocks[number] if number < len(netlist.clocks) else Clock("clock", Fraction(1))


def _force_groups(netlist: Netlist) -> list[Group]:
    found: dict[Net, Group] = {}
    for index, register in enumerate(netlist.registers):
        if register.force != ZERO:
            found.setdefault(register.force, Group("force", False, register.force, ZERO)).members.append(index)
    return list(found.values())


def _register_groups(netlist: Netlist) -> list[Group]:
    found: dict[tuple[bool, Net, Net, int], Group] = {}
    for index, register in enumerate(netlist.registers):
        key = (register.falling, register.enable, register.reset, register.clock)
        group = found.setdefault(key, Group("registers", *key[:3], clock=register.clock))
        group.members.append(index)
        group.nets.append(register.d)
    return list(found.values())


def _ram_groups(netlist: Netlist) -> list[Group]:
    found: dict[tuple[bool, Net, tuple[Net, ...], int], Group] = {}
    for index, ram in enumerate(netlist.rams):
        if ram.enable == ZERO:
            continue
        key = (ram.falling, ram.enable, ram.write, ram.clock)
        group = found.setdefault(key, Group("ram", ram.falling, ram.enable, ZERO, clock=ram.clock))
        group.members.append(index)
        group.nets.append(ram.data)
        group.nets += ram.write
    return list(found.values())


def _port_groups(index: int, block: BlockRam) -> list[Group]:
    """Two groups a port: its access, and its output register or reset, which do not wait for its enable."""
    groups = []
    for number, port in enumerate(block.ports):
        access = Group("port", port.falling, port.enable, ZERO, index=(index, number), clock=port.clock)
        access.nets = [*port.address, *port.data, port.write]
        if port.reset_stops_writes:
            access.nets.append(port.reset)
        groups.append(access)
        if port.reset != ZERO or port.register:
            output = Group("output", port.falling, ONE, ZERO, index=(index, number), clock=port.clock)
            output.nets = [port.reset, port.register_enable]
            groups.append(output)
    return groups


def _stage_groups(index: int, multiplier: Multiplier) -> list[Group]:
    groups = []

    def add(name: str, stage: Stage | None, nets: tuple[Net, ...]) -> None:
        # Stages nearer to the output come first: each takes what the one before it held.
        if stage:
            group = Group("stage", multiplier.falling, stage.enable, stage.reset, index=(index, 0), stage=name)
            group.clock = multiplier.clock
            group.nets = list(nets)
            groups.append(group)

    factors = (
        *(() if multiplier.stage_a else multiplier.a),
        *(() if multiplier.stage_b else multiplier.b),
        multiplier.signed_a,
        multiplier.signed_b,
    )
    add("output", multiplier.stage_output, () if multiplier.stage_product else factors)
    add("product", multiplier.stage_product, factors)
    add("a", multiplier.stage_a, multiplier.a)
    add("b", multiplier.stage_b, multiplier.b)
    return groups


# -- owners and expressions -------------------------------------------------------------------------------------------


def _owners(netlist: Netlist, groups: list[Group], always: list[Net], order: list[Net]) -> dict[Net, int]:
    """The group each net is for, if all its readers belong to one."""
    claims: dict[Net, set[int]] = defaultdict(set)
    for net in always:
        claims[net].add(ALWAYS)
    for number, group in enumerate(groups):
        for net in group.nets:
            claims[net].add(number)
    owner: dict[Net, int] = {}
    for net in reversed(order):
        claimed = claims[net]
        owner[net] = next(iter(claimed)) if len(claimed) == 1 else ALWAYS
        for source in readers_inputs(netlist, net):
            claims[source].add(owner[net])
    # One statement computes all bits of a product, so they have one owner.
    for net in order:
        driver = netlist.drivers[net]
        if isinstance(driver, ProductOutput):
            for source in product_inputs(netlist.multipliers[driver.index]):
                _promote(netlist, owner, source)
    return owner


def _promote(netlist: Netlist, owner: dict[Net, int], net: Net) -> None:
    """Compute a net, and what it follows, every cycle."""
    stack = [net]
    while stack:
        here = stack.pop()
        if owner.get(here, ALWAYS) != ALWAYS:
            owner[here] = ALWAYS
            stack += readers_inputs(netlist, here)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Who computes and who reads what."""

    groups: list[Group]
    always: list[Net]
    order: list[Net]
    owner: dict[Net, int]
    trees: dict[Net, Tree]


def _read_counts(netlist: Netlist, reading: _Reading) -> dict[Net, int]:
    """How often each net is written in the program."""
    reads: dict[Net, int] = defaultdict(int)
    for net in reading.always:
        reads[net] += 2  # conditions and outputs are looked at in several places
    for group in reading.groups:
        for net in group.nets:
            reads[net] += 1
    for net in reading.order:
        driver = netlist.drivers[net]
        if isinstance(driver, Function):
            for variable, count in reading.trees[net].uses({}).items():
                reads[driver.inputs[variable]] += count
        else:
            for source in readers_inputs(netlist, net):
                reads[source] += 2
    return reads


def _inlined(netlist: Netlist, reading: _Reading) -> set[Net]:
    """Nets that are read once, by an expression of the same owner that does not get too long."""
    reads, owner, trees = _read_counts(netlist, reading), reading.owner, reading.trees
    cost: dict[Net, int] = {}
    inlined: set[Net] = set()
    for net in reading.order:
        driver = netlist.drivers[net]
        cost[net] = trees[net].cost if net in trees else 0
        for source in driver.inputs if isinstance(driver, Function) else ():
            joins = reads[source] == 1 and source in trees and owner[source] == owner[net]
            if joins and cost[net] + cost[source] <= EXPRESSION_COST_MAX:
                inlined.add(source)
                cost[net] += cost[source]
    # A net that only a group reads is written where that group stores it.
    for number, group in enumerate(reading.groups):
        inlined |= {net for net in group.nets if reads[net] == 1 and net in trees and owner[net] == number}
    return inlined
