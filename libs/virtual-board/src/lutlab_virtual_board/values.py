"""How the values of nets are written in C, and the statements that compute them."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable

from lutlab_virtual_board.expressions import Tree, tree_of
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    BlockRamOutput,
    ClockLevel,
    Function,
    Net,
    Netlist,
    PinInput,
    ProductOutput,
    RamOutput,
    RegisterOutput,
    Stage,
)
from lutlab_virtual_board.schedule import ALWAYS, Schedule
from lutlab_virtual_board.simplify import held_reset
from lutlab_virtual_board.writer import Statement, token

_SHORT_CIRCUIT_COST = 6
"""From this many operations on, the second operand is skipped where the first decides."""

_BRANCH_CHARACTERS = 160
"""Operands of a choice that are longer together than this, in C, are not both computed."""

_NAME_CHARACTERS_MAX = 16
"""Longest operand for which the form of an expression is kept; each is a single name."""

_MARK = ord("a")
"""Names of operands in the form of an expression, which has no other letters."""

_ATOM = re.compile(r"[\w.@\[\]]+")

_REGISTER = re.compile(r"\bS\.q\[(\d+)\]")
_STATE = re.compile(r"\bS\.(in|clk|ram|mul)\[(\d+)\](?:\.(\w+))?")
_OTHER_STATE = re.compile(r"\bS\.[^q]")
_BLOCK_OUTPUT = re.compile(r"\bS\.block\[(\d+)\]\.(?:out|latch)\[(\d+)\]")

_MULTIPLY = "multiply({a}, {b}, {signed_a}, {signed_b})"


class Values:
    """C text of a netlist's nets.

    Args:
        netlist: that is generated.
        schedule: of it.
        inputs: the design's input pins in order.
    """

    def __init__(self, netlist: Netlist, schedule: Schedule, inputs: list[str]) -> None:
        self.netlist = netlist
        self.schedule = schedule
        self._inputs = {pin: index for index, pin in enumerate(inputs)}
        self.register_place: dict[int, int] = {}
        self.register_group: list[int] = []
        for number, group in enumerate(schedule.groups):
            if group.kind == "registers":
                self.register_group += [number] * len(group.members)
                for member in group.members:
                    self.register_place[member] = len(self.register_place)
        self._group_name = {str(place): f"q_{group}" for place, group in enumerate(self.register_group)}
        self._extra = len(netlist.drivers)
        self._order: dict[int, list[Net]] = defaultdict(list)
        for net in schedule.order:
            # Only functions are written inside their readers.
            if net in schedule.inlined:
                continue
            self._order[schedule.owner[net]].append(net)
            # The first bit of a product is where all of it is computed.
            if isinstance(netlist.drivers[net], ProductOutput) and schedule.owner[net] != ALWAYS:
                self._order[ALWAYS].append(net)
        self._addresses: dict[tuple[int, tuple[Net, ...]], int] = {}
        self._products: set[int] = set()
        self._plain: dict[Net, str] = {}

    def read(self, net: Net) -> str:
        """An expression with a net's value."""
        driver = self.netlist.drivers[net]
        if isinstance(driver, Function):
            return f"({self._expression(net)})" if net in self.schedule.inlined else f"@{net}@"
        if isinstance(driver, RegisterOutput):
            return f"S.q[{self.register_place[driver.index]}]"
        if driver is None:
            return str(net)
        if isinstance(driver, PinInput):
            return f"S.in[{self._inputs[driver.pin]}]"
        if isinstance(driver, ClockLevel):
            return f"S.clk[{driver.clock}]"
        if isinstance(driver, BlockRamOutput):
            return self._block_ram_bit(driver)
        return token(net)

    def gather(self, nets: tuple[Net, ...] | list[Net]) -> str:
        """An expression with the number whose bits are nets, lowest first."""
        wide = len(nets) > 31
        constant = sum(1 << bit for bit, net in enumerate(nets) if net == ONE)
        terms = [str(constant) + ("UL" if wide else "")] if constant else []
        for bit, net in enumerate(nets):
            if net in (ZERO, ONE):
                continue
            value = self.read(net)
            if wide:
                value = f"(w){value}"
            terms.append(f"{value} << {bit}" if bit else value)
        return f"({' | '.join(terms)})" if terms else "0"

    def compute(self, owner: int) -> list[Statement]:
        """The statements that compute every net of an owner, sources first."""
        statements: list[Statement] = []
        for net in self._order[owner]:
            driver = self.netlist.drivers[net]
            if owner == ALWAYS and isinstance(driver, ProductOutput):
                statements += self._product(driver.index)
            if self.schedule.owner[net] != owner or net in self.schedule.inlined:
                continue
            if isinstance(driver, Function):
                statements.append(Statement(self._expression(net), net))
            elif isinstance(driver, RamOutput):
                statements += self._ram_bit(owner, net, driver)
            elif isinstance(driver, ProductOutput):
                statements.append(Statement(f"{self._product_word(driver.index)} >> {driver.bit} & 1", net))
        return statements

    def product(self, index: int, a: str, b: str) -> str:
        """An expression with a multiplier's product of two factors."""
        multiplier = self.netlist.multipliers[index]
        return _MULTIPLY.format(
            a=a, b=b, signed_a=self.read(multiplier.signed_a), signed_b=self.read(multiplier.signed_b)
        )

    def factors(self, index: int) -> tuple[str, str]:
        """Expressions with a multiplier's factors after their input registers."""
        multiplier = self.netlist.multipliers[index]
        a = self.held(index, "a", multiplier.stage_a) if multiplier.stage_a else self.gather(multiplier.a)
        b = self.held(index, "b", multiplier.stage_b) if multiplier.stage_b else self.gather(multiplier.b)
        return a, b

    def held(self, index: int, name: str, stage: Stage) -> str:
        """What a rank of registers in a multiplier shows."""
        place = f"S.mul[{index}].{name}"
        if not held_reset(stage):
            return place
        return f"({self.read(stage.reset)} ? 0 : {place})"

    def sources(self, text: str) -> set[str]:
        """The pieces of state that a text reads, as they are called in `MARK_<name>`."""
        registers = _REGISTER.findall(text)
        names = {self._group_name[place] for place in registers}
        if text.count("S.") == len(registers):
            return names
        if "S.block" in text:
            names |= {f"block_{block}_{port}" for block, port in _BLOCK_OUTPUT.findall(text)}
        if _OTHER_STATE.search(text):
            for kind, index, name in _STATE.findall(text):
                names.add(f"{kind}_{index}_{name}" if name else f"{kind}_{index}")
        return names

    # -- pieces -------------------------------------------------------------------------------------------------

    def _expression(self, net: Net) -> str:
        driver = self.netlist.drivers[net]
        assert isinstance(driver, Function)
        names, read, plain = [], self.read, self._plain
        form = _form(driver.table, len(driver.inputs))
        for source in driver.inputs:
            name = plain.get(source)
            if name is None:
                name = read(source)
                if len(name) <= _NAME_CHARACTERS_MAX and _ATOM.fullmatch(name):
                    plain[source] = name
                else:
                    form = None
            names.append(name)
        if form is None:
            return _text(self.schedule.trees[net], tuple(range(len(names))), names.__getitem__)
        return form.format(*names)

    def _block_ram_bit(self, driver: BlockRamOutput) -> str:
        for number, port in enumerate(self.netlist.block_rams[driver.index].ports):
            first, count = port.outputs
            if first <= driver.bit < first + count:
                word = f"S.block[{driver.index}].{'out' if port.register else 'latch'}[{number}]"
                return f"({word} >> {driver.bit - first} & 1)"
        return "0"

    def _ram_bit(self, owner: int, net: Net, driver: RamOutput) -> list[Statement]:
        read = self.netlist.rams[driver.index].read
        statements = []
        key = (owner, read)
        if key not in self._addresses:
            self._addresses[key] = self._extra
            self._extra += 1
            statements.append(Statement(self.gather(read), self._addresses[key]))
        return [*statements, Statement(f"S.ram[{driver.index}] >> {token(self._addresses[key])} & 1", net)]

    def _product(self, index: int) -> list[Statement]:
        multiplier = self.netlist.multipliers[index]
        if multiplier.stage_product or multiplier.stage_output or index in self._products:
            return []
        self._products.add(index)
        value = self.product(index, *self.factors(index))
        return [Statement(f"KEEP(S.mul[{index}].now, {value}, MARK_mul_{index}_now);")]

    def _product_word(self, index: int) -> str:
        multiplier = self.netlist.multipliers[index]
        if multiplier.stage_output:
            return self.held(index, "output", multiplier.stage_output)
        if multiplier.stage_product:
            return self.held(index, "product", multiplier.stage_product)
        return f"S.mul[{index}].now"


