"""Slices: LUTs, their expanding multiplexers, carry chains, distributed RAM and registers.

A PLC2 tile has slices A to D of two LUTs and two registers each; LUT and register n belong to slice n // 2. Source:
Lattice FPGA-DS-02012 "ECP5 Family", section "Slice"; Project Trellis, tile PLC2.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from lutlab_virtual_board.bulk_design import NET_CARRY, NET_LUT, NET_MUX5, NET_MUX6, NET_REGISTER
from lutlab_virtual_board.cells.clocking import chip_reset, require_clock, require_clock_at
from lutlab_virtual_board.cells.context import AND, OR, SELECT, Context
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.netlist import (
    ONE,
    ZERO,
    DistributedRam,
    Net,
    OpenCarry,
    RamOutput,
    Register,
    RegisterOutput,
    function_of,
)
from lutlab_virtual_board.routing import FLOATING
from lutlab_virtual_board.wires import NAME_SHIFT, PLACE_MASK, Wire, name_number, name_of, place_key, place_of

_SLICES = "ABCD"
_LUT_INIT_ERASED = 0xFFFF
_BUFFER = 0b10
_XOR = 0b0110

_WRITE_DATA = {0: ("C", 1), 1: ("A", 1), 2: ("D", 1), 3: ("B", 1)}
"""Which input of slice C carries the write data of LUT n in RAM mode."""


def _slice(index: int) -> str:
    return f"SLICE{_SLICES[index // 2]}"


def _key(name: str) -> int:
    """The number of a wire, less that of its place."""
    return name_number(name) << NAME_SHIFT


_PINS = [
    {letter: (f"{_slice(index)}.{letter}{index % 2}MUX", _key(f"{letter}{index}_SLICE")) for letter in "ABCDM"}
    for index in range(8)
]
"""For each LUT and register and each of its inputs the choice that ties it to one, and its wire."""

_LUT_PINS = [[pins[letter] for letter in "ABCD"] for pins in _PINS]
_INITS = [f"{_slice(index)}.K{index % 2}.INIT" for index in range(8)]
_MODES = [f"{_slice(index)}.MODE" for index in range(8)]
_INDEX_OF = {name_number(f"{letter}{index}_SLICE"): index for index in range(8) for letter in "FQ"}
"""Which LUT or register an output belongs to, by the number of the wire's name."""


@dataclass(frozen=True, slots=True)
class _Carry:
    """Wires and choices of half a carry cell."""

    carry_in: int
    carry_out: int
    total: int
    inject: str


