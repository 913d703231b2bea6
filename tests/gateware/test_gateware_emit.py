"""What the tools get: deterministic, without paths, complete."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from pyosys import libyosys

import lutlab_profiles
from lutlab_gateware.base import BaseTarget
from lutlab_gateware.emit import emit_rtlil, emit_verilog, lpf
from lutlab_gateware.pll import Pll
from lutlab_gateware.soc import Panel, Soc, TooManyPins, VerilogTarget

COUNTER = Path(__file__).parents[2] / "examples" / "counter" / "design.v"


def soc(target=None, **changes):
    parameters = {"divider": 4, "build_id": 0xABCD, "clk_hz": 50_000_000} | changes
    return Soc(target or BaseTarget(), **parameters)


def test_rtlil_is_deterministic_and_names_no_path():
    first, second = emit_rtlil(soc()), emit_rtlil(soc())
    assert first == second
    assert str(Path.cwd().anchor + "work") not in first
    assert not re.search(r"\.py\b|attribute \\src", first)


def test_rtlil_has_the_four_ports():
    top = emit_rtlil(soc(), name="chip").split("module \\chip\n")[1].split("\nmodule ")[0]
    ports = re.findall(r"wire width (\d+) (input|output) \d+ +\\(\w+)", top)
    assert sorted(ports) == [
        ("1", "input", "clk"),
        ("1", "input", "rx"),
        ("1", "output", "tx"),
        ("4", "output", "leds"),
    ]


def test_build_id_is_in_the_bitstream_only():
    assert emit_rtlil(soc(build_id=1)) != emit_rtlil(soc(build_id=2))


def test_verilog_reads_back(tmp_path):
    text = emit_verilog(soc(VerilogTarget("counter")))
    assert text == emit_verilog(soc(VerilogTarget("counter")))
    design = libyosys.Design()
    (tmp_path / "soc.v").write_text(text)
    for command in (
        f"read_verilog {tmp_path / 'soc.v'}",
        f"read_verilog {COUNTER}",
        "hierarchy -check -top top",
        "check -assert",
    ):
        libyosys.run_pass(f"tee -q {command}", design)


def test_a_verilog_target_may_have_err_and_another_width():
    text = emit_rtlil(soc(VerilogTarget("big", address_bits=12, has_err=True)))
    assert "connect \\wb_err" in text
    assert re.search(r"wire width 12 \\(target\.)?wb_adr|connect \\wb_adr \\wb_adr", text)


def test_a_pll_is_instantiated_with_its_dividers():
    text = emit_rtlil(soc(clk_hz=100_000_000, pll=Pll(50_000_000, 100_000_000)))
    assert "cell \\EHXPLLL" in text
    assert 'attribute \\MFG_ENABLE_FILTEROPAMP "1"' in text and 'attribute \\MFG_GMCREF_SEL "2"' in text
    for name, value in {"CLKI_DIV": 1, "CLKFB_DIV": 2, "CLKOP_DIV": 4}.items():
        assert re.search(rf"parameter (signed )?\\{name} {value}\b", text)


def test_lpf():
    profile = lutlab_profiles.get("lfe5u-25f")
    text = lpf(profile, 50_000_000)
    assert 'LOCATE COMP "clk" SITE "G2";' in text
    assert 'LOCATE COMP "rx" SITE "M1";' in text
    assert 'LOCATE COMP "leds[3]" SITE "D2";' in text
    assert 'IOBUF PORT "buttons[5]" IO_TYPE=LVCMOS33 PULLMODE=DOWN;' in text
    assert text.count("IOBUF PORT") == 7 + 6 + 4
    assert text.endswith('FREQUENCY PORT "clk" 50 MHZ;\n')


def test_lpf_of_a_board_wired_the_other_way_round():
    profile = lutlab_profiles.get("lfe5u-25f")
    pins = {"leds": ("U16",), "buttons": ("J17",), "switches": (), "buttons_inverted": True, "io_types": {"J17": "X"}}
    text = lpf(msgspec.structs.replace(profile, pins=msgspec.structs.replace(profile.pins, **pins)), 50_000_000)
    assert 'LOCATE COMP "leds" SITE "U16";' in text  # the only bit of a port has no index
    assert 'IOBUF PORT "buttons" IO_TYPE=X;' in text
    assert text.count("IOBUF PORT") == 5


def test_a_design_that_wants_them_has_buttons_and_switches():
    panel = Panel(leds=2, buttons=3, switches=1)
    target = VerilogTarget("m", io_bits={"io_leds": 1, "io_buttons": 2, "io_switches": 1})
    text = emit_rtlil(soc(target, panel=panel), name="chip")
    top = text.split("module \\chip\n")[1].split("\nmodule ")[0]
    ports = sorted(re.findall(r"wire width (\d+) (input|output) \d+ +\\(\w+)", top))
    assert ports == sorted(
        [("1", "input", name) for name in ("clk", "rx", "switches")]
        + [("1", "output", "tx"), ("2", "output", "leds"), ("3", "input", "buttons")]
    )
    for io in ("io_leds", "io_buttons", "io_switches"):
        assert f"connect \\{io}" in text
    with pytest.raises(TooManyPins, match="io_buttons has 2 bits, but the board has 1 buttons"):
        soc(target, panel=Panel(leds=2, buttons=1, switches=1))


@pytest.mark.parametrize(
    ("clk_hz", "timing_hz", "pin"),
    [(50_000_000, 80_000_000, "80"), (100_000_000, None, "50"), (100_000_000, 150_000_000, "75")],
)
def test_lpf_constrains_the_pin_so_that_the_design_meets_its_target(clk_hz, timing_hz, pin):
    text = lpf(lutlab_profiles.get("lfe5u-25f"), clk_hz, timing_hz=timing_hz)
    assert text.endswith(f'FREQUENCY PORT "clk" {pin} MHZ;\n')
