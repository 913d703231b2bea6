"""Clocks without a period in C: watch their levels, and tell their edges.

`derived` evaluates the levels from the state, in the order in which the clocks follow each other, and gives the edges
since it was last called. A clock path is taken to be faster than a data path, as in a simulation of the sources: levels
follow the other clocks before the registers do.
"""

from __future__ import annotations

from lutlab_virtual_board.errors import UnsupportedConfiguration
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    ClockLevel,
    DerivedClock,
    Function,
    Net,
    Netlist,
    ProductOutput,
    RamOutput,
)
from lutlab_virtual_board.schedule import Schedule
from lutlab_virtual_board.simplify import combinational_order
from lutlab_virtual_board.values import Values, expression

SETTLE_STEPS_MAX = 64
"""Steps in one moment: a design that clocks itself through more of them rings, and is stopped (see `DesignRings`)."""

_HOLDS_HIGH = ("POS", "CLK0_HIGH", "CLK1_HIGH")
_ONLY_FIRST = ("CLK0_LOW", "CLK0_HIGH")
_ONLY_SECOND = ("CLK1_LOW", "CLK1_HIGH")


def detector(netlist: Netlist, schedule: Schedule, values: Values) -> list[str]:
    """The C functions `derived` and `settle`."""
    lines = ["static w derived(void) {", "  w fired = 0; u level;"]
    reader = _Reader(netlist, values)
    known: set[Net] = set()
    for number in schedule.derived:
        clock = netlist.clocks[number]
        assert isinstance(clock, DerivedClock)
        for net in combinational_order(netlist, clock.nets, known):
            known.add(net)
            lines += reader.compute(net)
        lines += _level(number, clock, [reader.read(net) for net in clock.nets])
        bits = {falling: bit for bit, (edge, falling) in enumerate(schedule.edges) if edge == number}
        rise, fall = (f"{1 << bits[falling]}UL" if falling in bits else "0" for falling in (False, True))
        lines.append(
            f"  if (level != S.now_clk[{number}]) {{ S.now_clk[{number}] = level; fired |= level ? {rise} : {fall}; }}"
        )
    return [
        *lines,
        "  return fired;",
        "}",
        "static void settle(void) {",
        "  int left; w kept = S.edges;",
        f"  for (left = {SETTLE_STEPS_MAX}; (S.edges = derived()) && left; left--) step();",
        "  S.rings |= S.edges;",
        "  S.edges = kept;",
        "}",
    ]


def _level(number: int, clock: DerivedClock, nets: list[str]) -> list[str]:
    """Statements that compute a derived clock's `level`."""
    if clock.kind == "logic":
        return [f"  level = {nets[0]};"]
    if clock.kind == "gate":
        source = f"S.now_clk[{clock.sources[0]}]"
        latch = f"S.chosen[{number}][0]"
        return [f"  if (!{source}) {latch} = {nets[0]};", f"  level = {source} & {latch};"]
    return _selected(number, clock, nets)


def _selected(number: int, clock: DerivedClock, nets: list[str]) -> list[str]:
    """DCSC: a clock is let go and the other taken when each is at the level that the output rests at."""
    first, second = (f"S.now_clk[{source}]" for source in clock.sources)
    select0, select1, force = nets
    hold = int(clock.mode in _HOLDS_HIGH)
    before, chosen = f"S.before[{number}]", f"S.chosen[{number}]"
    taken = [f"    u was0 = {chosen}[0], was1 = {chosen}[1], at0 = {first} == {hold}, at1 = {second} == {hold};"]
    for own, other, edge, select, never in (
        (0, 1, f"at0 && !{before}[0]", select0, clock.mode in _ONLY_SECOND),
        (1, 0, f"at1 && !{before}[1]", select1, clock.mode in _ONLY_FIRST),
    ):
        condition = "1" if never else f"was{other}"
        taken.append(f"    if ({condition}) {chosen}[{own}] = 0; else if ({edge}) {chosen}[{own}] = {select};")
    gate0, gate1 = f"({chosen}[0] ? {first} : {hold})", f"({chosen}[1] ? {second} : {hold})"
    joined = f"{gate0} {'&' if hold else '|'} {gate1}"
    fixed = {"CLK0": first, "CLK1": second, "LOW": "0", "HIGH": "1"}
    switched = fixed.get(clock.mode, f"{select0} & {select1} ? {hold} : {joined}")
    forced = f"{select0} == {select1} ? 0 : {select0} ? {first} : {second}"
    return [
        "  {",
        *taken,
        f"    {before}[0] = at0; {before}[1] = at1;",
        "  }",
        f"  level = {force} ? ({forced}) : ({switched});",
    ]


class _Reader:
    """Values of nets as the clock paths see them."""

    def __init__(self, netlist: Netlist, values: Values) -> None:
        self._netlist = netlist
        self._values = values

    def read(self, net: Net) -> str:
        """An expression with a net's value."""
        if net in (ZERO, ONE):
            return str(net)
        driver = self._netlist.drivers[net]
        if isinstance(driver, Function | RamOutput):
            return f"c{net}"
        if isinstance(driver, ClockLevel):
            return f"S.now_clk[{driver.clock}]"
        return self._values.read(net)

    def compute(self, net: Net) -> list[str]:
        """The statement that computes a net, if it takes one."""
        driver = self._netlist.drivers[net]
        if isinstance(driver, Function):
            return [f"  u c{net} = {expression(driver, self.read)};"]
        if isinstance(driver, RamOutput):
            address = " | ".join(f"{self.read(n)} << {i}" for i, n in enumerate(self._netlist.rams[driver.index].read))
            return [f"  u c{net} = S.ram[{driver.index}] >> ({address}) & 1;"]
        if isinstance(driver, ProductOutput):
            place = self._netlist.multipliers[driver.index].place
            raise UnsupportedConfiguration(f"the product of {place} clocks a cell")
        return []
