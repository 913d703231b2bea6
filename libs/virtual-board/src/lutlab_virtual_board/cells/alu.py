"""ALU54B: adds, subtracts and combines the products of the two multipliers beside it, and accumulates.

It is put together from functions and registers, as if it were made of LUTs; what an operation code that never changes
leaves out falls away. Refused are flags that depend on MASK01, and patterns where the chip database does not know all
their bits. Source: Lattice FPGA-TN-02205 "sysDSP Usage Guide", section ALU54B (operation codes, registers, flags).
"""

from __future__ import annotations

from collections.abc import Sequence

from lutlab_virtual_board.cells.context import AND, SELECT, Context, place
from lutlab_virtual_board.cells.multiplier import DspCell
from lutlab_virtual_board.dsp import alu_at
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, Net, Stage
from lutlab_virtual_board.wires import Wire

_BITS = 54
_HALF = 27
"""Bits of C in each of its two registers."""

_LOW = 18
"""Bits of the result in the first output register."""

_XOR, _XNOR, _NAND, _NOR, _OR = 0b0110, 0b1001, 0b0111, 0b0001, 0b1110
_SUM, _CARRY = 0b10010110, 0b11101000
_LOGIC = {0: _NAND, 3: _OR, 8: AND, 11: _NOR, 12: _XNOR, 14: _XOR}
"""Functions of B and C by the upper four bits of the operation code."""

_ADDITION = range(4, 8)
"""Operation codes of A + B + C; bit 0 subtracts B and bit 1 C."""

_CODE_BITS = 11
_OPERATION_BIT = 7
"""Bit of the operation code from which on it tells what to do with the operands."""

_PARTS = {"IN": (0, 7), "OP0": (7, 1), "OP1": (8, 3)}
"""First bit and bits of the parts of the operation code that have registers of their own, two ranks each."""

_CONTROLS = {"IN": "IN", "OP0": "OP0", "OP1": "OP0"}
"""Whose enable and reset the registers of a part have."""

_MULTIPLIERS = {3: (0, 1), 7: (4, 5)}
_TREE = 6


class _Cell(DspCell):
    """One ALU while it is built."""

    kind = "ALU54B"
    suffix = "ALU54"

    def __init__(self, context: Context, wire: Wire) -> None:
        found = alu_at(context.configuration, wire)
        if found is None:
            raise UnsupportedCell("ALU54B", place(wire, "ALU54"), "there is none")
        super().__init__(context, found[0], wire, found[1])
        self.index = int(self.name[-1])

    def control(self, pin: str) -> Net:
        """A control pin, which the multipliers beside it must not invert: the tiles know no inverter of its own."""
        for number in _MULTIPLIERS[self.index]:
            if self.context.configuration.group_choice(self.tiles, f"MULT18_{number}.{pin}MUX") == "INV":
                raise self.refuse(f"MULT18_{number} beside it inverts {pin}")
        return self.net(pin)

    def falling(self, clock: str) -> bool:
        self.control(clock)
        return False

    def rank(self, name: str, nets: list[Net]) -> list[Net]:
        """Some nets behind a rank of registers, if it is not bypassed."""
        return self.registered(nets, self.stage(name))

    def word(self, name: str) -> int:
        """A pattern of 54 bits.

        Raises:
            UnsupportedCell: the chip database does not know where all of them are.
        """
        known = self.context.configuration.known_lanes(self.tiles, f"{self.name}.{name}")
        if known & (1 << _BITS) - 1 != (1 << _BITS) - 1:
            raise self.refuse(f"the chip database does not know every bit of its {name}")
        return (self.context.configuration.group_word(self.tiles, f"{self.name}.{name}") or 0) & (1 << _BITS) - 1


