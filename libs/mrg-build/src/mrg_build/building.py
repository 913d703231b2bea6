"""One call: a design in, a report out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lutlab_profiles
from lutlab_builder.__main__ import make_room
from lutlab_builder.app.ports import Stage
from lutlab_builder.app.run_build import TIMING_EPSILON_MHZ, Estimate
from lutlab_builder.domain.errors import BuildFailure
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_builder.settings import Settings
from mrg_build.companions import upload

MODES = ("synth", "pnr")
LOG_TAIL_LINES = 40
LOG_LINES_MAX = 50_000
DEVICE_TOTALS = {
    "12F": (24_288, 56, 28),
    "25F": (24_288, 56, 28),
    "45F": (43_848, 108, 72),
    "85F": (83_640, 208, 156),
}
"""Look-up tables (and as many flip-flops), block RAMs and multipliers of each ECP5, from Lattice's data sheet; of a 12F
those of the 25F, the same chip, all of which nextpnr uses."""
LUTS_PER_CARRY, LUTS_PER_RAM = 2, 6
"""What a CCU2C and a TRELLIS_DPR16X4 take of a slice's look-up tables."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a build yielded, in the fields of the contract's BuildReport (see `lutlab_builder.domain.report`)."""

    mode: str
    ok: bool
    scope: str = "soc"
    fits: bool | None = None
    fmax_mhz: float | None = None
    sys_clk_mhz: float | None = None
    target_mhz: float | None = None
    timing_met: bool | None = None
    clock: str | None = None
    util: dict[str, dict[str, int]] | None = None
    synth_cells: dict[str, int] | None = None
    warnings: list[str] = field(default_factory=list)
    design_hash: str | None = None
    toolchain: str | None = None
    log_tail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return dataclasses.asdict(self)


class _Log:
    """A LogSink that remembers the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, stage: Stage) -> None:
        self.lines.append(f"== {stage}")

    def line(self, stage: Stage, text: str) -> None:
        if len(self.lines) >= LOG_LINES_MAX:
            del self.lines[: LOG_LINES_MAX // 2]
        self.lines.append(text)

    def tail(self, *more: str) -> str:
        return "\n".join([*self.lines, *more][-LOG_TAIL_LINES:])


def build(
    *,
    mode: str,
    design: str | Path,
    top: str | None = None,
    target_mhz: float | None = None,
    sys_clk_mhz: float | None = None,
    timing_target_mhz: float | None = None,
    seed: int = 1,
    work: str | Path | None = None,
) -> Report:
    """Measure a design with the lab's own tools.

    Args:
        mode: `synth` (resources, no timing) or `pnr` (whole SoC: highest clock, resources).
        design: a `design.py` or `design.v`.
        top: class or module, where several fit.
        target_mhz: sets both of the next two.
        sys_clk_mhz: the design's clock, 10 to 200 MHz; left out: the board's own.
        timing_target_mhz: what timing is graded against; left out: the clock.
        seed: nextpnr's.
        work: taken for compatibility; the builder has folders of its own.

    Returns:
        A report; `ok` is False and `log_tail` says why if the design cannot be built.

    Raises:
        ValueError: the options contradict each other.
        FileNotFoundError: there is no such design.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} must be one of: {', '.join(MODES)}")
    if target_mhz is not None and (sys_clk_mhz is not None or timing_target_mhz is not None):
        raise ValueError("target_mhz sets both clock and timing target; give it alone, or the two of them")
    path = Path(design).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"design not found: {path}")
    clk_mhz = target_mhz if target_mhz is not None else sys_clk_mhz
    goal_mhz = target_mhz if target_mhz is not None else timing_target_mhz
    log = _Log()
    try:
        options = Options(
            profile=os.environ.get("LUTLAB_PROFILE", lutlab_profiles.DEFAULT_PROFILE),
            sys_clk_hz=None if clk_mhz is None else round(clk_mhz * 1e6),
            top=top,
            timing_target_mhz=goal_mhz,
        )
        with contextlib.redirect_stdout(sys.stderr):  # the caller prints the report there, and nothing else may be
            estimate = asyncio.run(_measure(path, options, log, mode, seed))
    except BuildFailure as failure:
        where = f" in {failure.stage}" if failure.stage else ""
        told = f"FAILED{where}: {failure.code}: {failure.message}"
        return Report(mode=mode, ok=False, sys_clk_mhz=clk_mhz, target_mhz=goal_mhz, log_tail=log.tail(told))
    return _report(mode, estimate, log)


async def _measure(path: Path, options: Options, log: _Log, mode: str, seed: int) -> Estimate:
    room = await make_room(Settings())
    name, data = upload(path)
    return await room.builder.measure(BuildRequest(name, data, options), log, route=mode == "pnr", seed=seed)


def _report(mode: str, estimate: Estimate, log: _Log) -> Report:
    target, pnr = estimate.target, estimate.pnr
    util = _synth_util(target.profile.device, estimate.cells)
    fmax_mhz, clock = None, None
    if pnr is not None:
        clock = min(pnr.fmax_mhz, key=lambda net: pnr.fmax_mhz[net], default=None)
        fmax_mhz = None if clock is None else round(pnr.fmax_mhz[clock], 2)
        util = {name: {"used": use.used, "available": use.available} for name, use in pnr.util().items()}
    target_mhz = target.timing_hz / 1e6
    return Report(
        mode=mode,
        ok=True,
        fits=all(use["used"] <= use["available"] for use in util.values()),
        fmax_mhz=fmax_mhz,
        sys_clk_mhz=target.clk_hz / 1e6,
        target_mhz=target_mhz,
        timing_met=None if fmax_mhz is None else fmax_mhz + TIMING_EPSILON_MHZ >= target_mhz,
        clock=clock,
        util=util,
        synth_cells=estimate.cells,
        warnings=estimate.warnings,
        design_hash=estimate.plan.design_hash,
        toolchain=estimate.recipe.toolchain,
        log_tail=log.tail(),
    )


def _synth_util(device: str, cells: dict[str, int]) -> dict[str, dict[str, int]]:
    """Resources from cell counts, before anything is placed."""
    luts, rams, multipliers = DEVICE_TOTALS[device.rpartition("-")[2]]
    logic = cells.get("LUT4", 0) + LUTS_PER_CARRY * cells.get("CCU2C", 0)
    logic += LUTS_PER_RAM * cells.get("TRELLIS_DPR16X4", 0)
    used = {
        "logic": (logic, luts),
        "ff": (cells.get("TRELLIS_FF", 0), luts),
        "bram": (cells.get("DP16KD", 0) + cells.get("PDPW16KD", 0), rams),
        "dsp": (cells.get("MULT18X18D", 0), multipliers),
    }
    return {name: {"used": count, "available": available} for name, (count, available) in used.items()}
