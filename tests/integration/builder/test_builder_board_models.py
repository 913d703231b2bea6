"""A design with LEDs and buttons for the profiles of real boards: a bitstream is made, and its pins are the profile's.

The bits are read back with the decoder of the virtual board, which knows nothing of constraint files. `make boards`
builds for all board models; a part of them is enough otherwise.
"""

from __future__ import annotations

import os

import pytest
from builder_support import PORTS, Build, verilog

import lutlab_profiles
from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.programming import Translator

MODELS = [profile for profile in lutlab_profiles.load().values() if profile.loader]
ALWAYS = ("orangecrab-25f", "colorlight-i9")
WANTED = [p for p in MODELS if p.name in ALWAYS or os.environ.get("LUTLAB_ALL_BOARDS")]
BODY = "assign io_leds = {lit}; assign wb_dat_r = 0; assign wb_ack = wb_cyc & wb_stb;"


def panel(profile: DeviceProfile) -> str:
    """A design that lights its LEDs by its bus, and by a button and a switch where the board has them."""
    pins = profile.pins
    ports, lit = f"{PORTS}, output [{len(pins.leds) - 1}:0] io_leds", "wb_adr"
    for name in ("buttons", "switches"):
        if getattr(pins, name):
            ports, lit = f"{ports}, input [0:0] io_{name}", f"{lit} ^ io_{name}"
    return verilog("panel", BODY.format(lit=lit), ports)


@pytest.mark.parametrize("profile", WANTED, ids=lambda profile: profile.name)
async def test_a_board_model_gets_a_bitstream_with_its_pins(build: Build, profile: DeviceProfile) -> None:
    built = await build("design.v", panel(profile), profile=profile.name)
    report = built.artifacts.report
    assert f"Part: {profile.device}-{profile.speed_grade}{profile.package}".encode() in built.artifacts.bitstream[:200]
    assert report.timing_met
    assert profile.baud_max is not None
    assert report.baud == round(profile.clk_hz / profile.uart_divider) <= profile.baud_max
    pins = profile.pins
    program = Translator(profile, None).translate(built.artifacts.bitstream, [pins.tx, *pins.leds]).program
    assert set(program.outputs) == {pins.tx, *pins.leds}
    assert set(program.inputs) >= {pins.rx, *pins.buttons[:1], *pins.switches[:1]}


def test_the_line_of_a_faster_design_is_no_faster_than_its_adapter() -> None:
    ulx3s = lutlab_profiles.get("ulx3s-25f")
    assert [ulx3s.divider(clk_hz) for clk_hz in (10_000_000, 25_000_000, 80_000_000)] == [25, 25, 80]
    assert lutlab_profiles.get("lfe5u-25f").divider(100_000_000) == 4


def test_board_models_are_those_of_the_devices() -> None:
    devices = {p.device: (p.idcode, p.nextpnr_device) for p in lutlab_profiles.load().values() if not p.loader}
    assert len(MODELS) == 10
    for profile in MODELS:
        assert devices[profile.device] == (profile.idcode, profile.nextpnr_device)
        pins = profile.pins
        every = [pins.clk, pins.rx, pins.tx, *pins.leds, *pins.buttons, *pins.switches]
        assert len(set(every)) == len(every)