def _carry(index: int) -> _Carry:
    letter, half = _SLICES[index // 2], index % 2
    between = _key(f"_CARRY{letter}")
    carry_in = between if half else _key("FCI_SLICE" if letter == "A" else f"FCI{letter}_SLICE")
    carry_out = _key("FCO_SLICE" if letter == "D" else f"FCO{letter}_SLICE") if half else between
    return _Carry(carry_in, carry_out, _key(f"F{index}_SLICE"), f"{_slice(index)}.CCU2.INJECT1_{half}")


_CARRIES = [_carry(index) for index in range(8)]


@dataclass(frozen=True, slots=True)
class _RegisterNames:
    """Wires and choices of a register."""

    cell: str
    mode: str
    start: str
    direct: str
    data: int
    enable_mux: str
    enable: int
    clock: int
    reset: int
    chip_wide: str


def _register_names(index: int) -> _RegisterNames:
    name = _slice(index)
    register = f"{name}.REG{index % 2}"
    return _RegisterNames(
        cell=f"{name} register {index % 2}",
        mode=f"{register}.LSRMODE",
        start=f"{register}.REGSET",
        direct=f"{register}.SD",
        data=_key(f"DI{index}_SLICE"),
        enable_mux=f"{name}.CEMUX",
        enable=_key(f"CE{index // 2}_SLICE"),
        clock=_key(f"MUXCLK{index // 2}"),
        reset=_key(f"MUXLSR{index // 2}"),
        chip_wide=f"{name}.GSR",
    )


_REGISTERS = [_register_names(index) for index in range(8)]


def bulk_names() -> tuple[array[int], dict[int, tuple[int, int]]]:
    """The wires of slices as C has them; and of each cell's output, by the number of its name, the kind and index."""
    lines = [_key(f"{line}{number}") for line in ("CLK", "LSR") for number in range(2)]
    names = array("i", [pins[letter][1] for pins in _PINS for letter in "ABCDM"])
    names += array("i", [each.total for each in _CARRIES])
    names += array("i", [_key(f"FX{half}{letter}_SLICE") for half in "AB" for letter in _SLICES])
    names += array("i", [each.carry_in for each in _CARRIES] + [each.carry_out for each in _CARRIES])
    names += array("i", [each.data for each in _REGISTERS])
    for wires in ([each.enable for each in _REGISTERS], [each.clock for each in _REGISTERS]):
        names += array("i", wires[::2])
    names += array("i", [each.reset for each in _REGISTERS[::2]] + lines)
    cells = {name_number(f"F{index}_SLICE"): (NET_LUT, index) for index in range(8)}
    cells |= {name_number(f"Q{index}_SLICE"): (NET_REGISTER, index) for index in range(8)}
    for index, letter in enumerate(_SLICES):
        cells[name_number(f"F5{letter}_SLICE")] = NET_MUX5, index
        cells[name_number(f"FX{letter}_SLICE")] = NET_MUX6, index
        cells[_CARRIES[2 * index + 1].carry_out >> NAME_SHIFT] = NET_CARRY, index
    return names, cells


def register_place(source: int) -> str:
    """Where the register is whose output has this number, for messages."""
    return _place(source & PLACE_MASK, _REGISTERS[_INDEX_OF[source >> NAME_SHIFT]].cell)


def _pin(context: Context, at: int, index: int, letter: str) -> Net:
    """Input A, B, C, D or M of LUT or register `index`."""
    tied, wire = _PINS[index][letter]
    if context.configuration.settings(at)[0].get(tied) == "1":
        return ONE
    return context.net_at(wire + at)


def _inputs(context: Context, at: int, index: int) -> tuple[Net, ...]:
    choices, net = context.configuration.settings(at)[0], context.net_at
    return tuple([ONE if choices.get(tied) == "1" else net(wire + at) for tied, wire in _LUT_PINS[index]])


def _init(context: Context, at: int, index: int) -> int:
    return context.configuration.settings(at)[1].get(_INITS[index], _LUT_INIT_ERASED)


def _mode(context: Context, at: int, index: int) -> str:
    return context.configuration.settings(at)[0].get(_MODES[index], "LOGIC")


def expand_lut(context: Context, source: int, net: Net) -> None:
    """A LUT's output, by its number: logic, the sum of a carry cell, or a RAM's data. Raises: UnsupportedCell."""
    at, index = source & PLACE_MASK, _INDEX_OF[source >> NAME_SHIFT]
    choices, words = context.configuration.settings(at)
    mode = choices.get(_MODES[index], "LOGIC")
    if mode == "LOGIC":
        carried = context.net_at
        inputs = tuple([ONE if choices.get(tied) == "1" else carried(wire + at) for tied, wire in _LUT_PINS[index]])
        context.netlist.drive(net, function_of(words.get(_INITS[index], _LUT_INIT_ERASED), inputs))
    elif mode == "CCU2":
        _carry_half(context, at, index)
    elif mode == "DPRAM":
        _distributed_ram(context, at, net, index)
    else:
        raise UnsupportedCell(f"slice mode {mode}", _place(at, _slice(index)), "its LUT is used as logic")


def _place(at: int, cell: str) -> str:
    x, y = place_of(at)
    return f"R{y}C{x} {cell}"


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
    context.drive(net, SELECT, low, high, _pin(context, place_key(wire.x, wire.y), index, "M"))


def expand_carry(context: Context, wire: Wire, net: Net) -> None:
    """The carry out of a slice; where that is no carry cell, a chain starts in the next one."""
    letter = wire.name[3] if wire.name[3] != "_" else "D"
    index = 2 * _SLICES.index(letter)
    at = place_key(wire.x, wire.y)
    if _mode(context, at, index) == "CCU2":
        _carry_half(context, at, index + 1)
    else:
        after = place_key(wire.x + (letter == "D"), wire.y)
        context.netlist.drive(net, OpenCarry(_place(after, _slice((index + 2) % 8))))


def expand_open_carry(context: Context, wire: Wire, net: Net) -> None:
    """The carry into a tile's first slice where there is no tile before it."""
    context.netlist.drive(net, OpenCarry(_place(place_key(wire.x, wire.y), _slice(0))))


def _carry_half(context: Context, at: int, index: int) -> None:
    """Drive sum and carry out of one half of a carry cell, and of the half before it if this is the second."""
    wires = _CARRIES[index]
    key = ("carry", at, index)
    if key in context.built:
        return
    context.built[key] = None
    if index % 2:
        _carry_half(context, at, index - 1)
        carry_in = context.net_from(wires.carry_in + at)
    else:
        source = context.routing.source_key(wires.carry_in + at)
        carry_in = context.net_from(wires.carry_in + at if source == FLOATING else source)
    inputs, init = _inputs(context, at, index), _init(context, at, index)
    lut = context.function(init, *inputs)
    total, carry = context.net_from(wires.total + at), context.net_from(wires.carry_out + at)
    drive = context.drive
    if context.configuration.settings(at)[0].get(wires.inject, "YES") == "YES":
        drive(total, _BUFFER, lut)
        drive(carry, AND, lut, carry_in)
    else:
        generate = context.function(init & 0xF, inputs[0], inputs[1])
        drive(total, _XOR, lut, carry_in)
        drive(carry, SELECT, generate, carry_in, lut)


def _distributed_ram(context: Context, at: int, net: Net, index: int) -> None:
    """One bit of a 16 x 4 RAM: slices A and B hold it, slice C passes on the write address and data."""
    (x, y), where = place_of(at), _place(at, _slice(index))
    if _mode(context, at, 4) != "RAMW":
        raise UnsupportedCell("DPRAM", where, "slice C of its tile is not in mode RAMW")
    letter, half = _WRITE_DATA[index]
    clock = require_clock(context, Wire(x, y, f"WCK{index // 2}_SLICE"), where)
    ram = DistributedRam(
        # A read and a write address bit pair where they have the same pin, in the LUT and in slice C.
        read=_inputs(context, at, index),
        write=_inputs(context, at, 4),
        data=_pin(context, at, 4 + half, letter),
        enable=_write_enable(context, x, y, index),
        value=_init(context, at, index),
        falling=context.choice(x, y, "CLK1.CLKMUX", "CLK") == "INV",
        place=where,
        clock=clock,
    )
    context.netlist.rams.append(ram)
    context.netlist.drive(net, RamOutput(len(context.netlist.rams) - 1))


def _write_enable(context: Context, x: int, y: int, index: int) -> Net:
    mux = context.choice(x, y, "SLICEA.WREMUX", "WRE")
    if mux in ("0", "1"):
        return int(mux)
    enable = context.net(Wire(x, y, f"WRE{index // 2}_SLICE"))
    return context.invert(enable) if mux == "INV" else enable


def expand_register(context: Context, source: int, net: Net) -> None:
    """A slice's flip-flop, by the number of its output, with enable, set or reset (synchronous or not), and the
    chip-wide reset."""
    at, index = source & PLACE_MASK, _INDEX_OF[source >> NAME_SHIFT]
    names, choices = _REGISTERS[index], context.configuration.settings(at)[0]
    where = _place(at, names.cell)
    if choices.get(names.mode, "LSR") != "LSR":
        raise UnsupportedCell("FF with preload (LSRMODE PRLD)", where)
    value = 1 if choices.get(names.start, "SET") == "SET" else 0
    direct = choices.get(names.direct, "1") == "0"
    d = _pin(context, at, index, "M") if direct else context.net_at(names.data + at)
    reset, asynchronous = _register_reset(context, at, names, choices, where)
    clock, falling = _register_clock(context, at, names, choices, where)
    state = Register(
        d=d,
        enable=_register_enable(context, at, names, choices),
        reset=reset,
        value=value,
        falling=falling,
        place=where,
        clock=clock,
    )
    chip_wide = choices.get(names.chip_wide, "ENABLED") == "ENABLED"
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
    driver = RegisterOutput(context.netlist.add_register(register))
    chip = chip_reset(context) if chip_wide else None
    if chip is not None:
        register.reset = context.function(OR, register.reset, chip)
        force = context.function(OR, force, chip)
    register.force = force
    if force == ZERO:
        context.netlist.drive(net, driver)
        return
    held = context.netlist.add(driver)
    forced = ONE if register.value else ZERO
    context.drive(net, SELECT, held, forced, force)


def _register_enable(context: Context, at: int, names: _RegisterNames, choices: dict[str, str]) -> Net:
    mux = choices.get(names.enable_mux, "CE")
    if mux in ("0", "1"):
        return int(mux)
    enable = context.net_at(names.enable + at)
    return context.invert(enable) if mux == "INV" else enable


def _register_clock(
    context: Context, at: int, names: _RegisterNames, choices: dict[str, str], where: str
) -> tuple[int, bool]:
    """The number of the register's clock, and whether it acts on the falling edge."""
    line = context.configuration.links.get(names.clock + at)
    if line is None:
        raise UnsupportedCell("FF without a clock", where)
    clock = require_clock_at(context, line, where)
    return clock, choices.get(f"{name_of(line >> NAME_SHIFT)}.CLKMUX", "CLK") == "INV"


def _register_reset(
    context: Context, at: int, names: _RegisterNames, choices: dict[str, str], where: str
) -> tuple[Net, bool]:
    """The register's own set or reset net, and whether it acts without the clock."""
    line = context.configuration.links.get(names.reset + at)
    if line is None:
        return ZERO, False
    source = context.routing.source_key(line)
    if source == FLOATING:
        raise UnsupportedCell("FF whose reset line floats", where)
    reset, name = context.net_from(source), name_of(line >> NAME_SHIFT)
    if choices.get(f"{name}.LSRMUX", "LSR") == "INV":
        reset = context.invert(reset)
    return reset, choices.get(f"{name}.SRMODE", "LSR_OVER_CE") == "ASYNC"
