"""Clocks and the chip-wide reset: clock buffers, phase-locked loops, GSR."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from lutlab_virtual_board.cells.context import OR, Context, place
from lutlab_virtual_board.errors import UnsupportedCell, UnsupportedConfiguration
from lutlab_virtual_board.netlist import ONE, ZERO, Clock, DerivedClock, Net, Register, RegisterOutput
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import Wire, wire_key, wire_of

_BUFFER = 0b10
_PLL_TILES = {
    "PLL0_UL": ("PLL0_UL", "PLL1_UL"),
    "PLL0_LL": ("PLL0_LL", "BANKREF8"),
    "PLL0_LR": ("PLL0_LR", "PLL1_LR", "BANKREF4"),
    "PLL0_UR": ("PLL0_UR", "PLL1_UR"),
}
"""Tiles that hold the configuration of the PLL next to a tile of that type."""

_CLKDIV = {"2.0": (Fraction(2), 1), "3.5": (Fraction(7, 2), 2)}
"""A clock divider's period, and how long it is high, in periods of its source."""

_OSCILLATOR_HZ = 310_000_000
_PLL_RANGES_HZ = {"phase detector": (3_125_000, 400_000_000), "oscillator": (400_000_000, 800_000_000)}
"""How slow and fast the parts of a PLL run (Lattice FPGA-DS-02012, "sysCLOCK PLL Timing").

The data sheet wants 10 MHz at the phase detector; down to this a PLL is known to lock (Project Trellis, `ecppll`), and
below LOCK has been seen to stay zero.
"""

_OUTPUT_LETTERS = {"CLKOP": "A", "CLKOS": "B", "CLKOS2": "C", "CLKOS3": "D"}

_PLL_OFFSET = {"PLL0_UL": (1, 0), "PLL0_LL": (0, -1), "PLL0_LR": (0, -1), "PLL0_UR": (-1, 0)}
"""Where a PLL's wires are, from its first tile."""


def oscillator(context: Context) -> Clock:
    """The clock that the board feeds into the chip."""
    return Clock(f"pin {context.clock_pin}", Fraction(1, context.clock_hz))


def require_clock(context: Context, wire: Wire, where: str) -> int:
    """The number of the clock at a cell's clock input.

    Raises:
        UnsupportedCell: the clock comes from a cell that is not executed.
    """
    return require_clock_at(context, wire_key(wire), where)


def require_clock_at(context: Context, wire: int, where: str) -> int:
    """The number of the clock at a cell's clock input, by the wire's number; see `require_clock`.

    Raises: UnsupportedCell.
    """
    source = context.routing.source_key(wire)
    if source < 0:
        raise UnsupportedCell("cell without a running clock", where, "its clock input is constant")
    number = context.clock_numbers.get(source)
    if number is None:
        number = context.clock_numbers[source] = context.clock_number(_clock(context, wire_of(source), where))
    return number


def _clock(context: Context, source: Wire, where: str) -> Clock | DerivedClock:
    """The clock that a routed source is."""
    key = ("clock", source)
    known = context.built.get(key)
    if isinstance(known, Clock | DerivedClock):
        return known
    clock = _trace_clock(context, source, where)
    context.built[key] = clock
    return clock


def _running(context: Context, source: Wire, where: str, what: str) -> Clock:
    """A clock that has a period."""
    clock = _clock(context, source, where)
    if not isinstance(clock, Clock):
        raise UnsupportedCell(what, where, f"its source {clock.name} is no running clock")
    return clock


def _trace_clock(context: Context, source: Wire, where: str) -> Clock | DerivedClock:
    if source.name.startswith("G_CLKO_"):
        return _buffered(context, source, where)
    if source.name.startswith("JPADDI") and context.pin_at(source) == context.clock_pin:
        return oscillator(context)
    if source.name.startswith("JCLKO"):
        return _pll_clock(context, source)
    if source.name == "G_JOSC_OSC":
        return _internal_oscillator(context)
    if source.name.startswith("G_DCSOUT_"):
        return _selected(context, source)
    if source.name.startswith("JCDIVX_"):
        return _divided(context, source)
    return DerivedClock("logic", str(source), (context.net_of(source),))


def _buffered(context: Context, output: Wire, where: str) -> Clock | DerivedClock:
    """The clock behind a buffer, DCCA, which passes it on while its enable is one."""
    clock = _clock(context, _buffer_input(context, output), where)
    enable = _buffer_enable(context, output)
    if enable == ONE:
        return clock
    return DerivedClock("gate", _buffer_name(output), (enable,), (context.clock_number(clock),))


