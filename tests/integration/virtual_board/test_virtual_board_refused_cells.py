"""Cells that the board does not execute, and what a PLL or a pad's delay is not executed with, each refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from vb_flips import flips_to
from vb_toolchain import Build

import lutlab_profiles
from lutlab_virtual_board.bitstream import Bitstream, parse
from lutlab_virtual_board.cells.context import Context
from lutlab_virtual_board.cells.pad_tiles import pad_tiles
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.errors import UnsupportedCell
from lutlab_virtual_board.inventory import refuse_unsupported
from lutlab_virtual_board.programming import Translator
from lutlab_virtual_board.routing import Routing
from lutlab_virtual_board.wires import Wire

CELLS: list[tuple[str, str, str | int]] = [
    ("USRMCLK", "CCLK.MODE", "USRMCLK"),
    ("JTAGG", "JTAG.ER1", "ENABLED"),
    ("JTAGG", "JTAG.ER2", "ENABLED"),
    ("SEDGA", "SED.CHECKALWAYS", "ENABLED"),
    ("SEDGA", "SED.CLK_FREQ", "2.4"),
    ("DTR", "DTR.MODE", "DTR"),
    ("DQSBUFM", "DQS.MODE", "DQSBUFM"),
    ("DDRDLLA", "DDRDLL.MODE", "DDRDLLA"),
    ("DLLDELD", "DLLDEL_70.DEL_ADJ", "MINUS"),
    ("DLLDELD", "DLLDEL_70.DEL_VAL", 1),
    ("ECLKSYNCB", "ECLKSYNC0_BK7.MODE", "ECLKSYNCB"),
    ("ECLKSYNCB", "BRGECLKSYNC1.MODE", "ECLKSYNCB"),
    ("ECLKBRIDGECS", "ECLKBRIDGECS1.MODE", "ECLKBRIDGECS"),
    ("PCSCLKDIV", "PCSCLKDIV0.GSR", "DISABLED"),
    ("DCUA", "DCU.CH0_TPWDNB", 1),
    ("EXTREFB", "EXTREF.REFCK_PWDNB", 1),
]
"""A cell, and a setting of it that differs from an erased chip's."""

PLL: list[tuple[str, str | int, str]] = [
    ("PLLRST_ENA", "ENABLED", "its input RST is driven by logic"),
    ("STDBY_ENABLE", "ENABLED", "its input STDBY is driven by logic"),
    ("DPHASE_SOURCE", "ENABLED", "its input PHASESTEP is driven by logic"),
    ("SYNC_ENABLE", "ENABLED", "its outputs wait for their ENCLK inputs"),
    ("CLKOS_ENABLE", "DISABLED", "its output CLKOS is used but it is not switched on"),
    ("OUTDIVIDER_MUXB", "REFCLK", "OUTDIVIDER_MUXB is REFCLK"),
    ("MODE", "NONE", "its output is used but it is not switched on"),
    ("CLKFB_DIV", 1, "its oscillator would run at 1200 MHz, outside 400 to 800 MHz"),
    ("CLKI_DIV", 19, "its phase detector would run at 2.5 MHz, outside 3.125 to 400 MHz"),
    ("CLKI_DIV", 1, "its oscillator would run at 300 MHz, outside 400 to 800 MHz"),
]
"""A setting of a PLL of 600 MHz whose inputs are driven by logic."""


@pytest.mark.parametrize(("cell", "name", "value"), CELLS, ids=[name for _, name, _ in CELLS])
def test_a_cell_that_is_not_executed_is_refused_by_name(cache: Path, cell: str, name: str, value: str | int) -> None:
    database = Translator(lutlab_profiles.get("lfe5um-25f"), cache).database()
    frames = [0] * database.device.frames
    erased = Bitstream(idcode=database.device.idcode, usercode=0, frames=frames, brams={})
    refuse_unsupported(Configuration(database, erased))
    flips = list(flips_to(Configuration(database, erased), database.tiles, name, value))
    assert flips
    for frame, bit in flips:
        frames[frame] ^= 1 << bit
    with pytest.raises(UnsupportedCell, match=rf"^{cell}( \(\w+\))? at tile .*: [\w.]+ is \w+"):
        refuse_unsupported(Configuration(database, erased))


def test_wider_gearing_is_refused_by_name(cache: Path) -> None:
    database = Translator(lutlab_profiles.get("lfe5um-25f"), cache).database()
    erased = Bitstream(idcode=database.device.idcode, usercode=0, frames=[0] * database.device.frames, brams={})
    # The data of two pads end at this input of the fabric.
    with pytest.raises(UnsupportedCell, match=r"^IOLOGIC at R44C0 .*: wider gearing \(IDDRX2F, IDDR71B"):
        Routing(Configuration(database, erased)).source(Wire(1, 44, "JQ2"))


def configured(builds: Callable[[str], Build], translator: Translator, name: str) -> tuple[bytes, Configuration]:
    """A build's stream and what it says."""
    stream, database = builds(name).bit.read_bytes(), translator.database()
    return stream, Configuration(database, parse(stream, database.device))


@pytest.mark.parametrize(("name", "value", "message"), PLL)
def test_what_a_pll_is_not_executed_with_is_refused(
    builds: Callable[[str], Build], translator: Translator, name: str, value: str | int, message: str
) -> None:
    stream, configuration = configured(builds, translator, "pll")
    tiles = [tile for tile in configuration.database.tiles if re.match("PLL|BANKREF[48]", tile.kind)]
    flips = list(flips_to(configuration, tiles, name, value))
    with pytest.raises(UnsupportedCell, match=rf"EHXPLLL at R\d+C\d+ EHXPLLL .*: {re.escape(message)}"):
        translator.translate(stream, flipped=flips)


def test_a_carry_that_comes_from_nowhere_is_refused(builds: Callable[[str], Build], translator: Translator) -> None:
    stream, configuration = configured(builds, translator, "soc")
    modes = ("SLICEA.MODE", "SLICEB.MODE", "SLICEC.MODE")
    x, y = next(
        at for at in configuration.tiles if all(configuration.choices(*at).get(mode) == "CCU2" for mode in modes)
    )
    flips = list(flips_to(configuration, configuration.tiles_at(x, y), "SLICEA.MODE", "LOGIC"))
    assert len(flips) == 2
    with pytest.raises(UnsupportedCell, match=rf"CCU2C at R{y}C{x} SLICEB .*: its carry in is open"):
        translator.translate(stream, flipped=flips)


def test_a_delay_that_logic_moves_is_refused(builds: Callable[[str], Build], translator: Translator) -> None:
    with pytest.raises(UnsupportedCell, match=r"DELAYF at R\d+C\d+ .*: its input MOVE is driven by logic"):
        translator.translate(builds("moving_delay").bit.read_bytes())


def test_a_delay_that_its_pad_passes_by_is_refused(builds: Callable[[str], Build], translator: Translator) -> None:
    stream, configuration = configured(builds, translator, "soc")
    context = Context(configuration, translator.profile.package, clock_pin="", clock_hz=0)
    x, y, letter = context.pins[translator.profile.pins.tx]
    flips = flips_to(configuration, pad_tiles(context, x, y, letter), f"IOLOGIC{letter}.DELAY.OUTDEL", "ENABLED")
    with pytest.raises(UnsupportedCell, match=r"DELAYG at R\d+C\d+ .*: its pad does not take what it delays"):
        translator.translate(stream, flipped=flips)
