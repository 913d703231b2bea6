"""Block RAMs: DP16KD with two ports, and PDPW16KD, the same cell with a 36-bit write port and a read port.

Behaviour beyond the addressing (what a write shows, what resets do) follows the memory models of Yosys, which map
designs onto these cells; what a reset does to an output register, and the chip-wide reset, the vendor's simulation
model. Whether an asynchronous reset ends with the clock (ASYNC_RESET_RELEASE) is never seen: what an output register
would load at that edge has been cleared too. Source: Lattice FPGA-TN-02204 "Memory Usage Guide"; Yosys
`techlibs/lattice/brams_16kd.txt`.
"""

from __future__ import annotations

from lutlab_virtual_board.cells.clocking import chip_reset, require_clock
from lutlab_virtual_board.cells.context import AND, OR, SELECT, Context, place
from lutlab_virtual_board.device import BRAM_WORDS
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, BlockRam, BlockRamOutput, Net, RamPort
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire

_FIRST_TILE = {"MIB_EBR2": 1, "MIB_EBR4": 2, "MIB_EBR6": 3}
"""Which of a row's block RAMs starts in a tile; the tiles where number 0 starts have several names."""

_TILES = {0: 2, 1: 3, 2: 3, 3: 3}
_ADDRESS_BITS = 14
_DATA_BITS = 18
_NINE = 9
_BUFFER = 0b10


class _Cell:
    """One block RAM while it is built."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self.context = context
        self.x, self.y = wire.x, wire.y
        here = context.configuration.tiles_at(wire.x, wire.y)
        self.index = next((_FIRST_TILE[t.kind] for t in here if t.kind in _FIRST_TILE), 0)
        self.name = f"EBR{self.index}"
        self.where = place(wire, self.name)
        self.tiles: list[Tile] = [
            tile
            for column in range(_TILES[self.index])
            for tile in context.configuration.tiles_at(wire.x + column, wire.y)
        ]
        self.mode = self.choice("MODE") or self._mode_by_set_bits()

    def choice(self, name: str) -> str | None:
        return self.context.configuration.group_choice(self.tiles, f"{self.name}.{name}")

    def _mode_by_set_bits(self) -> str:
        """The mode with most bits, all of which are set.

        One that the chip database wants clear in one mode may be set nevertheless: it inverts a write enable too.
        """
        counts: dict[str, int] = {}
        missing = set()
        for tile in self.tiles:
            bits = self.context.configuration.bits(tile)
            for mode, ones in self.context.configuration.patterns(tile, f"{self.name}.MODE").items():
                counts[mode] = counts.get(mode, 0) + ones.bit_count()
                if bits & ones != ones:
                    missing.add(mode)
        return max(set(counts) - missing, key=lambda mode: counts[mode], default="NONE")

    def word(self, name: str) -> int:
        value = self.context.configuration.group_word(self.tiles, f"{self.name}.{name}")
        if value is None:
            raise UnsupportedCell("block RAM", self.where, f"its {name} is unknown")
        return value

    def wire(self, pin: str) -> Wire:
        return Wire(self.x, self.y, f"J{pin}_EBR")

    def pin(self, pin: str) -> Net:
        """The net of a pin, through the cell's own inverter."""
        net = self.context.net(self.wire(pin))
        return self.context.invert(net) if self.choice(f"{pin}MUX") == "INV" else net

    def address(self, port: str) -> tuple[Net, ...]:
        return tuple(self.pin(f"AD{port}{bit}") for bit in range(_ADDRESS_BITS))

    def data(self, port: str) -> tuple[Net, ...]:
        return tuple(self.context.net(self.wire(f"DI{port}{bit}")) for bit in range(_DATA_BITS))


def expand(context: Context, wire: Wire, net: Net) -> None:
    """Build the block RAM that drives `net`, and drive all its outputs. Raises: UnsupportedCell."""
    cell = _Cell(context, wire)
    if cell.mode == "DP16KD":
        ports = [_port(cell, "A"), _port(cell, "B")]
    elif cell.mode == "PDPW16KD":
        ports = [_write_port(cell), _read_port(cell)]
    else:
        raise UnsupportedCell(f"block RAM mode {cell.mode}", cell.where, "its output is used")
    number = int(f"{cell.word('WID'):09b}"[::-1], 2)
    words = context.configuration.brams.get(number, [0] * BRAM_WORDS)
    context.netlist.block_rams.append(BlockRam(ports=ports, words=words, place=cell.where))
    index = len(context.netlist.block_rams) - 1
    resets, shown = _output_resets(ports), _shown(ports)
    for bit in range(2 * _DATA_BITS):
        output = context.output(Wire(wire.x, wire.y, f"JDO{'AB'[bit // _DATA_BITS]}{bit % _DATA_BITS}_EBR"))
        source = shown[bit]
        if source is None:
            context.drive(output, _BUFFER, ZERO)
        elif resets[bit] == ZERO:
            context.netlist.drive(output, BlockRamOutput(index, source))
        else:
            held = context.netlist.add(BlockRamOutput(index, source))
            context.drive(output, SELECT, held, ZERO, resets[bit])