def _buffer_enable(context: Context, output: Wire) -> Net:
    """The net at a buffer's CE, or one where it is a mere buffer."""
    name = _buffer_name(output)
    for tiles in context.configuration.tiles.values():
        if any(tile.choices.get(f"DCC_{name}.MODE") == "DCCA" for tile in tiles):
            return context.net(Wire(0, 0, f"G_JCE_{name[0]}DCC{name[1:]}"))
    return ONE


def _buffer_name(output: Wire) -> str:
    """A buffer's name as its setting has it: side and number."""
    buffer = output.name.removeprefix("G_CLKO_")
    return buffer[0] + buffer.removeprefix(f"{buffer[0]}DCC")


def _selected(context: Context, output: Wire) -> DerivedClock:
    """DCSC: one of two clocks (Lattice FPGA-TN-02200, "Dynamic Clock Select")."""
    name = output.name.removeprefix("G_DCSOUT_")
    where = place(output, "DCSC") if output.x else name
    sources = []
    for index in (0, 1):
        source = context.routing.source(Wire(0, 0, f"G_CLK{index}_{name}"))
        if not isinstance(source, Wire):
            raise UnsupportedCell("DCSC", where, f"its input CLK{index} is constant")
        sources.append(context.clock_number(_clock(context, source, where)))
    nets = tuple(context.net(Wire(0, 0, f"G_J{pin}_{name}")) for pin in ("SEL0", "SEL1", "MODESEL"))
    kinds = [tile for tile in context.configuration.database.tiles if "CMUX" in tile.kind]
    mode = context.configuration.group_choice(kinds, f"{name}.DCSMODE") or "NEG"
    return DerivedClock("select", f"DCSC {name}", nets, tuple(sources), mode)


def _divided(context: Context, output: Wire) -> Clock:
    """CLKDIVF: a clock divided by two, or by three and a half and then high for two periods of its source.

    It rises with the second edge after configuration. Its phase after a reset is not modelled, so it must not have any
    (Lattice FPGA-TN-02200, "Clock Divider").
    """
    number = output.name[-1]
    side = "L" if output.x < 2 else "R"
    where = place(output, f"CLKDIV_{side}{number}")
    for pin in ("RST", "ALIGNWD"):
        source = context.routing.source(Wire(output.x, output.y, f"J{pin}_CLKDIV{number}"))
        if isinstance(source, Wire) and context.net_of(source) not in (ZERO, ONE):
            raise UnsupportedCell("CLKDIVF", where, f"its input {pin} is driven by logic")
        if source is not None and context.net_of(source) == ONE:
            raise UnsupportedCell("CLKDIVF", where, f"its input {pin} is always on")
    kinds = [tile for tile in context.configuration.database.tiles if tile.kind.startswith("ECLK_")]
    divider = context.configuration.group_choice(kinds, f"CLKDIV_{side}{number}.DIV")
    if (
        context.configuration.group_choice(kinds, f"CLKDIV_{side}{number}.GSR") == "ENABLED"
        and chip_reset(context) is not None
    ):
        raise UnsupportedCell("CLKDIVF", where, "it is under the chip-wide reset")
    if divider not in _CLKDIV:
        raise UnsupportedCell("CLKDIVF", where, f"its divider is {divider}")
    reference = context.routing.source(Wire(output.x, output.y, f"CLKI_CLKDIV{number}"))
    if not isinstance(reference, Wire):
        raise UnsupportedCell("CLKDIVF", where, "its input is constant")
    source_clock = _running(context, reference, where, "CLKDIVF")
    ratio, high = _CLKDIV[divider]
    unit_s = source_clock.period_s
    first_s = (source_clock.first_s + unit_s) % (ratio * unit_s)
    return Clock(f"CLKDIVF at R{output.y}C{output.x}", ratio * unit_s, first_s, high * unit_s)


def _internal_oscillator(context: Context) -> Clock:
    """OSCG: 310 MHz nominally, divided (Lattice FPGA-TN-02200, "Internal Oscillator")."""
    kinds = context.configuration.database.tiles
    tiles = [tile for tile in kinds if context.configuration.patterns(tile, "OSC.DIV")]
    divider = context.configuration.group_choice(tiles, "OSC.DIV")
    if divider is None or not any(context.configuration.group_choice([t], "OSC.MODE") == "OSCG" for t in tiles):
        raise UnsupportedConfiguration("the internal oscillator clocks a cell, but it is not switched on")
    # The database calls the largest divider, 128, by the number that its bits stand for (nextpnr: `write_osc`).
    return Clock("OSCG", Fraction(128 if divider == "127" else int(divider), _OSCILLATOR_HZ))


