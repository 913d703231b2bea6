"""The decoder against the tools' own view of the same bits: ecpunpack's configuration, nextpnr's netlist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vb_oracles import Oracle, check_luts, check_registers, configuration_differences
from vb_toolchain import Build, pins_of, unpack

import lutlab_profiles
from lutlab_virtual_board import trellis
from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.extract import extract
from lutlab_virtual_board.netlist import Netlist
from lutlab_virtual_board.programming import Translator


@pytest.mark.parametrize(("name", "device"), [("everything", "LFE5U-25F"), ("soc85", "LFE5UM5G-85F")])
def test_the_configuration_is_what_ecpunpack_finds(
    builds: Callable[[str], Build], cache: Path, name: str, device: str
) -> None:
    built = builds(name)
    found, differences = configuration_differences(built, device, cache, unpack(built))
    assert found > 3000
    assert differences == []


def test_plain_and_compressed_bitstreams_are_alike(builds: Callable[[str], Build], cache: Path) -> None:
    for name, device in (("soc", "LFE5U-25F"), ("soc85", "LFE5UM5G-85F")):
        geometry = trellis.load(device, cache).device
        built = builds(name)
        assert parse(built.bit.read_bytes(), geometry) == parse(built.raw_bit.read_bytes(), geometry)


@pytest.fixture(scope="module")
def placed(builds: Callable[[str], Build], translator: Translator) -> tuple[Oracle, Netlist]:
    built = builds("everything")
    database = translator.database()
    configuration = Configuration(database, parse(built.bit.read_bytes(), database.device))
    profile = lutlab_profiles.get("lfe5u-25f")
    netlist = extract(configuration, profile.package, pins_of(profile)["clk"], profile.clk_hz)
    return Oracle(built.path("pnr.json")), netlist


def test_luts_are_the_functions_that_nextpnr_placed(placed: tuple[Oracle, Netlist]) -> None:
    checked, permuted = check_luts(*placed)
    assert checked > 200
    assert permuted > checked / 4, "the router permutes most LUTs; comparing tables would have been wrong"


def test_registers_load_what_nextpnr_connected(placed: tuple[Oracle, Netlist]) -> None:
    assert check_registers(*placed) > 300
