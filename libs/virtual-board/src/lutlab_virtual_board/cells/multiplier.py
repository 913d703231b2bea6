"""Multipliers: MULT18X18D with and without its registers.

Source: Lattice FPGA-TN-02205 "sysDSP Usage Guide", section MULT18X18D.
"""

from __future__ import annotations

from lutlab_virtual_board.cells.clocking import require_clock
from lutlab_virtual_board.cells.context import Context, place
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ZERO, Multiplier, Net, ProductOutput, Stage
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire

_FIRST = {"MIB_DSP0": 0, "MIB_DSP1": 1, "MIB_DSP4": 4, "MIB_DSP5": 5}
"""Which multiplier of a DSP block has its wires in a tile."""

_BLOCK_START = {0: 0, 1: -1, 4: 0, 5: -1}
"""Column of the first of a multiplier's five tiles, from its wires."""

_BLOCK_TILES = 5
_FACTOR_BITS = 18
_PRODUCT_BITS = 36


class _Cell:
    """One multiplier while it is built."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self.context = context
        self.x, self.y = wire.x, wire.y
        kinds = [tile.kind for tile in context.configuration.tiles_at(wire.x, wire.y)]
        self.index = next((_FIRST[kind] for kind in kinds if kind in _FIRST), 0)
        self.name = f"MULT18_{self.index}"
        self.where = place(wire, self.name)
        start = wire.x + _BLOCK_START[self.index]
        self.tiles: list[Tile] = [
            tile for column in range(_BLOCK_TILES) for tile in context.configuration.tiles_at(start + column, wire.y)
        ]

    def choice(self, name: str) -> str | None:
        return self.context.configuration.group_choice(self.tiles, f"{self.name}.{name}")

    def net(self, pin: str) -> Net:
        return self.context.net(Wire(self.x, self.y, f"J{pin}_MULT18"))

    def muxed(self, pin: str) -> Net:
        """A control pin through its inverter."""
        net = self.net(pin)
        return self.context.invert(net) if self.choice(f"{pin}MUX") == "INV" else net

    def stage(self, name: str) -> Stage | None:
        """A rank of registers, or None where it is bypassed."""
        clock = self.choice(f"REG_{name}_CLK")
        if clock in (None, "NONE"):
            return None
        assert clock is not None
        number = require_clock(self.context, Wire(self.x, self.y, f"J{clock}_MULT18"), self.where)
        falling = self.choice(f"{clock}MUX") == "INV"
        asynchronous = self.choice("RESETMODE") == "ASYNC"
        return Stage(self.enable(name), self.reset(name), asynchronous, falling, number)

    def enable(self, name: str) -> Net:
        """The net that enables a rank of registers.

        The chip database does not know which of the four pins the output register listens to, so they must be alike.
        """
        pin = self.choice(f"REG_{name}_CE")
        nets = {self.muxed(pin)} if pin else {self.muxed(f"CE{index}") for index in range(4)}
        return self._same(nets, f"the enable of its {name} register")

    def reset(self, name: str) -> Net:
        """The net that resets a rank of registers; likewise."""
        pin = self.choice(f"REG_{name}_RST")
        pins = [pin] if pin else [f"RST{index}" for index in range(4)]
        for each in pins:
            if self.context.routing.source(Wire(self.x, self.y, f"J{each}_MULT18")) is None:
                raise UnsupportedCell("MULT18X18D", self.where, f"the reset {each} of its {name} register floats")
        return self._same({self.muxed(each) for each in pins}, f"the reset of its {name} register")

    def _same(self, nets: set[Net], what: str) -> Net:
        if len(nets) > 1:
            raise UnsupportedCell("MULT18X18D", self.where, f"the chip database does not tell which net is {what}")
        return next(iter(nets))


def expand(context: Context, wire: Wire, net: Net) -> None:
    """Build the multiplier that drives `net`, and drive all its outputs."""
    cell = _Cell(context, wire)
    if cell.choice("MODE") != "MULT18X18D":
        raise UnsupportedCell(f"DSP mode {cell.choice('MODE')}", cell.where, "its output is used")
    for pin in ("SOURCEA", "SOURCEB"):
        # Left open they mean the parallel inputs: nextpnr relies on that.
        source = context.routing.source(Wire(wire.x, wire.y, f"J{pin}_MULT18"))
        if isinstance(source, Wire) and context.net_of(source) != ZERO:
            raise UnsupportedCell("MULT18X18D", cell.where, f"its input {pin} selects the shift chain")
    multiplier = Multiplier(
        a=tuple(cell.net(f"A{bit}") for bit in range(_FACTOR_BITS)),
        b=tuple(cell.net(f"B{bit}") for bit in range(_FACTOR_BITS)),
        signed_a=cell.net("SIGNEDA"),
        signed_b=cell.net("SIGNEDB"),
        stage_a=cell.stage("INPUTA"),
        stage_b=cell.stage("INPUTB"),
        stage_product=cell.stage("PIPELINE"),
        stage_output=cell.stage("OUTPUT"),
        place=cell.where,
    )
    context.netlist.multipliers.append(multiplier)
    index = len(context.netlist.multipliers) - 1
    for bit in range(_PRODUCT_BITS):
        output = context.output(Wire(wire.x, wire.y, f"JP{bit}_MULT18"))
        context.netlist.drivers[output] = ProductOutput(index, bit)
