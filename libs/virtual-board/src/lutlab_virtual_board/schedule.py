"""Decide what is computed when.

State is grouped by what makes it change (clock edge, enable, reset). A function that only one group needs is computed
only in the cycles in which that group changes, so that the idle parts of a design cost nothing; the others are computed
every cycle. Functions with a single reader become part of their reader's expression.
"""

from __future__ import annotations

import contextlib
from array import array
from collections import defaultdict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, chain

from lutlab_virtual_board import bulk
from lutlab_virtual_board.expressions import Tree, tree_of, uses_of
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRam,
    Clock,
    ClockLevel,
    DerivedClock,
    Function,
    Multiplier,
    Net,
    Netlist,
    PinInput,
    ProductOutput,
    RamOutput,
    Stage,
)
from lutlab_virtual_board.simplify import (
    combinational_inputs,
    combinational_order,
    factor_inputs,
    graph_of,
    held_reset,
    product_inputs,
)

EXPRESSION_COST_MAX = 48
"""Operations in one C expression; more are cut into variables, which keeps small compilers' recursion flat."""

FREE_REGISTERS = (8, 32)
"""Registers without enable in one group, on one edge and on several: logic runs at each edge, so it is cut coarser."""

ENABLED_REGISTERS = (32, 64)
"""Registers with one enable in one group, on one edge and on several."""

Edge = tuple[int, bool]
"""A clock's number, and whether it is the falling edge."""

WITHOUT_CLOCK = ("force", "clear", "clear_stage")
"""Kinds of groups that act at every step, whatever edges it has."""

ALWAYS = -1
"""Owner of what is computed every cycle."""


@dataclass(slots=True)
class Group:
    """State that changes together.

    Attributes:
        kind: `registers`, `ram`, `port`, `output` or `stage`; `force`, `clear` and `clear_stage` are registers, block
            RAM outputs and multipliers' registers that are reset without a clock.
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
        edges: clock edges at which something happens, those of clocks with a period first.
        reference: the fastest clock in use; the board's cycles are its.
        derived: numbers of the derived clocks in use, each after those it follows.
    """

    groups: list[Group]
    owner: dict[Net, int]
    order: list[Net]
    inlined: set[Net]
    trees: dict[Net, Tree]
    edges: list[Edge]
    reference: int
    derived: list[int]

    def free_edges(self) -> list[Edge]:
        """The edges of clocks with a period."""
        return [edge for edge in self.edges if edge[0] not in self.derived]


def plan(netlist: Netlist) -> Schedule:
    """Plan a simplified netlist."""
    groups = _groups(netlist)
    edges, reference, derived = _edges(netlist, groups)
    whole = [len(edges) > 1 and not is_plain(netlist, group) for group in groups]
    several = len(edges) > 1
    groups = [
        part
        for group, keep in zip(groups, whole, strict=True)
        for part in ([group] if keep else _parts(group, several))
    ]
    # On a single edge a forced register is reset at every step by its own group.
    if len(edges) > 1:
        groups += _force_groups(netlist)
    always = [*netlist.outputs.values()]
    for group in groups:
        always += [group.enable, group.reset]
    needed = [*always, *(net for group in groups for net in group.nets)]
    lib = bulk.library()
    graph = graph_of(netlist) if lib else None
    if lib and graph:
        # Where there is a loop, Python names its wires.
        with contextlib.suppress(bulk.Looped):
            reading, inlined = _read_in_bulk(netlist, groups, always, bulk.BulkPlan(lib, graph, needed))
            return Schedule(groups, reading.owner, reading.order, inlined, reading.trees, edges, reference, derived)
    order = [net for net in combinational_order(netlist, needed) if _is_computed(netlist, net)]
    trees = {
        net: tree_of(driver.table, len(driver.inputs))
        for net in order
        if isinstance(driver := netlist.drivers[net], Function)
    }
    owner = _owners(netlist, groups, always, order)
    reading = _Reading(groups, always, order, owner, trees)
    return Schedule(groups, owner, order, _inlined(netlist, reading), trees, edges, reference, derived)


