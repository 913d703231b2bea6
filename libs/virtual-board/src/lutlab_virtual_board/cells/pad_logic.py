"""Registers in pads, IOLOGIC and SIOLOGIC: one bit a cycle, or two (IDDRX1F, ODDRX1F).

How many cycles the double data rate cells take, and which samples an input pair has together, is as in the vendor's
simulation models and in Amaranth's description of its buffers. Delays (DELAYF, DELAYG) take no time here, and must not
be moved while the design runs. Source: Lattice FPGA-TN-02035 "High-Speed I/O Interface".
"""

from __future__ import annotations

from lutlab_virtual_board.cells.clocking import chip_reset, require_clock
from lutlab_virtual_board.cells.context import SELECT, Context, place
from lutlab_virtual_board.cells.pad_tiles import at_side, pad_tiles
from lutlab_virtual_board.cells.slices import add_register
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, Net, Register, RegisterOutput
from lutlab_virtual_board.wires import Wire

_PAIR_LATENCY = 3
"""Registers before an output pair's multiplexer."""

SINGLE, PAIR = "IREG_OREG", "IDDRX1_ODDRX1"
_AMBIGUOUS = {"IDDRXN": "IDDRXN.MODE", "ODDRXN": "ODDRXN.MODE"}
"""Modes whose bits a single register with constant enables has too, and the setting that tells."""

_DELAY_CONTROLS = ("LOADN", "MOVE", "DIRECTION")
"""Inputs that change a delay while the design runs; DELAYG has them tied."""


class PadLogic:
    """The registers of one pad.

    Args:
        context: of the extraction.
        x: column of the pad group.
        y: row of it.
        letter: of the pad.
    """

    def __init__(self, context: Context, x: int, y: int, letter: str) -> None:
        self.context = context
        self.x, self.y, self.letter = x, y, letter
        self.tiles = pad_tiles(context, x, y, letter)
        self.suffix = "IOLOGIC" if at_side(context, x) else "SIOLOGIC"
        self.where = place(Wire(x, y, ""), f"{self.suffix}{letter}")

    def choice(self, name: str) -> str | None:
        """A setting of these registers."""
        return self.context.configuration.group_choice(self.tiles, f"IOLOGIC{self.letter}.{name}")

    def mode(self) -> str:
        """What the registers are: `IREG_OREG`, `IDDRX1_ODDRX1`, or what is not executed."""
        mode = self.choice("MODE") or "NONE"
        if mode in _AMBIGUOUS and self.choice(_AMBIGUOUS[mode]) in (None, "NONE"):
            return SINGLE
        return mode

    def refuse(self) -> UnsupportedCell:
        """The error for what these registers are."""
        return UnsupportedCell(f"{self.suffix} ({self.mode()})", self.where, "its pad is used")

    def net(self, pin: str) -> Net:
        """The net at an input."""
        return self.context.net(self._wire(pin))

    def _wire(self, pin: str) -> Wire:
        return Wire(self.x, self.y, f"J{pin}{self.letter}_{self.suffix}")

    # -- delays -----------------------------------------------------------------------------------------------------

    def delayed_in(self) -> bool:
        """Whether what the pad reads passes the delay."""
        driver = self.context.configuration.driver(Wire(self.x, self.y, f"JDI{self.letter}"))
        return driver is not None and driver.name.startswith("INDD")

    def delayed_out(self) -> bool:
        """Whether what the pad drives passes the delay."""
        return self.choice("DELAY.OUTDEL") == "ENABLED"

    def refuse_moving_delay(self) -> None:
        """A delay that logic moves would look for an edge that is nowhere."""
        for pin in _DELAY_CONTROLS:
            if self.net(pin) not in (ZERO, ONE):
                raise UnsupportedCell("DELAYF", self.where, f"its input {pin} is driven by logic")

    # -- registers ------------------------------------------------------------------------------------------------

    def single(self, d: Net, way: str, setting: str, net: Net) -> None:
        """Let the register of a direction (`I`, `O`) drive a net. Raises: UnsupportedCell."""
        if self.choice(f"{setting}.{'INREGMODE' if way == 'I' else 'OUTREGMODE'}") == "LATCH":
            raise UnsupportedCell(f"{self.suffix} latch", self.where)
        clock, falling = self.clock(way)
        reset = self._reset(way)
        register = Register(
            d=d,
            enable=self._enable(way),
            reset=reset,
            value=int(self.choice(f"{setting}.REGSET") == "SET"),
            falling=falling,
            place=self.where,
            clock=clock,
        )
        asynchronous = self.choice("SRMODE") != "LSR_OVER_CE"
        chip_wide = self.choice("GSR") != "DISABLED"
        add_register(self.context, net, register, reset if asynchronous else ZERO, chip_wide)

    def clock(self, way: str) -> tuple[int, bool]:
        """The number of a direction's clock, and whether its registers act on the falling edge.

        Raises: UnsupportedCell.
        """
        mux = self.choice(f"CLK{way}MUX")
        if mux in (None, "0"):
            raise UnsupportedCell(self.suffix, self.where, "its register has no clock")
        return require_clock(self.context, self._wire("CLK"), self.where), mux == "INV"

    def _enable(self, way: str) -> Net:
        if self.choice(f"CE{way}MUX") == "1":
            return ONE
        enable = self.net("CE")
        return enable if self.choice("CEMUX") == "CE" else self.context.invert(enable)

    def _reset(self, way: str) -> Net:
        if self.choice(f"LSR{way}MUX") != "LSRMUX":
            return ZERO
        reset = self.net("LSR")
        return reset if self.choice("LSRMUX") == "LSR" else self.context.invert(reset)

    def delayed(self, d: Net, clock: int, falling: bool, count: int = 1) -> Net:
        """What a net was some edges ago."""
        for _ in range(count):
            register = Register(d, ONE, ZERO, 0, falling, self.where, clock)
            d = self.context.netlist.add(RegisterOutput(self.context.netlist.add_register(register)))
        return d

    def pair_clock(self, way: str) -> tuple[int, bool]:
        """The clock of double data rate registers, whose resets are not modelled and must not be used.

        Raises: UnsupportedCell.
        """
        if self._reset(way) != ZERO:
            raise UnsupportedCell(f"{self.suffix} ({PAIR})", self.where, "its reset is driven by logic")
        if self.choice("GSR") != "DISABLED" and chip_reset(self.context) is not None:
            raise UnsupportedCell(f"{self.suffix} ({PAIR}) under the chip-wide reset", self.where)
        return self.clock(way)

    def refuse_controls(self) -> None:
        """An enable or a reset of a register beside double data rate registers might be theirs too."""
        self.pair_clock("O")
        if self._enable("O") != ONE:
            raise UnsupportedCell(f"{self.suffix} ({PAIR})", self.where, "the register beside it has an enable")

    def output_pair(self) -> Net:
        """The level of a pad that shows its first bit while the clock is high, and then its second."""
        clock, falling = self.pair_clock("O")
        first, second = (self.delayed(self.net(pin), clock, falling, _PAIR_LATENCY) for pin in ("TXDATA0", "TXDATA1"))
        level = self.context.clock_level_of(clock)
        low, high = (first, second) if falling else (second, first)
        return self.context.function(SELECT, low, high, level)

    def input_pair(self, pad: Net, index: int) -> Net:
        """What came in with a rising edge (bit 0), and with the falling edge after it (bit 1), one edge later."""
        clock, falling = self.pair_clock("I")
        sample = self.delayed(pad, clock, falling if index == 0 else not falling)
        return self.delayed(sample, clock, falling)