class _Builder:
    """The functions inside one ALU."""

    def __init__(self, cell: _Cell) -> None:
        self.cell, self.context = cell, cell.context
        self.code = cell.nets("OP", _CODE_BITS)
        self.stages = [
            [cell.stage(f"OPCODE{part}_{rank}", f"OPCODE{_CONTROLS[part]}_{rank}") for rank in (0, 1)]
            for part in _PARTS
        ]

    def codes(self) -> set[int]:
        """The operation codes that may come up; registers hold zero at first, and after a reset.

        Parts of the code with registers alike change together, others do not.
        """
        free = sorted(set(self.code) - {ZERO, ONE})
        given = set()
        for row in range(1 << len(free)):
            level = {ZERO: 0, ONE: 1} | {net: row >> index & 1 for index, net in enumerate(free)}
            given.add(sum(level[net] << index for index, net in enumerate(self.code)))
        apart: list[tuple[list[Stage | None], int]] = []
        for (first, count), stages in zip(_PARTS.values(), self.stages, strict=True):
            mask = (1 << count) - 1 << first
            alike = next((index for index, (others, _) in enumerate(apart) if others == stages), None)
            if alike is None:
                apart.append((stages, mask))
            else:
                apart[alike] = stages, apart[alike][1] | mask
        found = {0}
        for stages, mask in apart:
            parts = {value & mask for value in given} | ({0} if any(stages) else set())
            found = {value | part for value in found for part in parts}
        return found

    def opcode(self) -> list[Net]:
        """The operation code behind its registers."""
        code: list[Net] = []
        for (first, count), stages in zip(_PARTS.values(), self.stages, strict=True):
            nets = self.code[first : first + count]
            for stage in stages:
                nets = self.cell.registered(nets, stage)
            code += nets
        return code

    def select(self, code: list[Net], choices: dict[int, list[Net]]) -> list[Net]:
        """One of several words by a code."""
        return [self._select(code, {value: word[bit] for value, word in choices.items()}) for bit in range(_BITS)]

    def _select(self, code: list[Net], choices: dict[int, Net]) -> Net:
        if len(set(choices.values())) == 1:
            return next(iter(choices.values()))
        if not code:
            return choices[0]
        half = 1 << len(code) - 1
        low = {value: net for value, net in choices.items() if not value & half}
        high = {value - half: net for value, net in choices.items() if value & half}
        if not low or not high or code[-1] in (ZERO, ONE):
            kept = (high if code[-1] == ONE else low) if low and high else low or high
            return self._select(code[:-1], kept)
        chosen = self._select(code[:-1], low), self._select(code[:-1], high)
        return chosen[0] if chosen[0] == chosen[1] else self.context.function(SELECT, *chosen, code[-1])

    def add(self, x: list[Net], y: list[Net], subtract: Net) -> list[Net]:
        """x + y, or x - y."""
        if set(y) == {ZERO}:
            return x
        carry, total = subtract, []
        for first, second in zip(x, y, strict=True):
            addend = self.invert_if(second, subtract)
            total.append(self.context.function(_SUM, first, addend, carry))
            carry = self.context.function(_CARRY, first, addend, carry)
        return total

    def invert_if(self, net: Net, condition: Net) -> Net:
        """A net, or its opposite where a condition holds."""
        if condition == ZERO:
            return net
        return self.context.invert(net) if condition == ONE else self.context.function(_XOR, net, condition)

    def all_of(self, nets: Sequence[Net]) -> Net:
        """Whether all of some nets are one."""
        nets = [net for net in nets if net != ONE]
        while len(nets) > 1:
            parts = [tuple(nets[at : at + _TREE]) for at in range(0, len(nets), _TREE)]
            nets = [self.context.function(1 << (1 << len(part)) - 1, *part) for part in parts]
        return nets[0] if nets else ONE


def expand(context: Context, wire: Wire, net: Net) -> None:
    """Build the ALU that drives `net`, an output of it, and drive all outputs that are known.

    Raises: UnsupportedCell.
    """
    cell = _Cell(context, wire)
    name = wire.name.removeprefix("J").removesuffix("_ALU54")
    if cell.choice("MODE") != "ALU54B":
        raise UnsupportedCell(f"DSP mode {cell.choice('MODE')}", cell.where, "its output is used")
    if cell.choice("LEGACY") != "DISABLED":
        raise cell.refuse("LEGACY is ENABLED, which is not documented")
    key = ("alu", wire.x, wire.y)
    if key not in context.built:
        context.built[key] = _Alu(cell)
    alu = context.built[key]
    assert isinstance(alu, _Alu)
    context.drive(net, 0b10, alu.output(name))


