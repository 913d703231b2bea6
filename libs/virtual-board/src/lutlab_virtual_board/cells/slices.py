"""Slices: LUTs, their expanding multiplexers, carry chains, distributed RAM and registers.

A PLC2 tile has slices A to D of two LUTs and two registers each; LUT and register n belong to slice n // 2. Source:
Lattice FPGA-DS-02012 "ECP5 Family", section "Slice"; Project Trellis, tile PLC2.
"""

from __future__ import annotations

from lutlab_virtual_board.cells.clocking import chip_reset, require_clock
from lutlab_virtual_board.cells.context import AND, OR, SELECT, Context, number, place
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import ONE, ZERO, DistributedRam, Function, Net, RamOutput, Register, RegisterOutput
from lutlab_virtual_board.wires import Wire, wire_at

_SLICES = "ABCD"
_LUT_INIT_ERASED = 0xFFFF
_BUFFER = 0b10
_XOR = 0b0110

_WRITE_DATA = {0: ("C", 1), 1: ("A", 1), 2: ("D", 1), 3: ("B", 1)}
"""Which input of slice C carries the write data of LUT n in RAM mode."""


def _slice(index: int) -> str:
    return f"SLICE{_SLICES[index // 2]}"


_PINS = {
    (index, letter): (f"{_slice(index)}.{letter}{index % 2}MUX", f"{letter}{index}_SLICE")
    for index in range(8)
    for letter in "ABCDM"
}
"""For each input of a LUT or register the choice that ties it to one, and its wire."""

_LUT_PINS = [[_PINS[index, letter] for letter in "ABCD"] for index in range(8)]
_INITS = [f"{_slice(index)}.K{index % 2}.INIT" for index in range(8)]
_MODES = [f"{_slice(index)}.MODE" for index in range(8)]


def _pin(context: Context, x: int, y: int, index: int, letter: str) -> Net:
    """Input A, B, C, D or M of LUT or register `index`."""
    tied, wire = _PINS[index, letter]
    if context.configuration.choices(x, y).get(tied) == "1":
        return ONE
    return context.net(Wire(x, y, wire))


def _inputs(context: Context, x: int, y: int, index: int) -> tuple[Net, ...]:
    choices, net = context.configuration.choices(x, y), context.net
    return tuple([ONE if choices.get(tied) == "1" else net(wire_at(x, y, wire)) for tied, wire in _LUT_PINS[index]])


def _init(context: Context, x: int, y: int, index: int) -> int:
    return context.configuration.words(x, y).get(_INITS[index], _LUT_INIT_ERASED)


def _mode(context: Context, x: int, y: int, index: int) -> str:
    return context.choice(x, y, _MODES[index], "LOGIC")


def expand_lut(context: Context, wire: Wire, net: Net) -> None:
    """A LUT's output: logic, the sum of a carry cell, or a RAM's data."""
    index = number(wire.name)
    mode = _mode(context, wire.x, wire.y, index)
    if mode == "LOGIC":
        context.drive(net, _init(context, wire.x, wire.y, index), *_inputs(context, wire.x, wire.y, index))
    elif mode == "CCU2":
        _carry_half(context, wire.x, wire.y, index)
    elif mode == "DPRAM":
        _distributed_ram(context, wire, net, index)
    else:
        raise UnsupportedCell(f"slice mode {mode}", place(wire, _slice(index)), "its LUT is used as logic")


def expand_mux5(context: Context, wire: Wire, net: Net) -> None:
    """PFUMX: M selects between the slice's two LUTs."""
    index = 2 * _SLICES.index(wire.name[2])
    _mux(context, wire, net, index, (f"F{index}_SLICE", f"F{index + 1}_SLICE"))


def expand_mux6(context: Context, wire: Wire, net: Net) -> None:
    """L6MUX21: M selects between two other multiplexers."""
    letter = wire.name[2]
    _mux(context, wire, net, 2 * _SLICES.index(letter) + 1, (f"FXA{letter}_SLICE", f"FXB{letter}_SLICE"))


