"""Refuse, by name, everything in a configuration that this board would otherwise pass over in silence.

Each setting that differs from an erased chip must be one that some cell module reads, or one that has no influence on
what the design computes (drive strengths, bank voltages, ties).
"""

from __future__ import annotations

import functools
import re

from lutlab_virtual_board.configuration import Configuration, TileConfiguration
from lutlab_virtual_board.errors import UnsupportedCell, UnsupportedConfiguration
from lutlab_virtual_board.trellis import STRIDE

_EXECUTED = re.compile(
    r"SLICE[A-D]\..*|CLK[01]\.CLKMUX|LSR[01]\.(LSRMUX|SRMODE)"  # slices
    r"|CIB\.\w+MUX"  # constant ties
    r"|EBR[0-3]\..*|MULT18_[0145]\..*|DSP_(LEFT|RIGHT)\.CIBOUT"
    r"|ALU54_[37]\..*"  # shares most of its bits with the multipliers beside it, and is looked at as a whole
    r"|GSR\.(GSRMODE|SYNCMODE)|DCC_[LRTB]\d+\.MODE"
    r"|DCS\d\.DCSMODE|CLKDIV_[LR]\d\.(DIV|GSR)"
    r"|PIO[A-D]\.(BASE_TYPE|DATAMUX_\w+|TRIMUX_\w+)"
    # Which registers a pad has is looked at where its pad is used, over all tiles that configure it.
    r"|IOLOGIC[A-D]\.(MODE|IDDRXN\.MODE|ODDRXN\.MODE|FF\.\w+|OUTREG\.\w+|TSREG\.\w+|SRMODE|LSR\w*|CE\w*|CLK\w*|GSR)"
    # A release's register has the bit of this one (MTDDRX.MODE, which switches that on, is refused).
    r"|IOLOGIC[A-D]\.MTDDRX\.REGSET"
    r"|IOLOGIC[A-D]\.(IOLTOMUX|LOADNMUX|DELAY\.(DEL_VALUE|OUTDEL|WAIT_FOR_EDGE))"
    r"|OSC\.(MODE|DIV)"
)
_HARMLESS = re.compile(
    r"PIO[A-D]\.(CLAMP|DRIVE|HYSTERESIS|OPENDRAIN|PULLMODE|SLEWRATE|DIFFRESISTOR|TERMINATION\w*)"
    r"|BANK\..*|SYSCONFIG\..*|BOOTADDR|CCLK\.SLEWRATE"
)
_PLL_TILE = re.compile(r"PLL[01]_.*|BANKREF[48]")
_CELL_OF = {
    "OSC": "OSCG",
    "CCLK": "USRMCLK",
    "JTAG": "JTAGG",
    "SED": "SEDGA",
    "DTR": "DTR",
    "DCU": "DCUA",
    "EXTREF": "EXTREFB",
    "DQS": "DQSBUFM",
    "DDRDLL": "DDRDLLA",
}
"""The vendor's name of the cell that a setting's prefix belongs to."""

_CELLS_OF_MANY = {
    "IOLOGIC": "IOLOGIC",
    "CLKDIV": "CLKDIVF",
    "DCS": "DCSC",
    "ECLKSYNC": "ECLKSYNCB",
    "BRGECLKSYNC": "ECLKSYNCB",
    "ECLKBRIDGECS": "ECLKBRIDGECS",
    "DLLDEL": "DLLDELD",
    "PCSCLKDIV": "PCSCLKDIV",
}
"""Likewise by how a prefix begins that also says which of several cells it is."""

_PLAIN_FABRIC = re.compile(r"PLC2|CIB|CIB_(EBR|DSP|LR|LR_S)|MIB_EBR[0-8]|MIB2?_DSP[0-8]|TAP_DRIVE(_CIB)?")
"""Tiles where a set bit that no setting explains would be an unknown cell or route."""


def refuse_unsupported(configuration: Configuration) -> None:
    """Check every tile that is not erased.

    Raises:
        UnsupportedCell: a tile uses a cell, or a mode of one, that is not executed.
        UnsupportedConfiguration: a fabric tile has set bits of unknown meaning.
    """
    for tiles in configuration.tiles.values():
        for tile in tiles:
            for name in (*tile.choices, *tile.words):
                if not _is_harmless(name):
                    _check(tile, name)
            if tile.unexplained and _PLAIN_FABRIC.fullmatch(tile.tile.kind):
                known = _mode_bits(configuration, tile)
                bits = ", ".join(f"F{bit // STRIDE}B{bit % STRIDE}" for bit in tile.unexplained if not known >> bit & 1)
                if bits:
                    raise UnsupportedConfiguration(f"tile {tile.tile.name} has bits of unknown meaning: {bits}")


def _mode_bits(configuration: Configuration, tile: TileConfiguration) -> int:
    """The bits of a tile that a block RAM's mode sets.

    No mode explains them where an inverter sets a bit that the mode wants clear; see `block_ram`.
    """
    known = 0
    for index in range(4):
        for bits in configuration.patterns(tile.tile, f"EBR{index}.MODE").values():
            known |= bits
    return known


@functools.lru_cache(maxsize=1 << 12)
def _is_harmless(name: str) -> bool:
    """Whether a setting is executed, or changes nothing, wherever it is."""
    return bool(_EXECUTED.fullmatch(name) or _HARMLESS.fullmatch(name))


def _check(tile: TileConfiguration, name: str) -> None:
    if "." not in name and _PLL_TILE.fullmatch(tile.tile.kind):
        return
    if name == "CCLK.MODE" and tile.choices.get("OSC.MODE") == "OSCG":
        # Its bit is one of the oscillator's divider here (nextpnr: `OSCG`); USRMCLK has one in another tile too.
        return
    prefix = name.partition(".")[0]
    value = tile.choices.get(name) or str(tile.words.get(name))
    raise UnsupportedCell(_cell_name(prefix), f"tile {tile.tile.name}", f"{name} is {value}")


def _cell_name(prefix: str) -> str:
    if prefix in _CELL_OF:
        return _CELL_OF[prefix]
    for start, cell in _CELLS_OF_MANY.items():
        if prefix.startswith(start):
            return f"{cell} ({prefix})"
    return prefix
