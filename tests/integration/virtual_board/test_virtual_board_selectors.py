"""Selectors of clocks in every mode of the chip database, and designs that clock themselves without end."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vb_process import BoardProcess
from vb_toolchain import BIN, DESIGNS, Build, pins_of, verilate

import lutlab_profiles
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.errors import DesignRings
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

CYCLES = 6000
MODES = [("POS", "NEG"), ("CLK0_HIGH", "CLK0_LOW"), ("CLK1_LOW", "CLK1_HIGH"), ("CLK1", "CLK0"), ("LOW", "HIGH")]
"""Of the two selectors, as in the design `all_selectors`."""

_MAIN = """
#include "Vall_selectors.h"
#include <cstdio>
#include <cstdlib>
int main(int, char **argv) {
  Vall_selectors top;
  for (long left = atol(argv[1]); left; left--) {
    top.clk = 0;
    top.eval();
    printf("%d %d %d %d %d\\n", top.o0, top.o1, top.o2, top.o3, top.o4);
    top.clk = 1;
    top.eval();
  }
}
"""


def packed_with(built: Build, modes: tuple[str, str]) -> bytes:
    """A build's bitstream with the modes of its two selectors, by the packer."""
    text = built.path("config").read_text()
    cells = next(iter(json.loads(built.path("pnr.json").read_text())["modules"].values()))["cells"]
    for index, mode in enumerate(modes):
        place = cells[f"x{index}.cell_"]["attributes"]["NEXTPNR_BEL"].rpartition("/")[2]
        setting = f"enum: {place}.DCSMODE POS"
        assert text.count(setting) == 1
        text = text.replace(setting, f"enum: {place}.DCSMODE {mode}")
    built.path("modes.config").write_text(text)
    names = built.path("modes.config").name, built.path("modes.bit").name
    subprocess.run([BIN / "yowasp-ecppack", "--compress", *names], cwd=built.folder, check=True)
    return built.path("modes.bit").read_bytes()


@pytest.mark.skipif(shutil.which("g++") is None, reason="the reference simulator needs g++")
def test_a_selector_changes_over_as_its_mode_says(builds: Callable[[str], Build], translator: Translator) -> None:
    built = builds("selectors")
    sources = [DESIGNS / name for name in ("everything.v", "derived.v", "selectors.v")]
    program = verilate(built.folder, "all_selectors", sources, _MAIN, "-DSIMULATION")
    lines = subprocess.run([program, str(CYCLES)], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = list(zip(*(map(int, line.split()) for line in lines), strict=True))
    pins = pins_of(lutlab_profiles.get("lfe5u-25f"))
    observed = [pins[f"o[{bit}]"] for bit in range(16)]
    tcc = find_tcc()
    assert tcc is not None
    for modes, values in zip(MODES, wanted, strict=True):
        translated = translator.translate(packed_with(built, modes), observed).program
        fabric = Fabric(compile_now(tcc, translated.source.encode()))
        levels = fabric.trace(b"", CYCLES, 16)
        fabric.close()
        got = [sum(levels[16 * cycle + bit] << bit for bit in range(16)) for cycle in range(CYCLES)]
        wrong = next((cycle for cycle in range(CYCLES) if got[cycle] != values[cycle]), None)
        assert wrong is None, f"{modes}: first in cycle {wrong}: {got[wrong or 0]:016b}, not {values[wrong or 0]:016b}"
    # Modes that leave a clock at one level count no edges; all others must have been seen to differ.
    assert len({tuple(value & 0xFF for value in values) for values in wanted}) == len(MODES)


@pytest.fixture
def ringing(builds: Callable[[str], Build], translator: Translator) -> Iterator[Fabric]:
    """A design that clocks itself without end while its serial input is low."""
    program = translator.translate(builds("ringing").bit.read_bytes()).program
    tcc = find_tcc()
    assert tcc is not None
    fabric = Fabric(compile_now(tcc, program.source.encode()))
    yield fabric
    fabric.close()


def test_a_design_that_clocks_itself_without_end_is_told_by_its_clock(ringing: Fabric) -> None:
    ringing.try_out(1000)
    ringing.push(b"\0")
    ringing.run(1000)
    with pytest.raises(DesignRings, match=r"through R\d+C\d+ F\d_SLICE"):
        ringing.check()


def test_a_board_stops_a_design_that_rings(builds: Callable[[str], Build], board: BoardProcess, tmp_path: Path) -> None:
    assert board.load(builds("ringing").bit).returncode == 0
    with board.port() as port:
        port.port.write(b"\0")
        stopped = board.wait_for("design_stopped")
    assert stopped["code"] == "design_rings"
    assert "SLICE" in str(stopped["reason"])
    assert board.load(builds("soc").bit).returncode == 0
