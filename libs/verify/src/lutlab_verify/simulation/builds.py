"""Builds of simulators: by Icarus in an instant, by Verilator with a cache that is keyed by everything that goes in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lutlab_verify.catalogue import tool_version
from lutlab_verify.config.model import Language
from lutlab_verify.inside.hear import MARK
from lutlab_verify.outputs import is_output, read_output, write_output
from lutlab_verify.simulation import runtime
from lutlab_verify.simulation.kept import drop_oldest, put
from lutlab_verify.simulation.plan import ICARUS, Unit, UnitKind, bench_files
from lutlab_verify.sources import defines, design_files, include_folders, tool_path
from lutlab_verify.stage import StageContext, ToolFailed
from lutlab_verify.together import together
from lutlab_verify.tools import ToolCall, ToolLimits, ToolOutcome

BUILD_LIMITS = ToolLimits(wall_s=600.0, resident_bytes=4 << 30, processes=256, output_bytes=1 << 20)
COMPILE_LIMITS = ToolLimits(wall_s=60.0, output_bytes=1 << 20)
SIMULATOR_BYTES_MAX = 256 << 20
CACHED_MAX = 20
"""Simulators kept for one project; the ones not used for longest go first."""
NOT_HARDWARE = {".py", ".md", ".yaml", ".yml"}
"""Files that no simulator is built from: changing them does not change its key. One that is included is noticed."""
TIMESCALE = "1ns/1ps"


@dataclass(frozen=True)
class Simulator:
    """A built simulator.

    Attributes:
        path: relative to the stage's folder.
        cached: it came out of the cache.
        seconds: how long building took.
    """

    path: str
    cached: bool
    seconds: float


def failed(tool: str, outcome: ToolOutcome) -> ToolFailed:
    """The error of a tool that did not do its work, with its own words."""
    how = f"was stopped: too much {outcome.stopped}" if outcome.stopped else f"ended with status {outcome.exit_code}"
    tail = tuple(outcome.tail[-30:])
    told = next((line for line in tail if "error" in line.lower()), tail[-1] if tail else "")
    return ToolFailed(f"{tool} {how}" + (f": {told.strip()}" if told else ""), tool=tool, tail=tail)


async def build_all(
    context: StageContext, units: Sequence[Unit], tool: str, coverage: frozenset[str]
) -> dict[str, Simulator]:
    """A simulator for each unit, by the units' names; cocotb's modules share one. Raises: ToolFailed."""
    needed = {_simulator_name(unit): unit for unit in units}
    at_once = os.cpu_count() or 1
    context.sink.log(f"compiling with {tool} {tool_version(tool)}: {', '.join(needed)}")
    if tool == ICARUS:
        built = await together(*(_icarus(context, unit) for unit in needed.values()), at_once=at_once)
    else:
        builds = [
            await asyncio.to_thread(_VerilatorBuild, context, unit, coverage)  # it reads every file
            for unit in needed.values()
        ]
        missing = [one for one in builds if not one.from_cache()]
        archive = await prepare_runtime(context) if missing else ""
        await together(*(one.make(archive) for one in missing), at_once=at_once)
        built = [one.simulator for one in builds]
    by_name = dict(zip(needed, built, strict=True))
    return {unit.name: by_name[_simulator_name(unit)] for unit in units}


def _simulator_name(unit: Unit) -> str:
    return "cocotb" if unit.kind is UnitKind.COCOTB else unit.name


def _files(context: StageContext, unit: Unit) -> list[str]:
    files = design_files(context.project)
    if unit.kind is UnitKind.BENCH:
        benches = bench_files(context.project)
        # Modules shared by benches stand in their own files; a file that is also a source is compiled once.
        files += [path for file in benches if (path := tool_path(file)) not in files]
    return files


# -- Icarus


async def _icarus(context: StageContext, unit: Unit) -> Simulator:
    project, work = context.project, context.work
    output, dump = f"{unit.name}.vvp", f"{unit.name}.dump.v"
    write_output(work, dump, _dump_module(unit.top))
    write_output(work, "icarus.cmd", f"+timescale+{TIMESCALE}\n")
    standard = "-g2005" if project.config.project.language_version is Language.V2005 else "-g2012"
    argv = ["iverilog", standard, "-f", "icarus.cmd", "-o", output, "-s", unit.top, "-s", "lutlab_dump"]
    argv += [f"-I{folder}" for folder in include_folders(project)]
    argv += [f"-D{define}" for define in defines(project)]
    outcome = await context.tools.run(ToolCall("icarus", [*argv, *_files(context, unit), dump], COMPILE_LIMITS))
    if outcome.exit_code or outcome.stopped or not is_output(work, output):
        raise failed("icarus", outcome)
    seconds = outcome.seconds
    if unit.kind is UnitKind.BENCH:
        marking = ["python", "-m", "lutlab_verify.inside.mark_finish", output, MARK]
        outcome = await context.tools.run(ToolCall("icarus", marking, COMPILE_LIMITS))
        if outcome.exit_code or outcome.stopped:
            raise failed("icarus", outcome)
        seconds += outcome.seconds
    return Simulator(output, cached=False, seconds=seconds)


def _dump_module(top: str) -> str:
    return (
        "module lutlab_dump;\n"
        "  initial begin\n"
        '    $dumpfile("trace.fst");\n'
        f"    $dumpvars(0, {top});\n"
        "  end\n"
        "endmodule\n"
    )


# -- Verilator


class _VerilatorBuild:
    """One simulator from Verilator."""

    def __init__(self, context: StageContext, unit: Unit, coverage: frozenset[str]) -> None:
        self._context, self._unit = context, unit
        self._argv = _verilator_argv(context, unit, coverage)
        self._name = f"{_simulator_name(unit)}.sim"
        key = simulator_key(context, self._argv, unit.kind)
        self._stored = context.cache / f"simulator-{key}" if context.cache else None
        self.simulator = Simulator(self._name, cached=False, seconds=0.0)

    def from_cache(self) -> bool:
        """Take it out of the cache, if it is there."""
        stored = self._stored
        if stored is None or not stored.is_file():
            return False
        write_output(self._context.work, self._name, stored.read_bytes(), 0o755)
        stored.touch()
        self.simulator = replace(self.simulator, cached=True)
        return True

    async def make(self, archive: str) -> None:
        """Build it with the runtime in `archive`, and keep it in the cache. Raises: ToolFailed."""
        context, generated = self._context, f"{self._name}.generated"
        outcome = await context.tools.run(ToolCall("verilator", [*self._argv, "-Mdir", generated], COMPILE_LIMITS))
        if outcome.exit_code or outcome.stopped:
            raise failed("verilator", outcome)
        seconds = outcome.seconds + await _compile(context, self._unit, self._name, archive)
        self.simulator = replace(self.simulator, seconds=seconds)
        if self._stored is not None and not _reads_unhashed(context, f"{generated}/Vtop__ver.d"):
            _keep(context, self._stored, self._name)


def _verilator_argv(context: StageContext, unit: Unit, coverage: frozenset[str]) -> list[str]:
    project = context.project
    standard = {Language.V2005: "1364-2005", Language.SV2012: "1800-2012"}
    language = standard.get(project.config.project.language_version, "1800-2017")
    argv = ["verilator", "--cc", "--timing", "--assert", "--timescale", TIMESCALE, "--prefix", "Vtop", "--exe"]
    argv += ["--top-module", unit.top, "--default-language", language, "-Wno-lint", "-Wno-style", "-Wno-fatal"]
    argv.append("--trace-fst" if runtime.has_fst() else "--trace-vcd")
    argv.append("--coverage-user")  # always, so that every simulator has the same runtime
    if coverage & {"line", "branch"}:
        argv.append("--coverage-line")
    if "toggle" in coverage:
        argv.append("--coverage-toggle")
    if unit.kind is UnitKind.COCOTB:
        argv += ["--vpi", "--public-flat-rw"]
    argv += [f"-I{folder}" for folder in include_folders(project)]
    argv += [f"-D{define}" for define in defines(project)]
    return [*argv, *_files(context, unit)]


async def prepare_runtime(context: StageContext) -> str:
    """The archive of Verilator's runtime as tools see it: what `make tools` made, or the cache keeps, or made now.

    Raises: ToolFailed.
    """
    shared = runtime.prebuilt()
    if shared is not None:
        return str(shared)
    kept = context.cache / f"runtime-{runtime.key()}.a" if context.cache else None
    if kept is not None and kept.is_file():
        write_output(context.work, runtime.ARCHIVE, kept.read_bytes())
        return runtime.ARCHIVE
    context.sink.log("compiling Verilator's runtime, once; `make tools` does it ahead for every project")
    await _build_simulator(context, "runtime.json", runtime.build_job(runtime.ARCHIVE), runtime.ARCHIVE)
    if kept is not None:
        _keep(context, kept, runtime.ARCHIVE)
    return runtime.ARCHIVE


async def _build_simulator(context: StageContext, name: str, job: dict[str, Any], made: str) -> float:
    write_output(context.work, name, json.dumps(job))
    argv = ["python", "-m", "lutlab_verify.inside.build_simulator", name]
    outcome = await context.tools.run(ToolCall("g++", argv, BUILD_LIMITS))
    if outcome.exit_code or outcome.stopped or not is_output(context.work, made):
        raise failed("g++", outcome)
    return outcome.seconds


async def _compile(context: StageContext, unit: Unit, name: str, archive: str) -> float:
    """C++ to a simulator. Returns seconds."""
    main, link = _main(unit)
    if unit.kind is UnitKind.BENCH:
        write_output(context.work, "bench_main.cpp", Path(main).read_text(encoding="utf-8"))
        main = "bench_main.cpp"
    job = runtime.build_job(archive, generated=f"{name}.generated", main=main, output=name, link=link)
    return await _build_simulator(context, f"{name}.json", job, name)


def _main(unit: Unit) -> tuple[str, list[str]]:
    """The C++ file with `main`, and what to link beside it."""
    if unit.kind is UnitKind.BENCH:
        return str(Path(__file__).with_name("bench_main.cpp")), []
    from cocotb_tools import config  # noqa: PLC0415 - where cocotb is not installed, benches still run

    folder = str(config.libs_dir)
    source = str(Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp")
    return source, [f"-L{folder}", f"-Wl,-rpath,{folder}", "-lcocotbvpi_verilator"]


def simulator_key(context: StageContext, argv: list[str], kind: UnitKind) -> str:
    """A digest of the tools, the options, and every file of the project that may be compiled or included."""
    digest = hashlib.sha256()
    cocotb = tool_version("cocotb") if kind is UnitKind.COCOTB else None
    digest.update(json.dumps([argv, kind, runtime.key(), cocotb]).encode())
    root = context.project.root
    for path in sorted(root.rglob("*")):
        if path.suffix in NOT_HARDWARE or not path.is_file():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{content}\0".encode())
    if kind is UnitKind.BENCH:
        digest.update(Path(__file__).with_name("bench_main.cpp").read_bytes())
    return digest.hexdigest()[:40]


def _reads_unhashed(context: StageContext, dependencies: str) -> bool:
    """Whether a simulator was made from a file that its key leaves out, by the list Verilator wrote."""
    words = read_output(context.work, dependencies, 4 << 20).decode("utf-8", "replace").split()
    return any(PurePosixPath(word).suffix in NOT_HARDWARE for word in words)


def _keep(context: StageContext, path: Path, made: str) -> None:
    """Put what was made into the cache, and throw out what was not used for longest. Where it cannot be, it is told."""
    try:
        put(path, read_output(context.work, made, SIMULATOR_BYTES_MAX))
        drop_oldest(path.parent, "simulator-*", CACHED_MAX)
    except OSError as error:
        context.sink.log(f"{made} is not kept for later runs: {error}")


def clean_up(context: StageContext) -> None:
    """Delete what building left and nobody needs."""
    for folder in context.work.glob("*.generated"):
        if not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
