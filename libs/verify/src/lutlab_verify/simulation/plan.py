"""What is simulated with which tool: tests found in the test benches, and what each tool can give."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from lutlab_verify.catalogue import locate
from lutlab_verify.config.model import CoverageSection, SimulationSection
from lutlab_verify.project import Project
from lutlab_verify.sources import is_vhdl
from lutlab_verify.stage import Unsupported
from lutlab_verify.tools import ToolMissing

UNITS_MAX = 200
TEST_FILE_BYTES_MAX = 4 << 20
ICARUS, VERILATOR = "icarus", "verilator"
_PROGRAMS = {ICARUS: ("iverilog", "vvp"), VERILATOR: ("verilator", "g++")}
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,127}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_COCOTB_TEST = re.compile(r"(?m)^\s*@\s*(?:cocotb\s*\.\s*)?(?:test|parametrize)\b")
_RENAMED_TEST = re.compile(r"(?m)^\s*@\s*(?:\w+\s*\.\s*)?(?:test|parametrize)\b")
"""Where a file speaks of cocotb: `import cocotb as c` and `@c.test()`. pytest's own are `@pytest.mark.parametrize`."""
_FROM_CODE = ("line", "toggle", "branch")
"""Coverage that only the simulator can count; FSM coverage is read from the trace."""


class UnitKind(StrEnum):
    """What drives a simulation."""

    COCOTB = "cocotb"
    BENCH = "bench"


@dataclass(frozen=True)
class Unit:
    """One run of a simulator: a cocotb module with its tests, or a test bench that is one test.

    Attributes:
        name: unique in the stage, fit for file names.
        file: relative to the project.
        top: the simulation's top module.
        tests: how many tests it has, as far as can be told before it runs.
    """

    name: str
    kind: UnitKind
    file: str
    top: str
    tests: int = 1


@dataclass(frozen=True)
class Choice:
    """Which tool simulates, which coverage is collected, and what is to be said about that."""

    tool: str
    coverage: frozenset[str]
    notes: tuple[str, ...] = ()


def missing(tool: str) -> str | None:
    """What this host lacks to simulate with a tool, None if nothing."""
    for program in _PROGRAMS[tool]:
        try:
            locate(program)
        except ToolMissing as error:
            return str(error)
    return None


def choose(section: SimulationSection, lacks: Callable[[str], str | None] = missing) -> Choice:
    """Decide for a tool.

    Args:
        lacks: what the host lacks for a tool.

    Raises:
        Unsupported: coverage was asked for that no allowed tool can give, or a tool that reads no Verilog.
        ToolMissing: no allowed simulator is installed.
    """
    if section.tool == "ghdl":
        raise Unsupported("GHDL simulates VHDL, which is not supported", field="verification.simulation.tool")
    wanted = _wanted(section)
    tool: str = section.tool
    notes: list[str] = []
    reason = lacks(tool)
    if reason is not None:
        other = ICARUS if tool == VERILATOR else VERILATOR
        if not section.allow_other_tool or lacks(other) is not None:
            raise ToolMissing(reason)
        notes.append(f"simulated with {other}: {reason}")
        tool = other
    if tool == ICARUS and wanted & set(_FROM_CODE):
        kinds = ", ".join(kind for kind in _FROM_CODE if kind in wanted)
        if "coverage" not in section.model_fields_set:
            notes.append(f"no {kinds} coverage: Icarus has none; ask for it and Verilator collects it")
            return Choice(tool, frozenset(wanted - set(_FROM_CODE)), tuple(notes))
        lack = "the project does not allow another tool" if not section.allow_other_tool else lacks(VERILATOR)
        if lack is not None:
            raise Unsupported(
                f"Icarus collects no {kinds} coverage, and Verilator cannot be used: {lack}",
                field="verification.simulation.coverage",
            )
        notes.append(f"simulated with verilator: Icarus collects no {kinds} coverage")
        tool = VERILATOR
    return Choice(tool, frozenset(wanted), tuple(notes))


def _wanted(section: SimulationSection) -> set[str]:
    coverage = section.coverage
    if isinstance(coverage, bool):
        coverage = CoverageSection() if coverage else CoverageSection(line=False, toggle=False)
    return {kind for kind in ("line", "toggle", "branch", "fsm") if getattr(coverage, kind)}


def cocotb_units(project: Project) -> list[Unit]:
    """A unit for each Python file with cocotb tests; other Python files are helpers."""
    units = []
    for file in project.testbenches:
        path = PurePosixPath(file)
        if path.suffix == ".py" and (count := _count_tests(project, file)):
            name = _NOT_IN_NAMES.sub("_", path.stem)[:100]
            units.append(Unit(name, UnitKind.COCOTB, file, project.top, count))
    return units


def bench_files(project: Project) -> list[str]:
    """Test benches in Verilog. Raises: Unsupported, for one in VHDL, which would never be run."""
    vhdl = next((file for file in project.testbenches if is_vhdl(file)), None)
    if vhdl is not None:
        raise Unsupported(
            f"{vhdl} is VHDL: simulation reads Verilog and SystemVerilog only",
            field="verification.simulation.testbenches",
            file=vhdl,
        )
    return [file for file in project.testbenches if PurePosixPath(file).suffix.lower() in (".v", ".sv")]


def bench_units(tops: list[dict[str, object]], files: list[str]) -> list[Unit]:
    """A unit for each module of the test benches that no other module instantiates. Raises: Unsupported."""
    units = []
    for top in tops:
        name, file = str(top["name"]), str(top["file"])
        if file not in files:
            continue
        if not _MODULE.fullmatch(name):
            raise Unsupported(f"a test bench cannot be called {name!r}; use letters, digits, _ and $", file=file)
        units.append(Unit(name, UnitKind.BENCH, file, name))
    return units


def distinct(units: list[Unit]) -> list[Unit]:
    """Units with names that differ, at most UNITS_MAX of them. Raises: Unsupported."""
    if len(units) > UNITS_MAX:
        raise Unsupported(f"{len(units)} test benches; at most {UNITS_MAX} are run in one job")
    seen: set[str] = set()
    result = []
    for unit in units:
        name = unit.name
        for number in range(2, UNITS_MAX + 2):
            if name not in seen:
                break
            name = f"{unit.name}-{number}"
        seen.add(name)
        result.append(Unit(name, unit.kind, unit.file, unit.top, unit.tests))
    return result


def _count_tests(project: Project, file: str) -> int:
    path = project.root / file
    if path.stat().st_size > TEST_FILE_BYTES_MAX:
        raise Unsupported(f"{file} is larger than {TEST_FILE_BYTES_MAX} bytes", file=file)
    text = path.read_text(encoding="utf-8", errors="replace")
    decorator = _RENAMED_TEST if "cocotb" in text else _COCOTB_TEST
    return len(decorator.findall(text)) or int("TestFactory" in text)