def reference_hz(netlist: Netlist) -> float | None:
    """Frequency of the fastest clock that a netlist runs on; None where it names no clock."""
    number = _edges(netlist, _groups(netlist))[1]
    return clock_of(netlist, number).hz if number < len(netlist.clocks) else None


def _is_computed(netlist: Netlist, net: Net) -> bool:
    return isinstance(netlist.drivers[net], Function | RamOutput | ProductOutput)


def readers_inputs(netlist: Netlist, net: Net) -> tuple[Net, ...]:
    """The nets whose values computing `net` needs, state aside."""
    return combinational_inputs(netlist, netlist.drivers[net])


def reachable(netlist: Netlist, schedule: Schedule) -> set[Net]:
    """Every net that a schedule reads."""
    nets = set(netlist.outputs.values())
    for group in schedule.groups:
        nets.update(group.nets)
        nets.add(group.enable)
        nets.add(group.reset)
    for net in schedule.order:
        nets.update(readers_inputs(netlist, net))
    roots = derived_roots(netlist, schedule.derived)
    nets |= set(roots)
    for net in combinational_order(netlist, roots):
        nets |= set(readers_inputs(netlist, net))
    return nets


def derived_roots(netlist: Netlist, derived: list[int]) -> list[Net]:
    """The nets that derived clocks follow."""
    return [net for number in derived for net in _derived(netlist, number).nets]


def _derived(netlist: Netlist, number: int) -> DerivedClock:
    clock = netlist.clocks[number]
    assert isinstance(clock, DerivedClock)
    return clock


# -- groups -----------------------------------------------------------------------------------------------------------


def _groups(netlist: Netlist) -> list[Group]:
    groups = _register_groups(netlist) + _ram_groups(netlist)
    for index, block in enumerate(netlist.block_rams):
        groups += _port_groups(index, block)
    for index, multiplier in enumerate(netlist.multipliers):
        groups += _stage_groups(index, multiplier)
    return groups


def _edges(netlist: Netlist, groups: list[Group]) -> tuple[list[Edge], int, list[int]]:
    """Every edge at which a group acts or a level that is read changes, the fastest clock, and the derived clocks."""
    levels = {driver.clock for driver in netlist.drivers if isinstance(driver, ClockLevel)}
    used = {group.clock for group in groups} | levels
    derived = _derived_order(netlist, used)
    for number in derived:
        followed = {*_derived(netlist, number).sources, *_cone_clocks(netlist, number)}
        used |= {number} | followed
        levels |= followed
    edges = {group.edge for group in groups} | {(clock, falling) for clock in levels for falling in (False, True)}
    running = [number for number, clock in enumerate(netlist.clocks) if isinstance(clock, Clock)]
    candidates = sorted(used - set(derived)) or running or [len(netlist.clocks)]
    reference = min(candidates, key=lambda clock: clock_of(netlist, clock).period_s)
    edges.add((reference, False))
    if _pins_reset(netlist):
        # Such a reset may end before the next edge, when pins change; it must be seen before that.
        edges.add((reference, True))
    return sorted(edges, key=lambda edge: (edge[0] in derived, edge)), reference, derived


def _pins_reset(netlist: Netlist) -> bool:
    """Whether a reset without a clock follows a pin."""
    resets = [group.enable for group in _force_groups(netlist)]
    return any(isinstance(netlist.drivers[net], PinInput) for net in combinational_order(netlist, resets))


def _derived_order(netlist: Netlist, used: set[int]) -> list[int]:
    """The derived clocks among some, and those that they follow, each after what it follows."""
    order: list[int] = []
    seen: set[int] = set()

    def visit(number: int) -> None:
        if number in seen or number >= len(netlist.clocks):
            return
        seen.add(number)
        clock = netlist.clocks[number]
        if isinstance(clock, DerivedClock):
            for source in (*clock.sources, *_cone_clocks(netlist, number)):
                visit(source)
            order.append(number)

    for number in sorted(used):
        visit(number)
    return order


