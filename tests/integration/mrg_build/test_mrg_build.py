"""`mrg_build` as the reference SDK calls it, on real tools; with the SDK itself where one is installed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import lutlab_profiles
import mrg_build
from mrg_build.building import _synth_util
from mrg_build.companions import upload

EXAMPLES = Path(__file__).parents[3] / "examples"
COUNTER = EXAMPLES / "counter" / "design.v"
MRG = os.environ.get("LUTLAB_TEST_MRG")
"""The reference CLI, in an environment that can import `mrg_build` too."""
FIELDS = {
    *("mode", "ok", "scope", "fits", "fmax_mhz", "sys_clk_mhz", "target_mhz", "timing_met", "clock", "util"),
    *("synth_cells", "warnings", "design_hash", "toolchain", "log_tail"),
}


@pytest.fixture(scope="module")
def synth() -> dict[str, Any]:
    return mrg_build.build(mode="synth", design=str(COUNTER), top=None, seed=1, work=None).to_dict()


def test_synthesis(synth: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    report = synth
    assert capsys.readouterr().out == ""
    assert set(report) == FIELDS
    assert (report["mode"], report["ok"], report["fits"], report["fmax_mhz"]) == ("synth", True, True, None)
    assert report["synth_cells"]["TRELLIS_FF"] == report["util"]["ff"]["used"] > 32
    assert report["util"]["logic"]["available"] == 24288
    assert "pyosys" in report["toolchain"]
    json.dumps(report)


def test_place_and_route_is_graded_on_the_target(synth: dict[str, Any]) -> None:
    report = mrg_build.build(mode="pnr", design=COUNTER, sys_clk_mhz=50, timing_target_mhz=900, seed=1).to_dict()
    assert (report["ok"], report["sys_clk_mhz"], report["target_mhz"], report["timing_met"]) == (True, 50, 900, False)
    assert report["fmax_mhz"] > 50
    assert abs(report["util"]["ff"]["used"] - synth["util"]["ff"]["used"]) <= 8
    assert report["util"]["bram"] == synth["util"]["bram"]
    assert report["util"]["logic"]["available"] == synth["util"]["logic"]["available"]


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    design = tmp_path / "design.v"
    design.write_text("module m(input clk); this is no verilog; endmodule\n")
    report = mrg_build.build(mode="synth", design=design)
    assert report.ok is False
    assert report.log_tail is not None
    assert "FAILED in elaborate: " in report.log_tail
    with pytest.raises(ValueError, match="target_mhz"):
        mrg_build.build(mode="pnr", design=COUNTER, target_mhz=50, sys_clk_mhz=60)
    with pytest.raises(FileNotFoundError):
        mrg_build.build(mode="pnr", design=tmp_path / "none.v")


def test_every_model_has_its_totals() -> None:
    for name in lutlab_profiles.names():
        assert _synth_util(lutlab_profiles.get(name).device, {"TRELLIS_FF": 7})["ff"]["used"] == 7


def test_files_that_a_design_names_go_along(tmp_path: Path) -> None:
    include = tmp_path / "include"
    include.mkdir()
    (include / "values.vh").write_text('`define ANSWER 32\'d42\n`include "deeper.svh"\n')
    (include / "deeper.svh").write_text("`define DEEPER 1\n")
    (tmp_path / "unnamed.v").write_text("module unnamed; endmodule\n")
    design = tmp_path / "design.v"
    ports = COUNTER.read_text().partition(");")[0].partition("(")[2]
    design.write_text(
        f'`include "values.vh"\nmodule answer({ports});\n'
        "assign wb_dat_r = `ANSWER; assign wb_ack = wb_cyc & wb_stb & `DEEPER;\nendmodule\n"
    )
    name, data = upload(design)
    assert name == "project.zip"
    assert b"unnamed" not in data
    assert mrg_build.build(mode="synth", design=design).ok


@pytest.mark.skipif(MRG is None, reason="LUTLAB_TEST_MRG names no reference CLI")
@pytest.mark.parametrize("mode", ["synth", "pnr"])
def test_the_reference_cli_needs_no_docker(mode: str, tmp_path: Path) -> None:
    assert MRG is not None
    done = subprocess.run(
        [MRG, mode, str(COUNTER)], capture_output=True, text=True, timeout=200, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["mode"], report["ok"], report["scope"]) == (mode, True, "soc")
    assert (report["fmax_mhz"] is None) == (mode == "synth")