class _Alu:
    """An ALU that has been built."""

    def __init__(self, cell: _Cell) -> None:
        self.cell = cell
        self.build = _Builder(cell)
        self._refuse_bypass()
        stages = [cell.stage("OUTPUT0"), cell.stage("OUTPUT1")]
        # The result feeds back before it is known.
        self.result = [cell.context.netlist.add(None) for _ in range(_BITS)]
        for bit, net in enumerate(self.result):
            cell.context.netlist.name(net, f"{cell.where} R{bit}")
        self.c = self._c()
        self.code = self.build.opcode()
        self.sum = self._combined()
        held = [*cell.registered(self.sum[:_LOW], stages[0]), *cell.registered(self.sum[_LOW:], stages[1])]
        for net, source in zip(self.result, held, strict=True):
            cell.context.drive(net, 0b10, source)

    def output(self, name: str) -> Net:
        """The net of an output pin."""
        cell, build = self.cell, self.build
        if name.startswith("R") and name[1:].isdigit():
            return self.result[int(name[1:])]
        if name == "SIGNEDR":
            return cell.context.function(_OR, cell.net("SIGNEDIA"), cell.net("SIGNEDIB"))
        if name not in ("EQZ", "EQPAT", "EQPATB"):
            reason = "which depends on MASK01, and the chip database does not know that" if name[0] in "EOU" else ""
            raise cell.refuse(f"its output {name} is used{', ' + reason if reason else ''}")
        if cell.choice("REG_FLAG_CLK") != cell.choice("REG_OUTPUT1_CLK"):
            raise cell.refuse(f"its output {name} is used, and its flags have another clock than its result")
        if name == "EQZ":
            flag = build.all_of([cell.context.invert(net) for net in self.sum])
        else:
            flag = build.all_of(self._matches(inverted=name == "EQPATB"))
        return cell.rank("FLAG", [flag])[0]

    def _matches(self, inverted: bool) -> list[Net]:
        """For each bit of the sum whether it is masked, or is what the pattern, or its opposite, has."""
        constants = {
            name: [value >> bit & 1 for bit in range(_BITS)] if static else self.c
            for name in ("MCPAT", "MASKPAT")
            for static in [self.cell.choice(f"{name}_SOURCE") == "STATIC"]
            for value in [self.cell.word(name) if static else 0]
        }
        like = _XOR if inverted else _XNOR
        function = self.cell.context.function
        return [
            function(_OR, function(like, net, pattern), mask) if mask != ONE else ONE
            for net, pattern, mask in zip(self.sum, constants["MCPAT"], constants["MASKPAT"], strict=True)
        ]

    def _c(self) -> list[Net]:
        nets = self.cell.nets("C", _BITS)
        return [*self.cell.rank("INPUTC0", nets[:_HALF]), *self.cell.rank("INPUTC1", nets[_HALF:])]

    def _refuse_bypass(self) -> None:
        """The result leaves past its registers, or through them: the tiles must say the same as the registers do."""
        cell, configuration = self.cell, self.cell.context.configuration
        name = f"MULT18_{_MULTIPLIERS[cell.index][0]}.CIBOUT_BYP"
        bypassed = False
        for tile in cell.tiles:
            bits = configuration.patterns(tile, name).get("ON", 0)
            bypassed |= bool(bits and configuration.bits(tile) & bits == bits)
        clocks = {cell.choice(f"REG_OUTPUT{index}_CLK") for index in (0, 1)}
        if len({clock == "NONE" for clock in clocks}) > 1:
            raise cell.refuse("only a part of its result has an output register")
        if bypassed != (clocks == {"NONE"}):
            raise cell.refuse(f"{name} is {'ON' if bypassed else 'OFF'}, against its output register")

    def _combined(self) -> list[Net]:
        """What the operation makes of its operands."""
        build, code = self.build, self.code
        codes = build.codes()
        operations = {value >> _OPERATION_BIT for value in codes}
        # Only additions look at A.
        first = {value & 3 for value in codes if value >> _OPERATION_BIT in _ADDITION}
        x = build.select(code[0:2], {value: self._a(value) for value in first or {3}})
        y = build.select(code[2:4], {value: self._b(value) for value in {value >> 2 & 3 for value in codes}})
        z = build.select(code[4:7], {value: self._third(value) for value in {value >> 4 & 7 for value in codes}})
        unknown = sorted(operations - set(_LOGIC) - set(_ADDITION))
        if unknown:
            raise self.cell.refuse(f"its operation code may become {unknown[0]:04b}, which is not documented")
        choices: dict[int, list[Net]] = {}
        if operations & set(_ADDITION):
            total = build.add(build.add(x, y, code[7]), z, code[8])
            choices |= dict.fromkeys(operations & set(_ADDITION), total)
        for value in operations & set(_LOGIC):
            choices[value] = [self.cell.context.function(_LOGIC[value], *pair) for pair in zip(y, z, strict=True)]
        return build.select(code[7:11], choices)

    def _a(self, value: int) -> list[Net]:
        """What the first multiplexer picks."""
        if value == 0:
            return self.result
        if value == 1:
            return self._extended("MA", "SIGNEDIA")
        return self._wide_a() if value == 2 else [ZERO] * _BITS

    def _b(self, value: int) -> list[Net]:
        """What the second multiplexer picks."""
        if value == 0:
            self._refuse_shift("MB")
            return [ZERO] * _LOW + self.cell.nets("MB", 36)
        if value == 1:
            return self._extended("MB", "SIGNEDIB")
        return [*self.cell.nets("B", 36), *self.c[_HALF : _HALF + _LOW]] if value == 2 else [ZERO] * _BITS

    def _third(self, value: int) -> list[Net]:
        """What the third multiplexer picks."""
        if value in (1, 2):
            nets = self.cell.nets("CIN", _BITS)
            if value == 2:
                return nets
            self._refuse_shift("CIN")
            sign = self.cell.context.function(AND, nets[-1], self.cell.net("SIGNEDCIN"))
            return [*nets[_LOW:], *[sign] * _LOW]
        if value in (6, 7):
            pattern = self.cell.word("RNDPAT") - (value == 7)
            return [pattern >> bit & 1 for bit in range(_BITS)]
        if value == 4:
            return self._wide_a()
        return {3: self.c, 5: self.result}.get(value, [ZERO] * _BITS)

    def _refuse_shift(self, what: str) -> None:
        if self.cell.choice("FORCE_ZERO_BARREL_SHIFT") != "DISABLED":
            raise self.cell.refuse(f"its operation code may shift {what}, and FORCE_ZERO_BARREL_SHIFT is set")

    def _wide_a(self) -> list[Net]:
        return [*self.cell.nets("A", 36), *self.c[:_LOW]]

    def _extended(self, pin: str, signed: str) -> list[Net]:
        nets = self.cell.nets(pin, 36)
        sign = self.cell.context.function(AND, nets[-1], self.cell.net(signed))
        return [*nets, *[sign] * _LOW]
