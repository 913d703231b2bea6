"""The four stages of a build, each one sandboxed program; files go from one to the next in the build's folder."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutlab_builder.app.ports import Limits, LogSink, Outcome, Sandbox, SandboxJob, Stage, Stop
from lutlab_builder.domain import cells, diagnose, names
from lutlab_builder.domain.bundle import Language
from lutlab_builder.domain.elaboration import Elaboration, parse_elaboration
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.plan import Plan
from lutlab_builder.domain.report import PnrReport, StageTime, parse_pnr, parse_stat
from lutlab_events.signal_names import write_names
from lutlab_profiles import DeviceProfile

SOC_NAME = "lutlab_soc"
"""The top module's name; `top` would clash with many a user's module."""
SOC_PORTS: dict[str, tuple[str, int]] = {"clk": ("in", 1), "rx": ("in", 1), "tx": ("out", 1)}
"""Its ports, beside those for LEDs, buttons and switches; a design whose code tampers with the SoC cannot add any."""
RESULT_BYTES_MAX = 64 << 10
REPORT_BYTES_MAX = 4 << 20
BITSTREAM_BYTES_MAX = 32 << 20
NETLIST_BYTES_MAX = 128 << 20
_SIGNAL_BASE = 128
_FROM_OUTSIDE = ("SIGKILL", "SIGTERM")


@dataclass(frozen=True)
class StageLimits:
    """What each stage may use."""

    elaborate: Limits
    synthesize: Limits
    place_and_route: Limits
    pack: Limits


@dataclass(frozen=True)
class Target:
    """What a design is built for.

    Attributes:
        profile: the board model.
        clk_hz: the design's clock as built.
        timing_hz: the clock nextpnr times the design for.
        constraints: nextpnr's constraint file.
        seed: nextpnr's seed.
        panel: the board's LEDs, buttons and switches, as `lutlab_gateware.soc.Panel` takes them.
    """

    profile: DeviceProfile
    clk_hz: int
    timing_hz: int
    constraints: str
    seed: int
    panel: Mapping[str, int | bool]

    @property
    def ports(self) -> dict[str, tuple[str, int]]:
        """What the SoC has in any case."""
        return SOC_PORTS | ({"leds": ("out", int(self.panel["leds"]))} if self.panel["leds"] else {})

    @property
    def optional_ports(self) -> dict[str, tuple[str, int]]:
        """What it has if the design wants it."""
        return {name: ("in", int(self.panel[name])) for name in ("buttons", "switches") if self.panel[name]}


@dataclass
class Run:
    """A build under way: its folder, and what was said and measured so far."""

    plan: Plan
    target: Target
    folder: Path
    sandbox: Sandbox
    sink: LogSink
    log: list[tuple[Stage, str]] = field(default_factory=list)
    times: list[StageTime] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """A file of this build."""
        return self.folder / name

    def said(self, *stages: Stage) -> list[str]:
        """The lines of these stages."""
        return [line for stage, line in self.log if stage in stages]

    def hear(self, stage: Stage) -> Callable[[str], None]:
        """Takes a stage's lines."""

        def on_line(text: str) -> None:
            self.log.append((stage, text))
            self.sink.line(stage, text)

        return on_line

    async def program(self, stage: Stage, job: SandboxJob) -> Outcome:
        """Run a stage's program; raises a BuildFailure if a limit ended it."""
        self.sink.stage(stage)
        outcome = await self.sandbox.run(job, self.hear(stage))
        self.times.append(StageTime(str(stage), round(outcome.seconds, 3)))
        _raise_for_limits(outcome, job.limits)
        return outcome


def _raise_for_limits(outcome: Outcome, limits: Limits) -> None:
    mib = limits.resident_bytes >> 20
    if outcome.stopped is Stop.TIME:
        raise BuildFailure(
            Code.TIME_LIMIT, f"it was stopped after {limits.wall_s:g} s, which is all the time it may take"
        )
    if outcome.stopped is Stop.PROCESSES:
        raise BuildFailure(Code.PROCESS_LIMIT, f"it was stopped: it ran more than {limits.processes} processes at once")
    if outcome.stopped is Stop.MEMORY:
        raise BuildFailure(Code.MEMORY_LIMIT, f"it was stopped: it used more than {mib} MiB of memory")
    if outcome.exit_code == _SIGNAL_BASE + signal.SIGXCPU:
        raise BuildFailure(Code.TIME_LIMIT, f"it was stopped after {limits.cpu_s} s of processor time")