def _shown(ports: list[RamPort]) -> list[int | None]:
    """For each output pin the bit of its port that it shows.

    A word narrower than the pins fills them all: nine bits twice, fewer in each eight of nine, whose last is zero.
    """
    shown: list[int | None] = list(range(2 * _DATA_BITS))
    for port in ports:
        first, count = port.outputs
        for bit in range(count if port.width < _DATA_BITS else 0):
            lane = bit % _NINE
            shown[first + bit] = None if port.width <= lane == _NINE - 1 else first + lane % port.width
    return shown


def _output_resets(ports: list[RamPort]) -> list[Net]:
    """For each output bit the net that clears it without the clock."""
    resets = [ZERO] * (2 * _DATA_BITS)
    for port in ports:
        first, count = port.outputs
        if not port.reset_stops_writes:
            resets[first : first + count] = [port.reset] * count
    return resets


def _selected(cell: _Cell, port: str) -> Net:
    """Clock enable and chip select of a port together."""
    context = cell.context
    wanted = cell.word(f"CSDECODE_{port}")
    enable = cell.pin(f"CE{port}")
    for bit in range(3):
        select = context.net(cell.wire(f"CS{port}{bit}"))
        # The word holds the code of CS2 in its lowest bit.
        if not wanted >> (2 - bit) & 1:
            select = context.invert(select)
        enable = _both(context, enable, select)
    return enable


def _both(context: Context, first: Net, second: Net) -> Net:
    if ZERO in (first, second):
        return ZERO
    if first == ONE:
        return second
    return first if second == ONE else context.function(AND, first, second)


def _clock(cell: _Cell, port: str, enable: Net = ONE) -> tuple[int, bool]:
    """The number of a port's clock, and whether it acts on the falling edge; a port that never acts needs none."""
    if enable == ZERO:
        return 0, False
    return require_clock(cell.context, cell.wire(f"CLK{port}"), cell.where), cell.choice(f"CLK{port}MUX") == "INV"


def _reset(cell: _Cell, port: str, registered: bool) -> tuple[Net, bool]:
    """The reset net of a port, and whether it acts without the clock; the chip-wide reset acts as the port's own does.

    Raises: UnsupportedCell: it does not, on an output register.
    """
    reset, asynchronous = cell.pin(f"RST{port}"), cell.choice("RESETMODE") == "ASYNC"
    chip = chip_reset(cell.context) if cell.choice("GSR") == "ENABLED" else None
    if chip is None:
        return reset, asynchronous
    if registered and not asynchronous:
        raise UnsupportedCell("block RAM", cell.where, "its output register is under the chip-wide reset")
    return chip if reset == ZERO else cell.context.function(OR, reset, chip), asynchronous


def _port(cell: _Cell, port: str) -> RamPort:
    """A port of a DP16KD."""
    enable = _selected(cell, port)
    registered = cell.choice(f"REGMODE_{port}") == "OUTREG"
    reset, asynchronous = _reset(cell, port, registered) if enable != ZERO else (ZERO, False)
    clock, falling = _clock(cell, port, enable)
    return RamPort(
        width=int(cell.choice(f"DP16KD.DATA_WIDTH_{port}") or "18"),
        address=cell.address(port),
        data=cell.data(port),
        enable=enable,
        write=cell.pin(f"WE{port}"),
        write_mode=cell.choice(f"DP16KD.WRITEMODE_{port}") or "NORMAL",
        reset=reset,
        reset_stops_writes=not asynchronous,
        register=registered,
        register_enable=cell.pin(f"OCE{port}"),
        outputs=(0 if port == "A" else _DATA_BITS, _DATA_BITS),
        falling=falling,
        clock=clock,
    )


def _write_port(cell: _Cell) -> RamPort:
    """The 36-bit write port of a PDPW16KD. The inverters of WEA and OCEA are part of the mode's bit pattern."""
    context = cell.context
    enable = _selected(cell, "A")
    clock, falling = _clock(cell, "A", enable)
    reset, asynchronous = _reset(cell, "A", registered=False) if enable != ZERO else (ZERO, False)
    return RamPort(
        width=36,
        address=cell.address("A"),
        data=cell.data("A") + cell.data("B"),
        enable=enable,
        write=context.net(cell.wire("WEA")),
        write_mode="NORMAL",
        reset=ZERO if asynchronous else reset,
        reset_stops_writes=not asynchronous,
        register=False,
        register_enable=ONE,
        outputs=(0, 0),
        falling=falling,
        clock=clock,
    )


def _read_port(cell: _Cell) -> RamPort:
    """The read port of a PDPW16KD: 36 bits use all outputs, narrower words those of port B."""
    width = int(cell.choice("PDPW16KD.DATA_WIDTH_R") or "36")
    registered = cell.choice("REGMODE_B") == "OUTREG"
    reset, asynchronous = _reset(cell, "B", registered)
    clock, falling = _clock(cell, "B")
    return RamPort(
        width=width,
        address=cell.address("B"),
        data=(),
        enable=_selected(cell, "B"),
        write=ZERO,
        write_mode="NORMAL",
        reset=reset,
        reset_stops_writes=not asynchronous,
        register=registered,
        register_enable=cell.pin("OCEB"),
        outputs=(0, 2 * _DATA_BITS) if width == 36 else (_DATA_BITS, _DATA_BITS),
        falling=falling,
        clock=clock,
    )
