"""Several clocks in one design: their ratios and phases, and what passes between them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction

import pytest
from test_virtual_board_cells import run
from vb_toolchain import BIN, Build, simulate

from lutlab_virtual_board.compiler import find_gcc, find_tcc
from lutlab_virtual_board.netlist import Clock, DerivedClock
from lutlab_virtual_board.programming import Translator

_MAIN = """
#include "{top}.cc"
#include <cstdio>
int main(int, char **argv) {{
  cxxrtl_design::p_{top} top;
  top.step();
  // In halves of a period of the PLL's oscillator: periods 24, 12, 16 and 48; first rising edges at 0, 0, 5 and 6.
  for (long t = 0; t < 12 * atol(argv[1]); t++) {{
    if (t % 12 == 0) printf("%x\\n", top.p_o.get<uint32_t>());
    top.p_op.set<bool>(t % 24 < 12);
    top.p_os.set<bool>(t % 12 < 6);
    top.p_os2.set<bool>(t >= 5 && (t - 5) % 16 < 8);
    top.p_os3.set<bool>(t >= 6 && (t - 6) % 48 < 24);
    top.step();
    top.step();
  }}
}}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="the reference simulator needs g++")
def test_domains_follow_their_clocks_ratios_and_phases(builds: Callable[[str], Build], translator: Translator) -> None:
    built, cycles = builds("domains"), 6000
    wanted = simulate(built.folder, "domains", ["everything.v", "domains.v"], cycles, main=_MAIN)
    for bit in range(16):
        assert len({value >> bit & 1 for value in wanted[100:]}) == 2, f"output {bit} never moves"
    for compiler in (find_tcc(), find_gcc()):
        if compiler:
            got = run(translator, built, cycles, compiler)
            first = {bit: c for c in reversed(range(cycles)) for bit in range(16) if (got[c] ^ wanted[c]) >> bit & 1}
            assert first == {}, f"{compiler.name}: first wrong cycle by output"


def test_the_clocks_are_those_of_the_pll(builds: Callable[[str], Build], translator: Translator) -> None:
    clocks = translator.translate(builds("domains").bit.read_bytes()).netlist.clocks
    step_s = Fraction(1, 600_000_000)
    running = [clock for clock in clocks if isinstance(clock, Clock)]
    found = {clock.name.partition(" ")[0]: (clock.period_s / step_s, clock.first_s / step_s) for clock in running}
    assert found == {"CLKOP": (12, 0), "CLKOS": (6, 0), "CLKOS2": (8, Fraction(5, 2)), "CLKOS3": (24, 3)}


def test_gates_and_selectors_are_clocks_that_follow_others(
    builds: Callable[[str], Build], translator: Translator
) -> None:
    clocks = translator.translate(builds("derived").bit.read_bytes()).netlist.clocks
    kinds = [clock.kind for clock in clocks if isinstance(clock, DerivedClock)]
    assert sorted(kinds) == ["gate", *["logic"] * 6, "select"]


@pytest.mark.parametrize(("name", "ratio"), [("divider", Fraction(2)), ("odd_divider", Fraction(7, 2))])
def test_a_divider_divides_its_clock(
    builds: Callable[[str], Build], translator: Translator, name: str, ratio: Fraction
) -> None:
    clocks = translator.translate(builds(name).bit.read_bytes()).netlist.clocks
    found = [(clock.period_s, clock.high_s) for clock in clocks if isinstance(clock, Clock)]
    cycle_s = Fraction(1, 50_000_000)
    assert found == [(ratio * cycle_s, int(ratio / 2 + Fraction(1, 2)) * cycle_s)]


def test_the_internal_oscillator_is_a_clock(builds: Callable[[str], Build], translator: Translator) -> None:
    translation = translator.translate(builds("oscillator").bit.read_bytes())
    assert [clock.period_s for clock in translation.netlist.clocks if isinstance(clock, Clock)] == [
        Fraction(128, 310_000_000)
    ]
    assert f"#define CLOCK_HZ {310e6 / 128!r}" in translation.program.source


@pytest.mark.parametrize("divider", [2, 10, 31, 64])
def test_the_internal_oscillator_has_any_divider(
    builds: Callable[[str], Build], translator: Translator, divider: int
) -> None:
    # A bit of the small ones is one of another cell's in the chip database, USRMCLK.
    built = builds("oscillator")
    text = built.path("config").read_text()
    assert "OSC.DIV 127" in text
    names = [f"{divider}.{suffix}" for suffix in ("config", "bit")]
    (built.folder / names[0]).write_text(text.replace("OSC.DIV 127", f"OSC.DIV {divider}"))
    subprocess.run([BIN / "yowasp-ecppack", "--compress", *names], cwd=built.folder, check=True, capture_output=True)
    netlist = translator.translate((built.folder / names[1]).read_bytes()).netlist
    assert [clock.period_s for clock in netlist.clocks if isinstance(clock, Clock)] == [Fraction(divider, 310_000_000)]