def _out_of_memory(outcome: Outcome, limits: Limits) -> BuildFailure | None:
    if not diagnose.out_of_memory(outcome.tail):
        return None
    mib = limits.resident_bytes >> 20
    return BuildFailure(Code.MEMORY_LIMIT, f"it ran out of memory; a program may use {mib} MiB")


def _read(path: Path, limit: int, what: str) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"{what} has more than {limit} bytes")
    return data


def _signal_name(exit_code: int) -> str | None:
    try:
        return signal.Signals(exit_code - _SIGNAL_BASE).name if exit_code > _SIGNAL_BASE else None
    except ValueError:
        return None


async def elaborate(run: Run, limits: Limits) -> Elaboration:
    """Sources -> `design.il`: run the design's code and put the SoC around it."""
    plan, target = run.plan, run.target
    params: dict[str, Any] = {
        "language": plan.bundle.language,
        "entrypoint": plan.bundle.entrypoint,
        "verilog_sources": plan.bundle.verilog_sources,
        "folders": plan.bundle.folders,
        "top": plan.options.top,
        "soc_name": SOC_NAME,
        "build_id": plan.build_id,
        "divider": target.profile.divider(target.clk_hz),
        "oscillator_hz": target.profile.clk_hz,
        "clk_hz": target.clk_hz,
        "panel": target.panel,
    }
    outputs = {name: run.path(name) for name in ("design.il", "result.json")}
    job = SandboxJob("elaborate", params, limits, outputs=outputs, design=_write_design(run))
    outcome = await run.program(Stage.ELABORATE, job)
    answer = parse_elaboration(_read(outputs["result.json"], RESULT_BYTES_MAX, "the design's description"))
    if answer is None or outcome.exit_code:
        raise _out_of_memory(outcome, limits) or _elaboration_failure(plan.bundle.language, outcome)
    return answer


def _write_design(run: Run) -> Path:
    """The bundle as files that any user may read and nobody may change."""
    root = run.path("design")
    root.mkdir()
    for file in run.plan.bundle.files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(0o444)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return root


def _elaboration_failure(language: Language, outcome: Outcome) -> BuildFailure:
    name = _signal_name(outcome.exit_code)
    if name:
        return BuildFailure(Code.DESIGN_CRASHED, f"the design's elaboration crashed ({name})")
    if diagnose.has_yosys_error(outcome.tail):
        return diagnose.yosys_failure(outcome.tail, Code.VERILOG_ERROR)
    if language is Language.AMARANTH:
        return BuildFailure(Code.DESIGN_RAISED, f"the design ended the program itself, with status {outcome.exit_code}")
    return BuildFailure(Code.BAD_TOOL_OUTPUT, f"elaboration failed: {diagnose.last_words(outcome.tail, 'elaborate')}")


async def synthesize(run: Run, limits: Limits) -> dict[str, int]:
    """`design.il` -> `design.json`; returns the cell counts."""
    outputs = {name: run.path(name) for name in ("design.json", "stat.json")}
    params: dict[str, Any] = {"top": SOC_NAME, "ports": run.target.ports, "optional_ports": run.target.optional_ports}
    params["multipliers"] = cells.multipliers(run.target.profile.nextpnr_device)
    job = SandboxJob("synth", params, limits, _inputs(run, ["design.il"]), outputs)
    outcome = await run.program(Stage.SYNTHESIZE, job)
    if outcome.exit_code:
        reported = diagnose.yosys_failure(outcome.tail, Code.SYNTHESIS_FAILED)
        raise _out_of_memory(outcome, limits) or _tool_failure(outcome, "yosys", reported)
    counts = parse_stat(_read(outputs["stat.json"], REPORT_BYTES_MAX, "yosys' statistics"))
    cells.check(counts)
    return counts


