"""Designs of every kind of cell, cycle by cycle: the bitstream on the board against an independent simulation."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from vb_toolchain import Build, pins_of, simulate, simulate_events

import lutlab_profiles
from lutlab_virtual_board.compiler import Compiler, compile_now, find_gcc, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

CASES = [
    ("everything", "everything", ["everything.v"], {}, 4000),
    ("instances", "instances", ["everything.v", "instances.v"], {}, 4000),
    ("gsr", "gsr", ["gsr.v"], {}, 300),
    ("sgsr", "gsr", ["gsr.v"], {"SYNC": 1}, 300),
    ("resets", "resets", ["everything.v", "instances.v"], {}, 4000),
    ("derived", "derived", ["everything.v", "derived.v"], {}, 4000),
    ("divided", "divided", ["everything.v", "derived.v", "selectors.v"], {}, 4000),
    ("alus", "alus", ["everything.v", "alu.v"], {}, 20000),
]


def run(translator: Translator, built: Build, cycles: int, compiler: Compiler) -> list[int]:
    """Port `o` before each rising edge, by the board's own execution of the bitstream."""
    pins = pins_of(lutlab_profiles.get("lfe5u-25f"))
    observed = [pins[f"o[{bit}]"] for bit in range(16)]
    program = translator.translate(built.bit.read_bytes(), observed).program
    assert program.outputs == observed
    assert program.inputs == []
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    levels = fabric.trace(b"", cycles, 16)
    fabric.close()
    return [sum(levels[cycle * 16 + bit] << bit for bit in range(16)) for cycle in range(cycles)]


@pytest.mark.skipif(shutil.which("g++") is None, reason="the reference simulator needs g++")
@pytest.mark.parametrize(("name", "top", "sources", "parameters", "cycles"), CASES, ids=[c[0] for c in CASES])
def test_the_bitstream_does_what_its_source_says(
    builds: Callable[[str], Build],
    translator: Translator,
    name: str,
    top: str,
    sources: list[str],
    parameters: dict[str, int],
    cycles: int,
) -> None:
    built = builds(name)
    # CXXRTL does not know clocks that logic makes.
    reference = simulate_events if name in ("derived", "divided") else simulate
    wanted = reference(built.folder, top, sources, cycles, parameters)
    assert len(set(wanted)) > 30, "a reference that hardly moves proves nothing"
    compilers = [compiler for compiler in (find_tcc(), find_gcc()) if compiler]
    for compiler in compilers:
        got = run(translator, built, cycles, compiler)
        wrong = {bit: cycle for cycle in range(cycles) for bit in range(16) if (got[cycle] ^ wanted[cycle]) >> bit & 1}
        assert wrong == {}, f"{compiler.name}: last wrong cycle by output"


def test_the_design_of_every_cell_uses_every_cell(builds: Callable[[str], Build], translator: Translator) -> None:
    pins = pins_of(lutlab_profiles.get("lfe5u-25f"))
    netlist = translator.translate(builds("everything").bit.read_bytes(), list(pins.values())).netlist
    assert {port.width for block in netlist.block_rams for port in block.ports} == {1, 2, 4, 9, 18, 36}
    modes = {port.write_mode for block in netlist.block_rams for port in block.ports}
    assert modes == {"NORMAL", "WRITETHROUGH", "READBEFOREWRITE"}
    assert {ram.falling for ram in netlist.rams} == {False, True}
    assert {register.falling for register in netlist.registers} == {False, True}
    assert len(netlist.multipliers) == 3
    other = translator.translate(builds("instances").bit.read_bytes(), list(pins.values())).netlist
    stages = {
        tuple(bool(stage) for stage in (m.stage_a, m.stage_b, m.stage_product, m.stage_output))
        for m in other.multipliers
    }
    assert len(stages) >= 6
    assert any(port.register for block in other.block_rams for port in block.ports)