def _cone_clocks(netlist: Netlist, number: int) -> list[int]:
    """The clocks whose levels a derived clock's nets follow."""
    drivers = (netlist.drivers[net] for net in combinational_order(netlist, _derived(netlist, number).nets))
    return sorted({driver.clock for driver in drivers if isinstance(driver, ClockLevel)})


def clock_of(netlist: Netlist, number: int) -> Clock:
    """A running clock by its number; where the netlist names none, cells run on an unnamed one."""
    clock = netlist.clocks[number] if number < len(netlist.clocks) else Clock("clock", Fraction(1))
    assert isinstance(clock, Clock)
    return clock


def _force_groups(netlist: Netlist) -> list[Group]:
    found: dict[Net, Group] = {}
    for index, register in enumerate(netlist.registers):
        if register.force != ZERO:
            found.setdefault(register.force, Group("force", False, register.force, ZERO)).members.append(index)
    return [*found.values(), *_clear_groups(netlist)]


def _clear_groups(netlist: Netlist) -> list[Group]:
    """Asynchronous resets of block RAM outputs and of registers in multipliers."""
    groups = []
    for index, block in enumerate(netlist.block_rams):
        for number, port in enumerate(block.ports):
            if port.outputs[1] and not port.reset_stops_writes and port.reset != ZERO:
                groups.append(Group("clear", False, port.reset, ZERO, index=(index, number)))
    for index, multiplier in enumerate(netlist.multipliers):
        for name, stage in stages_of(multiplier):
            if stage.asynchronous and stage.reset != ZERO:
                groups.append(Group("clear_stage", False, stage.reset, ZERO, index=(index, 0), stage=name))
    return groups


def stages_of(multiplier: Multiplier) -> list[tuple[str, Stage]]:
    """A multiplier's ranks of registers by name, those nearer to the output first."""
    stages = {
        "output": multiplier.stage_output,
        "product": multiplier.stage_product,
        "a": multiplier.stage_a,
        "b": multiplier.stage_b,
    }
    return [(name, stage) for name, stage in stages.items() if stage]


def _register_groups(netlist: Netlist) -> list[Group]:
    found: dict[tuple[bool, Net, Net, int], Group] = {}
    for index, register in enumerate(netlist.registers):
        key = (register.falling, register.enable, register.reset, register.clock)
        group = found.setdefault(key, Group("registers", *key[:3], clock=register.clock))
        group.members.append(index)
        group.nets.append(register.d)
    return list(found.values())


def is_plain(netlist: Netlist, group: Group) -> bool:
    """Whether it is registers that nothing but their edge changes."""
    return group.kind == "registers" and all(netlist.registers[each].force == ZERO for each in group.members)


def _parts(group: Group, several_edges: bool) -> list[Group]:
    """Registers cut into small groups: one of them only has to load where its sources change."""
    if group.kind != "registers":
        return [group]
    size = (FREE_REGISTERS if group.enable == ONE else ENABLED_REGISTERS)[several_edges]
    cut = range(0, len(group.members), size)
    return [replace(group, members=group.members[at : at + size], nets=group.nets[at : at + size]) for at in cut]


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
    factors = factor_inputs(multiplier)
    nets = {
        "output": () if multiplier.stage_product else factors,
        "product": factors,
        "a": multiplier.a,
        "b": multiplier.b,
    }
    if multiplier.stage_product:
        nets["output"] = held_reset(multiplier.stage_product)
    groups = []
    # Stages nearer to the output come first: each takes what the one before it held.
    for name, stage in stages_of(multiplier):
        group = Group("stage", stage.falling, stage.enable, stage.reset, index=(index, 0), stage=name)
        group.clock = stage.clock
        group.nets = list(nets[name])
        groups.append(group)
    return groups


# -- owners and expressions -------------------------------------------------------------------------------------------


