"""What the tools get: deterministic, without paths, complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyosys import libyosys

import lutlab_profiles
from lutlab_gateware.base import BaseTarget
from lutlab_gateware.emit import emit_rtlil, emit_verilog, lpf
from lutlab_gateware.pll import Pll
from lutlab_gateware.soc import Soc, VerilogTarget

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
    for name, value in {"CLKI_DIV": 1, "CLKFB_DIV": 2, "CLKOP_DIV": 4}.items():
        assert re.search(rf"parameter (signed )?\\{name} {value}\b", text)


def test_lpf():
    profile = lutlab_profiles.get("lfe5u-25f")
    text = lpf(profile, 50_000_000)
    assert 'LOCATE COMP "clk" SITE "G2";' in text
    assert 'LOCATE COMP "rx" SITE "M1";' in text
    assert 'LOCATE COMP "leds[3]" SITE "D2";' in text
    assert text.count("IOBUF PORT") == 7
    assert text.endswith('FREQUENCY PORT "clk" 50 MHZ;\n')


@pytest.mark.parametrize(
    ("clk_hz", "timing_hz", "pin"),
    [(50_000_000, 80_000_000, "80"), (100_000_000, None, "50"), (100_000_000, 150_000_000, "75")],
)
def test_lpf_constrains_the_pin_so_that_the_design_meets_its_target(clk_hz, timing_hz, pin):
    text = lpf(lutlab_profiles.get("lfe5u-25f"), clk_hz, timing_hz=timing_hz)
    assert text.endswith(f'FREQUENCY PORT "clk" {pin} MHZ;\n')