def output_level(context: Context, x: int, y: int, letter: str) -> Net:
    """What a pad's driver drives: the design's net, or a register of it."""
    tiles = pad_tiles(context, x, y, letter)
    single, pair, memory = (
        context.configuration.group_choice(tiles, f"PIO{letter}.DATAMUX_{name}") == "IOLDO"
        for name in ("OREG", "ODDR", "MDDR")
    )
    logic = PadLogic(context, x, y, letter)
    if not (single or pair or memory):
        if logic.delayed_out():
            raise UnsupportedCell("DELAYG", logic.where, "its pad does not take what it delays")
        return context.net(Wire(x, y, f"PADDO{letter}_PIO"))
    if logic.delayed_out():
        logic.refuse_moving_delay()
    if pair and not single and logic.mode() == PAIR:
        return logic.output_pair()
    if single and not pair and logic.mode() == SINGLE:
        net = context.netlist.add(None)
        logic.single(logic.net("TXDATA0"), "O", "OUTREG", net)
        return net
    raise logic.refuse()


def release_level(context: Context, x: int, y: int, letter: str) -> Net:
    """What lets a pad's driver go: the design's net, or a register of it."""
    tiles = pad_tiles(context, x, y, letter)
    if context.configuration.group_choice(tiles, f"PIO{letter}.TRIMUX_TSREG") != "IOLTO":
        return context.net(Wire(x, y, f"PADDT{letter}_PIO"))
    logic = PadLogic(context, x, y, letter)
    # A single register's bits are those of none at all here; only another cell has one of its own.
    if logic.mode() not in (SINGLE, PAIR) or logic.choice("IOLTOMUX") == "TDDR":
        raise logic.refuse()
    if logic.mode() == PAIR:
        logic.refuse_controls()
    net = context.netlist.add(None)
    logic.single(logic.net("TSDATA0"), "O", "TSREG", net)
    return net


def expand_input(context: Context, wire: Wire, net: Net) -> None:
    """What comes from behind a pad: the register `JINFF<pad>`, a pair's `JRXDATA<bit><pad>`, the delay `INDD<pad>`."""
    name = wire.name.partition("_")[0]
    letter = name[-1]
    logic = PadLogic(context, wire.x, wire.y, letter)
    pad = context.net(Wire(wire.x, wire.y, f"JPADDI{letter}_PIO"))
    if name.startswith("INDD") or logic.delayed_in():
        logic.refuse_moving_delay()
    if name.startswith("INDD"):
        context.drive(net, 0b10, pad)
    elif name.startswith("JINFF") and logic.mode() == SINGLE:
        logic.single(pad, "I", "FF", net)
    elif name[:-1] in ("JRXDATA0", "JRXDATA1") and logic.mode() == PAIR:
        context.drive(net, 0b10, logic.input_pair(pad, int(name[-2])))
    else:
        raise logic.refuse()