def _owners(netlist: Netlist, groups: list[Group], always: list[Net], order: list[Net]) -> dict[Net, int]:
    """The group each net is for, if all its readers belong to one."""
    # The one group whose state needs a net, or ALWAYS where that are several.
    claims = dict.fromkeys(always, ALWAYS)
    for number, group in enumerate(groups):
        for net in group.nets:
            if claims.setdefault(net, number) != number:
                claims[net] = ALWAYS
    owner: dict[Net, int] = {}
    drivers, claim = netlist.drivers, claims.setdefault
    for net in reversed(order):
        mine = owner[net] = claims.get(net, ALWAYS)
        driver = drivers[net]
        for source in driver.inputs if isinstance(driver, Function) else combinational_inputs(netlist, driver):
            if claim(source, mine) != mine:
                claims[source] = ALWAYS
    _promote_factors(netlist, owner, order)
    return owner


def _promote_factors(netlist: Netlist, owner: dict[Net, int], order: list[Net]) -> None:
    """One statement computes all bits of a product, so they have one owner."""
    for net in order if netlist.multipliers else ():
        driver = netlist.drivers[net]
        if isinstance(driver, ProductOutput):
            for source in product_inputs(netlist.multipliers[driver.index]):
                _promote(netlist, owner, source)


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


def _read_in_bulk(
    netlist: Netlist, groups: list[Group], always: list[Net], planned: bulk.BulkPlan
) -> tuple[_Reading, set[Net]]:
    """The same as `_owners`, `tree_of` and `_inlined` find, in C."""
    drivers, form = netlist.drivers, planned.form.tolist()
    examples = [driver for net in planned.examples if isinstance(driver := drivers[net], Function)]
    trees = [tree_of(table, len(inputs)) for table, inputs in examples]
    uses = [uses_of(table, len(inputs)) for table, inputs in examples]
    firsts = array("i", accumulate(map(len, uses), initial=0))
    pairs = array("i", chain.from_iterable(chain.from_iterable(uses)))
    forms = bulk.Forms(array("i", [tree.cost for tree in trees]), firsts, pairs)
    planned.own([group.nets for group in groups], always, forms, EXPRESSION_COST_MAX)
    order = [net for net in planned.reached if form[net] >= 0 or _is_computed(netlist, net)]
    found = planned.owner.tolist()
    owner = {net: found[net] for net in order}
    if netlist.multipliers:
        _promote_factors(netlist, owner, order)
        for net, group in owner.items():
            planned.owner[net] = group
    inlined = planned.inlined()
    written = {net: trees[number] for net in order if (number := form[net]) >= 0}
    return _Reading(groups, always, order, owner, written), {net for net in order if inlined[net]}


def _read_counts(netlist: Netlist, reading: _Reading) -> dict[Net, int]:
    """How often each net is written in the program."""
    reads: dict[Net, int] = defaultdict(int)
    drivers = netlist.drivers
    for net in reading.always:
        reads[net] += 2  # conditions and outputs are looked at in several places
    for group in reading.groups:
        for net in group.nets:
            reads[net] += 1
    for net in reading.order:
        driver = drivers[net]
        if isinstance(driver, Function):
            table, inputs = driver
            for variable, count in uses_of(table, len(inputs)):
                reads[inputs[variable]] += count
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
        tree = trees.get(net)
        if tree is None:
            cost[net] = 0
            continue
        mine, own = tree.cost, owner[net]
        driver = netlist.drivers[net]
        for source in driver.inputs if isinstance(driver, Function) else ():
            if reads[source] == 1 and source in trees and owner[source] == own:
                joined = mine + cost[source]
                if joined <= EXPRESSION_COST_MAX:
                    inlined.add(source)
                    mine = joined
        cost[net] = mine
    # A net that only a group reads is written where that group stores it.
    for number, group in enumerate(reading.groups):
        inlined |= {net for net in group.nets if reads[net] == 1 and net in trees and owner[net] == number}
    return inlined
