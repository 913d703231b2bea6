"""Runs synthesis, and for our boards place and route."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lutlab_profiles import DEFAULT_PROFILE, DeviceProfile
from lutlab_profiles import load as profiles
from lutlab_verify.config.model import Language
from lutlab_verify.config.reading import constraint_files
from lutlab_verify.outputs import OutputMissing, read_output, write_output
from lutlab_verify.project import Project
from lutlab_verify.sources import defines, design_files, include_folders, refuse_vhdl
from lutlab_verify.stage import (
    Artifact,
    Json,
    Level,
    StageContext,
    StageResult,
    StageStatus,
    ToolFailed,
)
from lutlab_verify.synthesis.clocks import Clock, as_lpf, clocks_of
from lutlab_verify.synthesis.paths import Names, clean_clock, longest
from lutlab_verify.tools import SOURCES, ToolCall, ToolLimits, ToolOutcome

RESULT = """For a board (`project.target_pdk` names a device profile), summary: `fmax_mhz` (of the slowest clock;
null if nothing is clocked), `luts`, `flip_flops`, `block_rams`, `multipliers`.
details: `device`; `utilisation`: name, used, available; `clocks`: name, fmax_mhz, target_mhz, met; `critical_path`:
delay_ns, clock, and steps with kind, from, to, delay_ns, wire_ns, at_ns and sources (`file:line`); `notes`.
The stage fails if the design does not fit, or misses a clock that the configuration asks for (`analysis.timing`, or an
SDC file's). Artifacts: `netlist.json`, `timing.json`.

For anything else an estimate, and named so, summary: `estimate` (true), `cells`, `flip_flops`, `gate_equivalents` (of a
two-input NAND, from yosys' count of CMOS transistors), and for `sky130` `area_um2`: cells side by side, without wires.
details: `estimate`, `note`, `cells`: name, count. It always passes."""

FAMILY = "ecp5"
FLOW_ECP5, FLOW_GENERIC = "ecp5", "generic"
STATISTICS, NETLIST, TIMING, CONSTRAINTS = "synthesis.json", "netlist.json", "timing.json", "clocks.lpf"
JSON_BYTES_MAX = 128 << 20
SDC_BYTES_MAX = 1 << 20
RESIDENT_BYTES_MAX = 3 << 30
TRANSISTORS_PER_NAND2 = 4
NAND2_UM2 = {"sky130": 3.7536}
"""Area of the smallest two-input NAND; of sky130_fd_sc_hd__nand2_1: 1.38 um by 2.72 um."""
SHOWN = {
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_RAMW": "distributed RAM",
    "DP16KD": "block RAMs",
    "MULT18X18D": "multipliers",
    "ALU54B": "accumulators",
    "EHXPLLL": "PLLs",
    "DCCA": "global clocks",
    "TRELLIS_IO": "pins",
}
SUMMARY = {
    "luts": "TRELLIS_COMB",
    "flip_flops": "TRELLIS_FF",
    "block_rams": "DP16KD",
    "multipliers": "MULT18X18D",
}
Wanted = list[Clock] | float | None
"""Clocks by name, one period in ns for all, or none asked for."""
_STANDARD = {Language.V2005: "1364-2005", Language.SV2012: "1800-2012", Language.SV2017: "1800-2017"}


async def run(context: StageContext) -> StageResult:
    """See `RESULT`.

    Raises:
        Unsupported: VHDL, or constraints that nobody here can keep.
        ToolFailed: yosys cannot read the design, or a tool broke.
    """
    began = time.monotonic()
    refuse_vhdl(context.project, "synthesis")
    profile = _profile(context.project.config.project.target_pdk)
    flow = FLOW_GENERIC if profile is None else FLOW_ECP5
    wanted = _wanted(context.project)
    context.sink.log(f"yosys: {'synthesis for ' + profile.device if profile else 'mapping to simple gates'}")
    statistics = await _synthesize(context, flow)
    if profile is None:
        result = _estimate(context.project, statistics)
    else:
        result = await _place(context, profile, wanted, statistics)
    return replace(result, seconds=time.monotonic() - began)


def _profile(target: str) -> DeviceProfile | None:
    """The board that a target names, None for a process; the family's name alone is the usual board."""
    return profiles().get(DEFAULT_PROFILE if target.lower() == FAMILY else target.lower())


# -- yosys -----------------------------------------------------------------------------------------------------


async def _synthesize(context: StageContext, flow: str) -> Json:
    project = context.project
    argv = ["python", "-m", "lutlab_verify.inside.synthesize", STATISTICS, NETLIST, flow, project.top]
    argv += _options(project)
    outcome = await context.tools.run(ToolCall("yosys", argv, _limits(project)))
    if outcome.exit_code or outcome.stopped:
        raise _failed("yosys", outcome)
    return _read(context, STATISTICS, "yosys", outcome)


def _options(project: Project) -> list[str]:
    options = ["--std", _STANDARD[project.config.project.language_version]]
    options += [f"-I{folder}" for folder in include_folders(project)]
    return [*options, *(f"-D{define}" for define in defines(project)), *design_files(project)]


def _limits(project: Project) -> ToolLimits:
    seconds = project.config.verification.synthesis.timeout_seconds
    return ToolLimits(wall_s=float(seconds), resident_bytes=RESIDENT_BYTES_MAX)


def _failed(tool: str, outcome: ToolOutcome) -> ToolFailed:
    """Why a tool gave nothing, in its own words."""
    if outcome.stopped is not None:
        return ToolFailed(f"{tool} was stopped: limit of {outcome.stopped.value}", tool=tool, tail=tuple(outcome.tail))
    said = [line.strip() for line in outcome.tail if "ERROR" in line or "error:" in line]
    message = said[0] if said else f"exit code {outcome.exit_code}"
    return ToolFailed(f"{tool}: {message}", tool=tool, tail=tuple(outcome.tail))


def _read(context: StageContext, name: str, tool: str, outcome: ToolOutcome) -> Json:
    try:
        found: Json = json.loads(read_output(context.work, name, JSON_BYTES_MAX))
    except (OutputMissing, ValueError) as error:
        raise ToolFailed(f"{tool} left no usable {name}: {error}", tool=tool, tail=tuple(outcome.tail)) from error
    return found


# -- an estimate -----------------------------------------------------------------------------------------------


def _estimate(project: Project, statistics: Mapping[str, Any]) -> StageResult:
    target = project.config.project.target_pdk
    counts = statistics["num_cells_by_type"]
    cells: list[Json] = [{"name": _plain(name), "count": int(count)} for name, count in counts.items()]
    cells.sort(key=lambda one: (-one["count"], one["name"]))
    transistors = int(str(statistics.get("estimated_num_transistors", "0")).rstrip("+"))
    equivalents = round(transistors / TRANSISTORS_PER_NAND2, 1)
    summary: Json = {
        "estimate": True,
        "cells": int(statistics["num_cells"]),
        "flip_flops": sum(one["count"] for one in cells if "DFF" in one["name"]),
        "gate_equivalents": equivalents,
    }
    note = "An estimate: generic gates, not cells of a library; without wires, clock tree, or filler."
    if target in NAND2_UM2:
        summary["area_um2"] = round(equivalents * NAND2_UM2[target], 1)
        note += f" Area: gate equivalents times {NAND2_UM2[target]} um2, the smallest NAND2 of {target}'s hd library."
    else:
        note += f" No area, because nobody here knows the size of a gate in {target!r}."
    return StageResult(StageStatus.PASSED, summary, {"estimate": True, "note": note, "cells": cells, "target": target})


def _plain(cell: str) -> str:
    """`$_DFF_P_` as `DFF_P`."""
    return cell.removeprefix("\\").removeprefix("$").strip("_")


# -- nextpnr ---------------------------------------------------------------------------------------------------


def _wanted(project: Project) -> Wanted:
    """The clocks asked for: by name, one period for all, or none."""
    files = {name: _text(project, name) for name in constraint_files(project) if name.lower().endswith(".sdc")}
    clocks = clocks_of(files)
    if clocks:
        return clocks
    analysis = project.config.analysis
    return analysis.timing.period_ns if analysis is not None and analysis.timing is not None else None


def _text(project: Project, name: str) -> str:
    with (project.root / name).open(encoding="utf-8", errors="replace") as stream:
        return stream.read(SDC_BYTES_MAX)


async def _place(
    context: StageContext, profile: DeviceProfile, wanted: Wanted, statistics: Mapping[str, Any]
) -> StageResult:
    project = context.project
    notes: list[str] = []
    argv = ["nextpnr-ecp5", profile.nextpnr_device, "--package", profile.package, "--speed", str(profile.speed_grade)]
    argv += ["--json", NETLIST, "--report", TIMING, "--seed", str(project.config.verification.synthesis.seed)]
    argv += ["--timing-allow-fail", "--lpf-allow-unconstrained"]
    argv += [word for name in _pins(project) for word in ("--lpf", f"{SOURCES}/{name}")]
    base_mhz = 1000.0 / wanted if isinstance(wanted, float) else profile.clk_hz / 1e6
    argv += ["--freq", f"{base_mhz:.6f}"]
    if isinstance(wanted, list):
        write_output(context.work, CONSTRAINTS, as_lpf(wanted))
        argv += ["--lpf", CONSTRAINTS]
    context.sink.log(f"nextpnr: place and route for {profile.title}")
    outcome = await context.tools.run(ToolCall("nextpnr", argv, _limits(project)))
    if _too_many_pins(outcome):
        notes.append("more ports than pins: placed as a block without pins and without a global clock")
        context.sink.log(notes[-1], Level.WARNING)
        outcome = await context.tools.run(ToolCall("nextpnr", [*argv, "--out-of-context"], _limits(project)))
    if outcome.exit_code or outcome.stopped:
        return _does_not_fit(outcome, profile, statistics)
    report = _read(context, TIMING, "nextpnr", outcome)
    names = Names(_read(context, NETLIST, "yosys", outcome), project.top, _roots(context))
    artifacts = tuple(Artifact(name, context.work / name, "application/json") for name in (NETLIST, TIMING))
    return replace(_placed(report, names, profile, wanted, notes), artifacts=artifacts)


def _roots(context: StageContext) -> list[str]:
    """How tools spell the folder of the sources: as they are given it, or where a link leads."""
    linked = (context.work / SOURCES).resolve()
    relative = os.path.relpath(linked, context.work.resolve())
    return [SOURCES, relative, str(context.work / SOURCES), str(linked), f"/work/{SOURCES}"]


def _pins(project: Project) -> Sequence[str]:
    return [name for name in constraint_files(project) if name.lower().endswith(".lpf")]


def _too_many_pins(outcome: ToolOutcome) -> bool:
    """Whether it failed because a design that is a part of something has more ports than the package has pins."""
    return outcome.exit_code != 0 and any("TRELLIS_IO" in line and "ERROR" in line for line in outcome.tail)


def _does_not_fit(outcome: ToolOutcome, profile: DeviceProfile, statistics: Mapping[str, Any]) -> StageResult:
    """A design that is too large is a result; anything else is the tool's failure."""
    said = next((line for line in outcome.tail if "ERROR" in line and ("placing" in line or "place" in line)), None)
    if outcome.stopped is not None or said is None:
        raise _failed("nextpnr", outcome)
    reason = f"does not fit {profile.device}: {said.split('ERROR:', 1)[-1].strip()}"
    cells = [{"name": name, "count": int(count)} for name, count in statistics["num_cells_by_type"].items()]
    return StageResult(StageStatus.FAILED, {"cells": int(statistics["num_cells"])}, {"cells": cells}, reason=reason)


def _placed(
    report: Mapping[str, Any],
    names: Names,
    profile: DeviceProfile,
    wanted: Wanted,
    notes: list[str],
) -> StageResult:
    used = report["utilization"]
    asked = {one.port: one.mhz for one in wanted} if isinstance(wanted, list) else {}
    clocks = [_graded(name, one, asked) for name, one in sorted(report["fmax"].items())]
    idle = asked.keys() - {one["name"] for one in clocks}
    notes += [f"the constraints' clock {port!r} clocks nothing" for port in asked if port in idle]
    summary: Json = {"fmax_mhz": min((one["fmax_mhz"] for one in clocks), default=None)}
    summary |= {name: used[cell]["used"] for name, cell in SUMMARY.items() if cell in used}
    details: Json = {
        "device": profile.device,
        "utilisation": [{"name": title, **used[cell]} for cell, title in SHOWN.items() if cell in used],
        "clocks": clocks,
        "critical_path": longest(report, names),
        "notes": notes,
    }
    missed = [one for one in clocks if not one["met"] and (one["name"] in asked or isinstance(wanted, float))]
    words = [f"clock {one['name']} reaches {one['fmax_mhz']:g} MHz of {one['target_mhz']:g}" for one in missed]
    words += [f"the constraints' clock {port!r} is no port or net of the design" for port in sorted(idle - names.all)]
    status = StageStatus.FAILED if words else StageStatus.PASSED
    return StageResult(status, summary, details, reason="; ".join(words) or None)


def _graded(net: str, one: Mapping[str, float], asked: Mapping[str, float]) -> Json:
    """A clock, and whether it reaches what was asked for, else what nextpnr was told to aim at."""
    name, reached = clean_clock(net), one["achieved"]
    aimed = asked.get(name, one["constraint"])
    return {"name": name, "fmax_mhz": round(reached, 2), "target_mhz": round(aimed, 2), "met": reached >= aimed}
