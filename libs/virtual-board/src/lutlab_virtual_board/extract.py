"""From a configured chip to a netlist: walk back from the output pins through every cell that matters."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from lutlab_virtual_board.bulk_chip import BulkChip
from lutlab_virtual_board.bulk_design import BulkDesign, BulkNetlist
from lutlab_virtual_board.cells import alu, block_ram, clocking, multiplier, pad_logic, pads, slices
from lutlab_virtual_board.cells.context import BulkContext, Context
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.inventory import refuse_unsupported
from lutlab_virtual_board.netlist import Net, Netlist, PinInput
from lutlab_virtual_board.simplify import combinational_inputs
from lutlab_virtual_board.wires import NAME_SHIFT, Wire, name_of, wire_of

_FREQUENT: tuple[tuple[re.Pattern[str], Callable[[Context, int, Net], None]], ...] = (
    (re.compile(r"F\d_SLICE"), slices.expand_lut),
    (re.compile(r"Q\d_SLICE"), slices.expand_register),
)
"""These take the wire's number."""

_EXPANDERS: tuple[tuple[re.Pattern[str], Callable[[Context, Wire, Net], None]], ...] = (
    (re.compile(r"F5[A-D]_SLICE"), slices.expand_mux5),
    (re.compile(r"FX[A-D]_SLICE"), slices.expand_mux6),
    (re.compile(r"FCO[ABC]?_SLICE"), slices.expand_carry),
    (re.compile(r"FCI_SLICE"), slices.expand_open_carry),
    (re.compile(r"JDO[AB]\d+_EBR"), block_ram.expand),
    (re.compile(r"J(P\d+|RO[AB]\d+|SIGNEDP)_MULT18"), multiplier.expand),
    (re.compile(r"J(R\d+|CO\d+|SIGNEDR|EQ\w+|OVER|UNDER|OVERUNDER)_ALU54"), alu.expand),
    (re.compile(r"JPADDI[A-D]_PIO"), pads.expand_input),
    (re.compile(r"(INDD|JINFF|JRXDATA\d)[A-D]_S?IOLOGIC"), pad_logic.expand_input),
    (re.compile(r"G_CLKO_\w+"), clocking.expand_buffer),
    (re.compile(r"JLOCK_PLL"), clocking.expand_lock),
    (re.compile(r"JCLKO\w*_PLL|G_JOSC_OSC|G_DCSOUT_DCS\d|JCDIVX_CLKDIV\d"), clocking.expand_clock),
)


def extract(configuration: Configuration, package: str, clock_pin: str, clock_hz: int) -> Netlist:
    """The netlist of everything that some output pin depends on.

    Args:
        configuration: of the chip.
        package: in nextpnr's spelling, e.g. `CABGA381`.
        clock_pin: the pin where the board's oscillator is.
        clock_hz: the oscillator's frequency.

    Raises:
        UnsupportedConfiguration: the design uses something this board does not execute.
    """
    refuse_unsupported(configuration)
    if configuration.bulk:
        return _extract_in_bulk(configuration.bulk, BulkContext(configuration, package, clock_pin, clock_hz))
    context = Context(configuration, package, clock_pin, clock_hz)
    for pin, net in pads.outputs(context):
        context.netlist.outputs[pin] = net
    while context.pending:
        source, net = context.pending.pop()
        if context.netlist.drivers[net] is None:
            _expander(source >> NAME_SHIFT)(context, source, net)
    return context.netlist


def _extract_in_bulk(chip: BulkChip, context: BulkContext) -> Netlist:
    """The same, with nets and slices in C."""
    names, cells = slices.bulk_names()

    def expand(source: int, net: Net) -> None:
        _expander(source >> NAME_SHIFT)(context, source, net)

    def clock(register: int, line: int) -> int:
        return clocking.require_clock_at(context, line, slices.register_place(register))

    design = BulkDesign(chip, names, cells, expand=expand, clock=clock, chip_reset=lambda: clocking.chip_reset(context))
    try:
        netlist = BulkNetlist(design)
        context.attach(netlist)
        for pin, net in pads.outputs(context):
            netlist.outputs[pin] = net
        design.extract()
        netlist.finish(design.finish(functools.partial(combinational_inputs, netlist), slices.register_place))
    finally:
        design.close()
    return netlist


@functools.cache
def _expander(name: int) -> Callable[[Context, int, Net], None]:
    """What builds the cell that an output wire belongs to, by the number of the wire's name."""
    text = name_of(name)
    for pattern, build in _FREQUENT:
        if pattern.fullmatch(text):
            return build
    expand = next((expand for pattern, expand in _EXPANDERS if pattern.fullmatch(text)), _refuse)
    return lambda context, source, net: expand(context, wire_of(source), net)


def _refuse(_context: Context, wire: Wire, _net: Net) -> None:
    raise UnsupportedCell(wire.name, f"R{wire.y}C{wire.x}", "it is used as a signal")


def pulls(configuration: Configuration, package: str, netlist: Netlist) -> dict[str, int]:
    """The level of each pin that a netlist reads and the board leaves open, by its pull resistor."""
    context = Context(configuration, package, clock_pin="", clock_hz=0)
    pins = {driver.pin for driver in netlist.drivers if isinstance(driver, PinInput)}
    return {pin: pads.pull(context, pin) for pin in sorted(pins)}