def _buffer_input(context: Context, output: Wire) -> Wire:
    """The source behind a clock buffer."""
    buffer = output.name.removeprefix("G_CLKO_")
    source = context.routing.source(Wire(0, 0, f"G_CLKI_{buffer}"))
    if not isinstance(source, Wire):
        raise UnsupportedConfiguration(f"clock buffer {buffer} has no input")
    return source


def expand_buffer(context: Context, wire: Wire, net: Net) -> None:
    """A buffered clock that is used as data."""
    if _buffer_enable(context, wire) == ONE:
        context.drive(net, _BUFFER, context.net_of(_buffer_input(context, wire)))
    else:
        context.drive(net, _BUFFER, context.clock_level(_clock(context, wire, str(wire))))


def expand_clock(context: Context, wire: Wire, net: Net) -> None:
    """The output of a cell that makes clocks, used as data."""
    context.drive(net, _BUFFER, context.clock_level(_clock(context, wire, str(wire))))


# -- phase-locked loops -----------------------------------------------------------------------------------------------


def _pll_tiles(context: Context, wire: Wire) -> list[Tile]:
    """The configuration tiles of the PLL whose wires are at a place."""
    for first in context.configuration.database.tiles:
        offset = _PLL_OFFSET.get(first.kind)
        if offset and (first.x + offset[0], first.y + offset[1]) == (wire.x, wire.y):
            kinds = _PLL_TILES[first.kind]
            near = [(first.x + dx, first.y + dy) for dx in (-1, 0, 1) for dy in (0, 1)]
            return [t for x, y in near for t in context.configuration.tiles_at(x, y) if t.kind in kinds]
    raise UnsupportedConfiguration(f"no PLL at {wire}")


def _pll_clock(context: Context, wire: Wire) -> Clock:
    """Frequency of one output of a PLL, from its dividers (Lattice FPGA-TN-02200, "PLL divider")."""
    where = place(wire, "EHXPLLL")
    tiles = _pll_tiles(context, wire)

    def divider(name: str) -> int:
        value = context.configuration.group_word(tiles, f"{name}_DIV")
        if value is None:
            raise UnsupportedCell("EHXPLLL", where, f"its {name} divider is unknown")
        return value + 1

    def choice(name: str) -> str | None:
        return context.configuration.group_choice(tiles, name)

    if choice("MODE") != "EHXPLLL":
        raise UnsupportedCell("EHXPLLL", where, "its output is used but it is not switched on")
    if choice("SYNC_ENABLE") == "ENABLED":
        raise UnsupportedCell("EHXPLLL", where, "its outputs wait for their ENCLK inputs (SYNC_ENABLE)")
    output = re.sub(r"^J|_PLL$", "", wire.name)
    if choice(f"{output}_ENABLE") != "ENABLED":
        raise UnsupportedCell("EHXPLLL", where, f"its output {output} is used but it is not switched on")
    _refuse_dynamic_pll(context, wire, where, choice)
    reference = context.routing.source(Wire(wire.x, wire.y, "CLKI_PLL"))
    if not isinstance(reference, Wire):
        raise UnsupportedCell("EHXPLLL", where, "it has no reference clock")
    source = _running(context, reference, where, "EHXPLLL")
    feedback = _feedback_output(context, wire, choice("FEEDBK_PATH") or "", where)
    for used in (output, feedback):
        mux = f"OUTDIVIDER_MUX{_OUTPUT_LETTERS[used]}"
        if choice(mux) == "REFCLK":
            raise UnsupportedCell("EHXPLLL", where, f"{mux} is REFCLK")
    # Period of the PLL's own oscillator. The output that closes the loop rises with the reference.
    step_s = source.period_s * divider("CLKI") / (divider("CLKFB") * divider(feedback))
    _refuse_out_of_range("phase detector", source.period_s * divider("CLKI"), where)
    _refuse_out_of_range("oscillator", step_s, where)
    period_s = step_s * divider(output)
    late = _pll_phase(context, tiles, output, where) - _pll_phase(context, tiles, feedback, where)
    return Clock(f"{output} of the PLL at R{wire.y}C{wire.x}", period_s, (source.first_s + late * step_s) % period_s)


def _refuse_out_of_range(part: str, period_s: Fraction, where: str) -> None:
    """Refuse a PLL whose parts would run at a frequency at which it does not lock."""
    low, high = _PLL_RANGES_HZ[part]
    if not low <= 1 / period_s <= high:
        range_ = f"outside {low / 1e6:g} to {high / 1e6:g} MHz"
        raise UnsupportedCell("EHXPLLL", where, f"its {part} would run at {float(1 / period_s) / 1e6:g} MHz, {range_}")


