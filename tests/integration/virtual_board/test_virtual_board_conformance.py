"""A processor and a random design against every oracle: the short form of `make conformance-board`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from vb_conformance import Case, Difference, check, noise
from vb_random_cells import cells
from vb_random_design import random_design
from vb_riscv import assemble, write_program
from vb_toolchain import DESIGNS

from lutlab_virtual_board import programming
from lutlab_virtual_board.netlist import ONE, ZERO, Netlist

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the reference simulator needs g++")


def test_a_processor_runs_its_program(tmp_path: Path, cache: Path) -> None:
    program = write_program(tmp_path / "program.hex")
    source = tmp_path / "rv32_with_program.v"
    source.write_text(f'`define PROGRAM "{program}"\n{(DESIGNS / "rv32.v").read_text()}')
    verdict = check(Case("riscv", "rv32", (str(source),), stimulus=noise), tmp_path, cache, cycles=60_000)
    assert verdict.changes > 10_000 and verdict.luts > 500 and verdict.registers > 100


def test_the_program_of_the_example_is_what_stands_beside_it() -> None:
    folder = Path(__file__).parents[3] / "examples" / "riscv"
    words = [int(line, 16) for line in (folder / "primes.hex").read_text().split()]
    assert words == [*assemble((folder / "primes.s").read_text().replace("ecall", "")), 0x73]


@pytest.mark.parametrize(("top", "parameters"), [("pads", (("KIND", 1),)), ("buses", ())])
def test_registers_and_delays_in_pads_and_open_pads(
    tmp_path: Path, cache: Path, top: str, parameters: tuple[tuple[str, int], ...]
) -> None:
    case = Case(top, top, ("everything.v", "pads.v"), parameters=parameters, stimulus=noise)
    assert check(case, tmp_path, cache, cycles=20_000).changes > 10_000


def test_cells_with_settings_at_random(tmp_path: Path, cache: Path) -> None:
    # This seed has asynchronous resets of output registers, and a synchronous one that stops a wide port's writes.
    verdict = check(cells(tmp_path, seed=3), tmp_path, cache, cycles=20_000)
    assert verdict.changes > 10_000


def test_a_random_design_on_another_die(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "chip.v"
    source.write_text(random_design(seed=4, pieces=24))
    case = Case("random", "chip", (str(source),), profile="lfe5u-12f", stimulus=noise)
    verdict = check(case, tmp_path, cache, cycles=20_000)
    assert verdict.changes > 10_000 and verdict.luts > 100 and verdict.registers > 100


def test_a_planted_fault_is_named_by_register_and_cycle(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "chip.v"
    source.write_text(random_design(seed=4, pieces=16))
    planted: list[str] = []
    simplify = programming.simplify

    def careless(netlist: Netlist, observed: list[str]) -> Netlist:
        """Forgets the enable of one register."""
        register = next(each for each in netlist.registers if each.enable not in (ZERO, ONE))
        register.enable = ONE
        planted.append(register.place)
        return simplify(netlist, observed)

    monkeypatch.setattr(programming, "simplify", careless)
    with pytest.raises(
        Difference, match=r"differs first in cycle \d+; register .* differs first, in cycle \d+"
    ) as told:
        check(Case("random", "chip", (str(source),), stimulus=noise), tmp_path, cache, cycles=20_000)
    assert f"register {planted[0]} differs first" in str(told.value)