async def place_and_route(run: Run, limits: Limits) -> PnrReport:
    """`design.json` -> `design.config` and `placed.json`; returns what nextpnr measured."""
    profile = run.target.profile
    run.path("design.lpf").write_text(run.target.constraints, encoding="utf-8")
    outputs = {name: run.path(name) for name in ("design.config", "pnr.json", "placed.json")}
    args = [
        profile.nextpnr_device,
        *("--package", profile.package, "--speed", str(profile.speed_grade), "--seed", str(run.target.seed)),
        *("--json", "{in:design.json}", "--lpf", "{in:design.lpf}", "--textcfg", "{out:design.config}"),
        *(
            "--report",
            "{out:pnr.json}",
            "--write",
            "{out:placed.json}",
            "--freq",
            f"{run.target.timing_hz / 1e6:.6f}",
            "--timing-allow-fail",
        ),
    ]
    inputs = _inputs(run, ["design.json", "design.lpf"])
    job = SandboxJob("wasm", {"tool": "nextpnr-ecp5", "args": args}, limits, inputs, outputs)
    outcome = await run.program(Stage.PLACE_AND_ROUTE, job)
    if outcome.exit_code:
        said = [*run.said(Stage.PLACE_AND_ROUTE), *outcome.tail]
        raise _out_of_memory(outcome, limits) or _tool_failure(outcome, "nextpnr", diagnose.nextpnr_failure(said))
    return parse_pnr(_read(outputs["pnr.json"], REPORT_BYTES_MAX, "nextpnr's report"))


async def pack(run: Run, limits: Limits) -> bytes:
    """`design.config` -> the bitstream, compressed."""
    output = run.path("design.bit")
    args = ["--compress", "--input", "{in:design.config}", "--bit", "{out:design.bit}"]
    inputs = _inputs(run, ["design.config"])
    job = SandboxJob("wasm", {"tool": "ecppack", "args": args}, limits, inputs, {"design.bit": output})
    outcome = await run.program(Stage.PACK, job)
    if outcome.exit_code:
        reported = diagnose.pack_failure(outcome.tail)
        raise _out_of_memory(outcome, limits) or _tool_failure(outcome, "ecppack", reported)
    bitstream = _read(output, BITSTREAM_BYTES_MAX, "the bitstream")
    if not bitstream:
        raise BuildFailure(Code.PACK_FAILED, "ecppack wrote no bitstream")
    return await asyncio.to_thread(_named, run, bitstream)


def _named(run: Run, bitstream: bytes) -> bytes:
    """The bitstream with the names of the design's signals in its header; without, where there is too much to read."""
    try:
        netlists = [_read(run.path(name), NETLIST_BYTES_MAX, name) for name in ("design.json", "placed.json")]
        found = names.signal_names(netlists[0], netlists[1], SOC_NAME, run.plan.bundle.language)
    except BuildFailure as failure:
        # Names are for people who look inside: no reason to give them no bitstream.
        run.hear(Stage.PACK)(f"Warning: the bitstream has no names of signals: {failure.message}")
        return bitstream
    return write_names(bitstream, found)


def _inputs(run: Run, names: Sequence[str]) -> dict[str, Path]:
    """Files of earlier stages, made readable for the next program's user."""
    paths = {name: run.path(name) for name in names}
    for path in paths.values():
        path.chmod(0o444)
    return paths


def _tool_failure(outcome: Outcome, tool: str, reported: BuildFailure) -> BuildFailure:
    """What a tool's failure means, in whose process runs nothing of the user's."""
    name = _signal_name(outcome.exit_code)
    if name in _FROM_OUTSIDE:
        why = f"{tool} was killed from outside ({name}), as by a host that runs out of memory; the design may be good"
        return BuildFailure(Code.SANDBOX_UNAVAILABLE, why)
    return BuildFailure(reported.code, f"{tool} crashed ({name}): {reported.message}") if name else reported