def expression(function: Function, read: Callable[[Net], str]) -> str:
    """C of a function, whose inputs `read` writes."""
    return _text(tree_of(function.table, len(function.inputs)), function.inputs, read)


@functools.lru_cache(maxsize=1 << 16)
def _form(table: int, count: int) -> str | None:
    """A function's expression with a place for each operand, or None where it depends on how long their names are."""
    tree, numbers = tree_of(table, count), tuple(range(count))
    shortest = _text(tree, numbers, lambda number: chr(_MARK + number))
    longest = _text(tree, numbers, lambda number: chr(_MARK + number) * _NAME_CHARACTERS_MAX)
    for number in numbers:
        mark = chr(_MARK + number)
        shortest = shortest.replace(mark, f"{{{number}}}")
        longest = longest.replace(mark * _NAME_CHARACTERS_MAX, f"{{{number}}}")
    return shortest if shortest == longest else None


def forget() -> None:
    """Let go of the expressions that are kept."""
    _form.cache_clear()


def _text(tree: Tree, inputs: tuple[Net, ...], read: Callable[[Net], str]) -> str:
    if tree.op == "var":
        return read(inputs[tree.value])
    if tree.op == "const":
        return str(tree.value)
    args = [_text(arg, inputs, read) for arg in tree.args]
    if tree.op == "!":
        return f"({args[0]} ^ 1)"
    if tree.op == "?":
        return _select(*args)
    lazy = tree.op in "&|" and len(args[1]) > 16 * _SHORT_CIRCUIT_COST
    return f"({args[0]} {tree.op * 2 if lazy else tree.op} {args[1]})"


def _select(condition: str, high: str, low: str) -> str:
    """condition ? high : low.

    A branch is only worth its misprediction where it skips a lot; else the value is picked with bit operations, which
    write one operand twice.
    """
    if len(high) + len(low) > _BRANCH_CHARACTERS:
        return f"({condition} ? {high} : {low})"
    if _ATOM.fullmatch(low):
        return f"({low} ^ ({condition} & ({high} ^ {low})))"
    if _ATOM.fullmatch(high):
        return f"({high} ^ (({condition} ^ 1) & ({high} ^ {low})))"
    if _ATOM.fullmatch(condition):
        return f"(({condition} & {high}) | (({condition} ^ 1) & {low}))"
    return f"({condition} ? {high} : {low})"