def _mux(context: Context, wire: Wire, net: Net, index: int, names: tuple[str, str]) -> None:
    """M of `index` selects between two wires of the tile, the first for zero."""
    low, high = (context.net(Wire(wire.x, wire.y, name)) for name in names)
    context.drive(net, SELECT, low, high, _pin(context, wire.x, wire.y, index, "M"))


def expand_carry(context: Context, wire: Wire, net: Net) -> None:
    """The carry out of a slice.

    Where the slice is no carry cell, a chain starts in the next one, whose carry in is then ignored.
    """
    letter = wire.name[3] if wire.name[3] != "_" else "D"
    index = 2 * _SLICES.index(letter)
    if _mode(context, wire.x, wire.y, index) == "CCU2":
        _carry_half(context, wire.x, wire.y, index + 1)
    else:
        context.drive(net, _BUFFER, ZERO)


def _carry_half(context: Context, x: int, y: int, index: int) -> None:
    """Drive sum and carry out of one half of a carry cell, and of the half before it if this is the second."""
    key = ("carry", x, y, index)
    if key in context.built:
        return
    context.built[key] = None
    name, half = _slice(index), index % 2
    letter = name[-1]
    if half:
        _carry_half(context, x, y, index - 1)
        carry_in = context.output(Wire(x, y, f"_CARRY{letter}"))
        carry_out = Wire(x, y, "FCO_SLICE" if letter == "D" else f"FCO{letter}_SLICE")
    else:
        carry_in = context.net(Wire(x, y, "FCI_SLICE" if letter == "A" else f"FCI{letter}_SLICE"))
        carry_out = Wire(x, y, f"_CARRY{letter}")
    inputs, init = _inputs(context, x, y, index), _init(context, x, y, index)
    lut = context.function(init, *inputs)
    total, carry = context.output(Wire(x, y, f"F{index}_SLICE")), context.output(carry_out)
    if context.choice(x, y, f"{name}.CCU2.INJECT1_{half}", "YES") == "YES":
        context.drive(total, _BUFFER, lut)
        context.drive(carry, AND, lut, carry_in)
    else:
        generate = context.function(init & 0xF, inputs[0], inputs[1])
        context.drive(total, _XOR, lut, carry_in)
        context.drive(carry, SELECT, generate, carry_in, lut)


def _distributed_ram(context: Context, wire: Wire, net: Net, index: int) -> None:
    """One bit of a 16 x 4 RAM: slices A and B hold it, slice C passes on the write address and data."""
    x, y = wire.x, wire.y
    if _mode(context, x, y, 4) != "RAMW":
        raise UnsupportedCell("DPRAM", place(wire, _slice(index)), "slice C of its tile is not in mode RAMW")
    letter, half = _WRITE_DATA[index]
    clock = require_clock(context, Wire(x, y, f"WCK{index // 2}_SLICE"), place(wire, _slice(index)))
    ram = DistributedRam(
        # A read and a write address bit pair where they have the same pin, in the LUT and in slice C.
        read=_inputs(context, x, y, index),
        write=_inputs(context, x, y, 4),
        data=_pin(context, x, y, 4 + half, letter),
        enable=_write_enable(context, x, y, index),
        value=_init(context, x, y, index),
        falling=context.choice(x, y, "CLK1.CLKMUX", "CLK") == "INV",
        place=place(wire, _slice(index)),
        clock=clock,
    )
    context.netlist.rams.append(ram)
    context.netlist.drivers[net] = RamOutput(len(context.netlist.rams) - 1)


def _write_enable(context: Context, x: int, y: int, index: int) -> Net:
    mux = context.choice(x, y, "SLICEA.WREMUX", "WRE")
    if mux in ("0", "1"):
        return int(mux)
    enable = context.net(Wire(x, y, f"WRE{index // 2}_SLICE"))
    return context.invert(enable) if mux == "INV" else enable


