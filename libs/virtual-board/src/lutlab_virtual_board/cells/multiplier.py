"""Multipliers: MULT18X18D with and without its registers.

Its signs take the registers of their factors, and SIGNEDP says whether the product has one. What an ALU54B beside it
takes needs no output register: those belong to the ALU then. Source: Lattice FPGA-TN-02205 "sysDSP Usage Guide",
section MULT18X18D.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutlab_virtual_board.cells.clocking import chip_reset, require_clock
from lutlab_virtual_board.cells.context import OR, Context, place
from lutlab_virtual_board.cells.slices import add_register
from lutlab_virtual_board.dsp import alu_at, alu_is_used
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, Multiplier, Net, ProductOutput, Register, Stage
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire

_FIRST = {"MIB_DSP0": 0, "MIB_DSP1": 1, "MIB_DSP4": 4, "MIB_DSP5": 5}
"""Which multiplier of a DSP block has its wires in a tile."""

_FACTOR_BITS = 18
_CONTROLS = 4


class DspCell:
    """One cell of a DSP block while it is built.

    Args:
        context: of the extraction.
        name: of the cell in the chip database.
        at: where its wires are.
        tiles: that configure it.
    """

    kind = ""
    """What messages call the cell."""

    suffix = ""
    """Of its wires."""

    def __init__(self, context: Context, name: str, at: Wire, tiles: list[Tile]) -> None:
        self.context = context
        self.name = name
        self.x, self.y = at.x, at.y
        self.where = place(at, name)
        self.tiles = tiles

    def choice(self, name: str) -> str | None:
        """A setting of this cell."""
        return self.context.configuration.group_choice(self.tiles, f"{self.name}.{name}")

    def wire(self, pin: str) -> Wire:
        """The wire of a pin."""
        return Wire(self.x, self.y, f"J{pin}_{self.suffix}")

    def net(self, pin: str) -> Net:
        """The net at an input pin."""
        return self.context.net(self.wire(pin))

    def nets(self, pin: str, count: int) -> list[Net]:
        """The nets at an input bus."""
        return [self.net(f"{pin}{bit}") for bit in range(count)]

    def refuse(self, reason: str) -> UnsupportedCell:
        """The error for something that this cell would have to do."""
        return UnsupportedCell(self.kind, self.where, reason)

    def control(self, pin: str) -> Net:
        """The net at a control pin."""
        return self.net(pin)

    def falling(self, clock: str) -> bool:
        """Whether registers on a clock pin act on its falling edge."""
        del clock
        return False

    def stage(self, name: str, controls: str | None = None) -> Stage | None:
        """A rank of registers, or None where it is bypassed.

        Args:
            name: of the rank.
            controls: the rank whose enable and reset it has; its own if not given.
        """
        clock = self.choice(f"REG_{name}_CLK")
        if clock == "NONE":
            return None
        if clock is None:
            raise self.refuse(f"the clock of its {name} register is not one that the chip database knows")
        if self.choice(f"{clock}_DIV") == "DISABLED":
            raise self.refuse(f"{clock}_DIV is DISABLED, which its {name} register runs on")
        if self.choice("GSR") == "ENABLED" and chip_reset(self.context) is not None:
            raise self.refuse(f"its {name} register is under the chip-wide reset")
        number = require_clock(self.context, self.wire(clock), self.where)
        reset = self.reset(controls or name)
        asynchronous = reset != ZERO and self._asynchronous(name)
        return Stage(self.enable(controls or name), reset, asynchronous, self.falling(clock), number)

    def enable(self, name: str) -> Net:
        """The net that enables a rank of registers.

        The chip database does not know for every rank which of the four pins it listens to; then they must be alike.
        """
        pin = self.choice(f"REG_{name}_CE")
        pins = [pin] if pin else [f"CE{index}" for index in range(_CONTROLS)]
        return self._same({self.control(each) for each in pins}, f"the enable of its {name} register")

    def reset(self, name: str) -> Net:
        """The net that resets a rank of registers; likewise."""
        pin = self.choice(f"REG_{name}_RST")
        pins = [pin] if pin else [f"RST{index}" for index in range(_CONTROLS)]
        for each in pins:
            if self.context.routing.source(self.wire(each)) is None:
                raise self.refuse(f"the reset {each} of its {name} register floats")
        return self._same({self.control(each) for each in pins}, f"the reset of its {name} register")

    def _same(self, nets: set[Net], what: str) -> Net:
        if len(nets) > 1:
            raise self.refuse(f"the chip database does not tell which net is {what}")
        return next(iter(nets))

    def _asynchronous(self, name: str) -> bool:
        """Whether resets act without the clock.

        Cells that share tiles share bits of this setting; where they are set otherwise, its registers would differ.
        """
        configuration = self.context.configuration
        found = set()
        for tile in self.tiles:
            mask = configuration.patterns(tile, f"{self.name}.RESETMODE").get("ASYNC", 0)
            bits = configuration.bits(tile)
            found |= {bool(bits >> bit & 1) for bit in range(mask.bit_length()) if mask >> bit & 1}
        if len(found) > 1:
            raise self.refuse(f"a cell beside it has another RESETMODE, and its {name} register is reset")
        return found == {True}

    def registered(self, nets: list[Net], stage: Stage | None) -> list[Net]:
        """What a rank of registers makes of some nets; these as they are where it is bypassed."""
        return [self._registered(net, stage) for net in nets] if stage else nets

    def _registered(self, net: Net, stage: Stage) -> Net:
        held = self.context.netlist.add(None)
        register = Register(net, stage.enable, stage.reset, 0, stage.falling, self.where, stage.clock)
        add_register(self.context, held, register, stage.reset if stage.asynchronous else ZERO, chip_wide=False)
        return held


class _Cell(DspCell):
    """One multiplier while it is built."""

    kind = "MULT18X18D"
    suffix = "MULT18"

    def __init__(self, context: Context, wire: Wire) -> None:
        kinds = [tile.kind for tile in context.configuration.tiles_at(wire.x, wire.y)]
        index = next((_FIRST[kind] for kind in kinds if kind in _FIRST), 0)
        found = alu_at(context.configuration, wire)
        if found is None:
            raise UnsupportedCell("MULT18X18D", place(wire, "MULT18"), "there is none")
        super().__init__(context, f"MULT18_{index}", wire, found[1])
        self.feeds_alu = alu_is_used(context.configuration, wire)

    def control(self, pin: str) -> Net:
        """A control pin through its inverter."""
        net = self.net(pin)
        return self.context.invert(net) if self.choice(f"{pin}MUX") == "INV" else net

    def falling(self, clock: str) -> bool:
        return self.choice(f"{clock}MUX") == "INV"

    def refuse_modes(self) -> None:
        """Refuse what this multiplier may be set to and is not executed."""
        mode = self.choice("MODE")
        if mode != "MULT18X18D":
            raise UnsupportedCell(f"DSP mode {mode}", self.where, "its output is used")
        source = self.choice("SOURCEB_MODE")
        if source != "B_SHIFT":
            raise self.refuse(f"its SOURCEB_MODE is {source}")
        for pin in ("SOURCEA", "SOURCEB"):
            # Left open they mean the parallel inputs: nextpnr relies on that.
            found = self.context.routing.source(self.wire(pin))
            if isinstance(found, Wire) and self.context.net_of(found) != ZERO:
                raise self.refuse(f"its input {pin} selects the shift chain")


@dataclass
class _Built:
    """A multiplier that has been built; nets of rare outputs are made when they are asked for."""

    cell: _Cell
    index: int
    signs: list[Net]


def expand(context: Context, wire: Wire, net: Net) -> None:
    """Drive `net`, an output of a multiplier, and build that if it is not yet."""
    key = ("multiplier", wire.x, wire.y)
    built = context.built.get(key)
    if not isinstance(built, _Built):
        built = context.built[key] = _build(context, wire)
    name = wire.name.removeprefix("J").removesuffix("_MULT18")
    multiplier = context.netlist.multipliers[built.index]
    if name == "SIGNEDP":
        signed = context.function(OR, *built.signs)
        _pass(context, net, built.cell.registered([signed], multiplier.stage_product)[0])
    elif name.startswith("P"):
        context.netlist.drive(net, ProductOutput(built.index, int(name[1:])))
    else:
        bit, first = int(name[3:]), name[2] == "A"
        factor, stage = (multiplier.a, multiplier.stage_a) if first else (multiplier.b, multiplier.stage_b)
        _pass(context, net, built.cell.registered([factor[bit]], stage)[0])


def _pass(context: Context, net: Net, source: Net) -> None:
    context.drive(net, 0b10, source)


def _build(context: Context, wire: Wire) -> _Built:
    cell = _Cell(context, wire)
    cell.refuse_modes()
    stages = [cell.stage("INPUTA"), cell.stage("INPUTB")]
    signs = []
    for pin, stage in zip(("SIGNEDA", "SIGNEDB"), stages, strict=True):
        signs += cell.registered([cell.net(pin)], stage)
    # A constant sign needs no register: as long as that holds zero, so does its factor's.
    plain = [cell.net(pin) for pin in ("SIGNEDA", "SIGNEDB")]
    signed = [net if net in (ZERO, ONE) else held for net, held in zip(plain, signs, strict=True)]
    multiplier = Multiplier(
        a=tuple(cell.nets("A", _FACTOR_BITS)),
        b=tuple(cell.nets("B", _FACTOR_BITS)),
        signed_a=signed[0],
        signed_b=signed[1],
        stage_a=stages[0],
        stage_b=stages[1],
        stage_product=cell.stage("PIPELINE"),
        stage_output=None if cell.feeds_alu else cell.stage("OUTPUT"),
        place=cell.where,
    )
    context.netlist.multipliers.append(multiplier)
    return _Built(cell, len(context.netlist.multipliers) - 1, signs)
