"""Finds the tests, builds the simulators they need, runs them at once, and puts their results together."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lutlab_verify.catalogue import tool_version
from lutlab_verify.config.model import Language
from lutlab_verify.outputs import OutputMissing, read_output, write_output
from lutlab_verify.simulation.builds import build_all, clean_up, failed
from lutlab_verify.simulation.coverage import Coverage, CoverageTooLarge, cobertura, fsm_states
from lutlab_verify.simulation.plan import (
    Choice,
    Unit,
    bench_files,
    bench_units,
    choose,
    cocotb_units,
    distinct,
)
from lutlab_verify.simulation.results import FAILED, PASSED, SKIPPED, TestResult, junit
from lutlab_verify.simulation.runs import Session, UnitRun, run_unit, with_trace
from lutlab_verify.sources import defines, design_files, include_folders, refuse_vhdl, tool_path
from lutlab_verify.stage import Artifact, Json, Level, StageContext, StageResult, StageStatus, ToolFailed
from lutlab_verify.together import together
from lutlab_verify.tools import ToolCall, ToolLimits

RESULT = """
summary: `tests_passed`, `tests_failed`, `tests_skipped`; `coverage`: percentages of the kinds that were collected
(`line`, `toggle`, `branch`, `fsm`; null where the design has nothing of the kind); `tool`; `seed`, which as
`verification.simulation.seed` repeats the run; `notes`: what was done otherwise than asked, and why.
details: `tests`: name, status, seconds, seed, message, file, line, trace; `coverage`: the percentages, `files` with
every line's kind and hits, `registers` with the states and transitions seen; `builds`: per simulator whether it
was cached, and its seconds; `tools`: versions.
artifacts: `trace.fst` (the first failed run's, else the first's), `trace-<unit>.fst` of each if there are several,
`junit.xml`, `coverage.xml` (Cobertura), `coverage-<unit>.dat` (Verilator's records).
"""

DESCRIBE_LIMITS = ToolLimits(wall_s=60.0, output_bytes=1 << 20)
JSON_BYTES_MAX = 64 << 20
RECORD_BYTES_MAX = 64 << 20
RUNS_AT_ONCE_MAX = 8
SEED_MAX = 2**31 - 1
"""The largest seed that every simulator takes."""
_STANDARD = {Language.V2005: "1364-2005"}


class Progress:
    """Adds up tests of all units for the sink."""

    def __init__(self, context: StageContext, units: Sequence[Unit]) -> None:
        self._context = context
        self._counts = {unit.name: (0, unit.tests) for unit in units}
        self._tell()

    def count(self, unit: Unit, done: int, total: int) -> None:
        """`done` of `total` tests of a unit are through."""
        self._counts[unit.name] = (done, max(total, 1))
        self._tell()

    def _tell(self) -> None:
        done = sum(count for count, _total in self._counts.values())
        self._context.sink.progress(done, sum(total for _count, total in self._counts.values()), "tests")


async def run(context: StageContext) -> StageResult:
    """Simulate a design with its test benches.

    Raises:
        Unsupported: the language, or coverage that no allowed tool collects.
        ToolMissing: no allowed simulator is installed.
        ToolFailed: a design does not compile, or a simulator crashed.
    """
    started = time.monotonic()
    project, section = context.project, context.project.config.verification.simulation
    refuse_vhdl(project, "simulation")
    choice = choose(section)
    if not section.testbenches and not project.testbenches:
        return StageResult(
            StageStatus.SKIPPED, {}, reason="no test benches: verification.simulation.testbenches is empty"
        )
    for note in choice.notes:
        context.sink.log(note, Level.WARNING)
    description = await _describe(context, choice)
    units = distinct([*cocotb_units(project), *bench_units(description["tops"], bench_files(project))])
    if not units:
        reason = f"no tests in {', '.join(project.testbenches) or ', '.join(section.testbenches)}"
        return StageResult(StageStatus.FAILED, {"tests_passed": 0, "tests_failed": 0}, reason=reason)
    seed = (context.seed if section.seed is None else section.seed) % SEED_MAX or 1
    progress = Progress(context, units)
    simulators = await build_all(context, units, choice.tool, choice.coverage)
    at_once = min(RUNS_AT_ONCE_MAX, os.cpu_count() or 1)

    session = Session(context, choice.tool, seed, section.waves or "fsm" in choice.coverage, progress.count)

    async def one(unit: Unit) -> UnitRun:
        done = await run_unit(session, unit, simulators[unit.name])
        progress.count(unit, len(done.tests), len(done.tests))
        return done

    runs: list[UnitRun] = await together(*(one(unit) for unit in units), at_once=at_once)
    coverage = await _coverage(context, runs, choice, description)
    clean_up(context)
    result = _result(session, choice, runs, coverage)
    builds = {name: {"cached": one.cached, "seconds": round(one.seconds, 3)} for name, one in simulators.items()}
    return replace(result, details={**result.details, "builds": builds}, seconds=time.monotonic() - started)


async def _describe(context: StageContext, choice: Choice) -> Json:
    """Tops of the test benches and FSM registers, if anything of this is needed."""
    project = context.project
    benches = bench_files(project)
    if not benches and "fsm" not in choice.coverage:
        return {"tops": [], "registers": []}
    output = "described.json"
    argv = ["python", "-m", "lutlab_verify.inside.describe", output, project.top]
    argv += ["--std", _STANDARD.get(project.config.project.language_version, "1800-2017")]
    argv += [f"-I{folder}" for folder in include_folders(project)] + [f"-D{define}" for define in defines(project)]
    files = [*design_files(project), *(tool_path(file) for file in benches)]
    outcome = await context.tools.run(ToolCall("slang", [*argv, *dict.fromkeys(files)], DESCRIBE_LIMITS))
    if outcome.exit_code or outcome.stopped:
        raise failed("slang", outcome)
    return _read_json(context, output)


def _read_json(context: StageContext, name: str) -> Json:
    value: Json = json.loads(read_output(context.work, name, JSON_BYTES_MAX))
    return value


# -- coverage


async def _coverage(
    context: StageContext, runs: Sequence[UnitRun], choice: Choice, description: Json
) -> Coverage | None:
    """Coverage of all runs together; None if none was asked for."""
    if not choice.coverage:
        return None
    try:
        return await _collect(context, runs, choice, description)
    except (OutputMissing, CoverageTooLarge) as error:
        raise ToolFailed(f"coverage cannot be read: {error}", tool=choice.tool) from error


async def _collect(context: StageContext, runs: Sequence[UnitRun], choice: Choice, description: Json) -> Coverage:
    coverage = Coverage()
    files = {tool_path(file): file for file in context.project.sources}
    for run in runs:
        if run.coverage is not None:
            record = read_output(context.work, run.coverage, RECORD_BYTES_MAX).decode("utf-8", "replace")
            await asyncio.to_thread(coverage.add_verilator, record, files)
    if "fsm" in choice.coverage:
        coverage.states = await _states(context, runs, description)
    return coverage


async def _states(context: StageContext, runs: Sequence[UnitRun], description: Json) -> list[dict[str, Any]]:
    """Registers of the design's own files with the states that the traces show."""
    own = set(context.project.sources)
    registers = [register for register in description["registers"] if register["file"] in own]
    if not registers:
        return []
    write_output(context.work, "registers.json", json.dumps({"registers": registers}))
    output = "visited.json"
    traces = [run.trace for run in runs if run.trace]
    argv = ["python", "-m", "lutlab_verify.inside.fsm_trace", output, "registers.json", *traces]
    outcome = await context.tools.run(ToolCall("cocotb", argv, DESCRIBE_LIMITS))
    if outcome.exit_code or outcome.stopped:
        context.sink.log(f"no FSM coverage: {failed('trace reader', outcome)}", Level.WARNING)
        return []
    visited = _read_json(context, output)
    for trace in visited["unread"]:
        context.sink.log(f"not counted for FSM coverage: {trace}", Level.WARNING)
    return fsm_states(registers, visited["registers"])


# -- the result


def _result(session: Session, choice: Choice, runs: Sequence[UnitRun], coverage: Coverage | None) -> StageResult:
    if not session.context.project.config.verification.simulation.waves:  # recorded for coverage only, if at all
        runs = [replace(run, trace=None) for run in runs]
    traces = _traces(session.context.work, runs)
    tests = [test for run in runs for test in with_trace(run, traces.get(run.unit.name))]
    counts = {status: sum(test.status == status for test in tests) for status in (PASSED, FAILED, SKIPPED)}
    versions = {name: tool_version(name) for name in (choice.tool, "cocotb")}
    summary: Json = {f"tests_{status}": count for status, count in counts.items()}
    details: Json = {
        "tests": [test.to_json() for test in tests],
        "tools": versions,
    }
    if coverage is not None:
        summary["coverage"] = coverage.percentages(choice.coverage)
        details["coverage"] = {
            **coverage.percentages(choice.coverage),
            "files": coverage.per_line(choice.coverage),
            "registers": [{k: v for k, v in state.items() if k != "places"} for state in coverage.states],
        }
    summary |= {"tool": choice.tool, "seed": session.seed, "notes": list(choice.notes)}
    status, reason = _verdict(counts)
    return StageResult(
        status=status,
        summary=summary,
        details=details,
        reason=reason,
        artifacts=tuple(_artifacts(session.context.work, runs, tests, coverage)),
    )


def _verdict(counts: Mapping[str, int]) -> tuple[StageStatus, str | None]:
    """From the number of tests by status; what no test looked at has not passed."""
    if counts[FAILED] or not any(counts.values()):
        return StageStatus.FAILED, None
    if counts[PASSED]:
        return StageStatus.PASSED, None
    return StageStatus.SKIPPED, f"every test was skipped ({counts[SKIPPED]})"


def _traces(work: Path, runs: Sequence[UnitRun]) -> dict[str, str]:
    """Per unit the artifact with its waveform."""
    own = "-{}" if len(runs) > 1 else ""
    return {run.unit.name: f"trace{own.format(run.unit.name)}{_suffix(work, run.trace)}" for run in runs if run.trace}


def _suffix(work: Path, trace: str) -> str:
    """By its content: Icarus writes FST into a file that a test bench calls `x.vcd`."""
    with (work / trace).open("rb") as stream:
        return ".vcd" if stream.read(1) == b"$" else ".fst"


def _artifacts(
    work: Path, runs: Sequence[UnitRun], tests: Sequence[TestResult], coverage: Coverage | None
) -> list[Artifact]:
    traces = _traces(work, runs)
    made = [Artifact("junit.xml", write_output(work, "junit.xml", junit(tests)), "application/xml")]
    traced = [run for run in runs if run.trace]
    if traced:
        shown = next((run for run in traced if any(test.status == FAILED for test in run.tests)), traced[0])
        made.append(
            Artifact(f"trace{_suffix(work, str(shown.trace))}", work / str(shown.trace), "application/octet-stream")
        )
    if len(runs) > 1:
        made += [Artifact(traces[r.unit.name], work / str(r.trace), "application/octet-stream") for r in traced]
    if coverage is not None and coverage.points:
        path = write_output(work, "coverage.xml", cobertura(coverage, f"verilator {tool_version('verilator')}"))
        made.append(Artifact("coverage.xml", path, "application/xml"))
        made += [Artifact(f"coverage-{r.unit.name}.dat", work / r.coverage, "text/plain") for r in runs if r.coverage]
    return made