def expand_register(context: Context, wire: Wire, net: Net) -> None:
    """A slice's flip-flop with enable, set or reset (synchronous or not), and the chip-wide reset."""
    x, y, index = wire.x, wire.y, number(wire.name)
    name, where = _slice(index), place(wire, f"{_slice(index)} register {index % 2}")
    register = f"{name}.REG{index % 2}"
    if context.choice(x, y, f"{register}.LSRMODE", "LSR") != "LSR":
        raise UnsupportedCell("FF with preload (LSRMODE PRLD)", where)
    value = 1 if context.choice(x, y, f"{register}.REGSET", "SET") == "SET" else 0
    direct = context.choice(x, y, f"{register}.SD", "1") == "0"
    d = _pin(context, x, y, index, "M") if direct else context.net(Wire(x, y, f"DI{index}_SLICE"))
    reset, asynchronous = _register_reset(context, x, y, index, where)
    clock, falling = _register_clock(context, x, y, index, where)
    state = Register(
        d=d,
        enable=_register_enable(context, x, y, index),
        reset=reset,
        value=value,
        falling=falling,
        place=where,
        clock=clock,
    )
    chip_wide = context.choice(x, y, f"{name}.GSR", "ENABLED") == "ENABLED"
    add_register(context, net, state, reset if asynchronous else ZERO, chip_wide)


def add_register(context: Context, net: Net, register: Register, force: Net, chip_wide: bool) -> None:
    """Let a register drive a net.

    Args:
        context: of the extraction.
        net: that it drives.
        register: with its own reset.
        force: what resets it without its clock.
        chip_wide: it is under the chip-wide reset too.
    """
    context.netlist.registers.append(register)
    driver = RegisterOutput(len(context.netlist.registers) - 1)
    chip = chip_reset(context) if chip_wide else None
    if chip is not None:
        register.reset = context.function(OR, register.reset, chip)
        force = context.function(OR, force, chip)
    register.force = force
    if force == ZERO:
        context.netlist.drivers[net] = driver
        return
    held = context.netlist.add(driver)
    forced = ONE if register.value else ZERO
    context.netlist.drivers[net] = Function(SELECT, (held, forced, force))


def _register_enable(context: Context, x: int, y: int, index: int) -> Net:
    mux = context.choice(x, y, f"{_slice(index)}.CEMUX", "CE")
    if mux in ("0", "1"):
        return int(mux)
    enable = context.net(Wire(x, y, f"CE{index // 2}_SLICE"))
    return context.invert(enable) if mux == "INV" else enable


def _register_clock(context: Context, x: int, y: int, index: int, where: str) -> tuple[int, bool]:
    """The number of the register's clock, and whether it acts on the falling edge."""
    line = context.configuration.arcs.get(Wire(x, y, f"MUXCLK{index // 2}"))
    if line is None:
        raise UnsupportedCell("FF without a clock", where)
    clock = require_clock(context, line, where)
    return clock, context.choice(x, y, f"{line.name}.CLKMUX", "CLK") == "INV"


def _register_reset(context: Context, x: int, y: int, index: int, where: str) -> tuple[Net, bool]:
    """The register's own set or reset net, and whether it acts without the clock."""
    line = context.configuration.arcs.get(Wire(x, y, f"MUXLSR{index // 2}"))
    if line is None:
        return ZERO, False
    source = context.routing.source(line)
    if source is None:
        raise UnsupportedCell("FF whose reset line floats", where)
    reset = context.net_of(source)
    if context.choice(x, y, f"{line.name}.LSRMUX", "LSR") == "INV":
        reset = context.invert(reset)
    return reset, context.choice(x, y, f"{line.name}.SRMODE", "LSR_OVER_CE") == "ASYNC"