def _pll_phase(context: Context, tiles: list[Tile], output: str, where: str) -> Fraction:
    """By how many periods of the PLL's oscillator an output is late."""
    coarse = context.configuration.group_word(tiles, f"{output}_CPHASE")
    fine = context.configuration.group_word(tiles, f"{output}_FPHASE")
    if coarse is None or fine is None:
        raise UnsupportedCell("EHXPLLL", where, f"the phase of its output {output} is unknown")
    return coarse + Fraction(fine, 8)


def _feedback_output(context: Context, wire: Wire, path: str, where: str) -> str:
    """Which output closes the loop."""
    if path.startswith("INT_"):
        return {"INT_OP": "CLKOP", "INT_OS": "CLKOS", "INT_OS2": "CLKOS2", "INT_OS3": "CLKOS3"}[path]
    source = context.routing.source(Wire(wire.x, wire.y, "CLKFB_PLL"))
    while isinstance(source, Wire) and source.name.startswith("G_CLKO_"):
        source = _buffer_input(context, source)
    if isinstance(source, Wire) and source.name.startswith("JCLKO") and (source.x, source.y) == (wire.x, wire.y):
        return re.sub(r"^J|_PLL$", "", source.name)
    raise UnsupportedCell("EHXPLLL", where, f"its feedback {path or 'path'} comes from {source}")


_PLL_CONTROLS = {
    "RST": "PLLRST_ENA",
    "STDBY": "STDBY_ENABLE",
    "PHASESTEP": "DPHASE_SOURCE",
    "PHASELOADREG": "DPHASE_SOURCE",
}
"""Inputs that change a PLL while it runs, and the setting that makes it listen to them."""


_PLL_STOPS = ("RST", "STDBY")
"""Those of them under which it stands still."""


def _refuse_dynamic_pll(context: Context, wire: Wire, where: str, choice: Callable[[str], str | None]) -> None:
    """A PLL that logic resets or shifts does not have one frequency, and one that is always reset has none."""
    for pin, setting in _PLL_CONTROLS.items():
        if choice(setting) != "ENABLED":
            continue
        net = context.net(Wire(wire.x, wire.y, f"J{pin}_PLL"))
        if net not in (ZERO, ONE):
            raise UnsupportedCell("EHXPLLL", where, f"its input {pin} is driven by logic")
        if net == ONE and pin in _PLL_STOPS:
            raise UnsupportedCell("EHXPLLL", where, f"its input {pin} is always on")


def expand_lock(context: Context, wire: Wire, net: Net) -> None:
    """A PLL's LOCK: the design's clock only exists while it is one."""
    context.drive(net, _BUFFER, ONE)


# -- chip-wide reset --------------------------------------------------------------------------------------------------


def chip_reset(context: Context) -> Net | None:
    """The net that is one while the design holds the chip-wide reset, or None if it does not use it."""
    key = "chip reset"
    if key not in context.built:
        context.built[key] = _build_chip_reset(context)
    known = context.built[key]
    return known if isinstance(known, int) else None


def _build_chip_reset(context: Context) -> Net | None:
    for (x, y), tiles in context.configuration.tiles.items():
        for tile in tiles:
            mode = tile.choices.get("GSR.GSRMODE", "NONE")
            if tile.tile.kind == "EFB0_PICB0" and mode != "NONE":
                # The database keeps the cell's wires one row above the tile that configures it.
                return _reset_net(context, Wire(x, y - 1, "JGSR_GSR"), mode)
    return None


def _reset_net(context: Context, wire: Wire, mode: str) -> Net:
    net = context.net(wire)
    active = context.invert(net) if mode == "ACTIVE_LOW" else net
    synchronous = any(
        tile.choices.get("GSR.SYNCMODE") == "SYNC" for tiles in context.configuration.tiles.values() for tile in tiles
    )
    if not synchronous:
        return active
    # Synchronous release: the reset begins at once, and ends with the second edge of the design's clock after its input
    # has; as in the vendor's simulation model. Its registers begin as all others of a model do, with zero: in reset.
    where = place(wire, "SGSR")
    clock = require_clock(context, Wire(wire.x, wire.y, "JCLK_GSR"), where)

    def held(d: Net, force: Net) -> Net:
        register = Register(d, ONE, force, value=1, falling=False, place=where, clock=clock, force=force)
        output = context.netlist.add(RegisterOutput(context.netlist.add_register(register)))
        return context.function(OR, output, force)

    return held(held(active, ZERO), active)
