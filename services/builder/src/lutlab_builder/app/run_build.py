"""Run a build: name it, look it up, else take it through its stages and keep what it yields."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

import lutlab_profiles
from lutlab_builder.app import stages
from lutlab_builder.app.ports import Artifacts, Cache, Gateware, LogSink, Sandbox, Stage, Toolchain, Workdirs
from lutlab_builder.app.stages import Run, StageLimits, Target
from lutlab_builder.domain import diagnose
from lutlab_builder.domain.bundle import BASE_BUNDLE, Bundle, read_upload
from lutlab_builder.domain.elaboration import Elaboration
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.plan import Plan, Recipe, make_plan
from lutlab_builder.domain.report import LOG_TAIL_LINES, BuildReport, PnrReport
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_profiles import DeviceProfile, UnknownProfile

log = structlog.get_logger(__name__)

TIMING_EPSILON_MHZ = 0.005
"""nextpnr reports hundredths of a MHz."""
CLOCK_CHARS_MAX = 200
"""Of the name of a net, which the design chose: with it the report must fit into a command."""


@dataclass(frozen=True)
class Built:
    """A finished build; `cached` means that no tool ran for it."""

    plan: Plan
    artifacts: Artifacts
    cached: bool


class Builder:
    """Builds designs. Builds of the same key wait for the first one; others run side by side."""

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        cache: Cache,
        toolchain: Toolchain,
        gateware: Gateware,
        workdirs: Workdirs,
        limits: StageLimits,
    ) -> None:
        self._sandbox = sandbox
        self._cache = cache
        self._toolchain = toolchain
        self._gateware = gateware
        self._workdirs = workdirs
        self._limits = limits
        self._under_way: dict[str, asyncio.Lock] = {}

    async def build(self, request: BuildRequest, sink: LogSink) -> Built:
        """Build an upload.

        Args:
            request: the upload and its options.
            sink: hears every stage and line while they happen.

        Raises:
            BuildFailure: there is no bitstream; says why, and in which stage.
        """
        bundle = await asyncio.to_thread(read_upload, request.filename, request.source)
        return await self._build(bundle, request.options, sink)

    async def measure(self, request: BuildRequest, sink: LogSink, *, route: bool, seed: int | None = None) -> Estimate:
        """Take an upload through synthesis, and through place-and-route if `route`, for what the tools measure there.

        Makes no bitstream and keeps nothing. Another `seed` than the builder's own is for exploring only: builds that
        boards get have one seed, so that they repeat.

        Raises:
            BuildFailure: as for `build`.
        """
        bundle = await asyncio.to_thread(read_upload, request.filename, request.source)
        profile = _profile(request.options.profile)
        recipe = self._toolchain.recipe()
        if seed is not None:
            recipe = replace(recipe, seed=seed)
        plan = make_plan(bundle, request.options, profile, recipe)
        await self._toolchain.prepare()
        run = Run(plan, self._target(plan, profile, recipe), self._workdirs.create(), self._sandbox, sink)
        stage = Stage.ELABORATE
        try:
            await stages.elaborate(run, self._limits.elaborate)
            stage = Stage.SYNTHESIZE
            cells = await stages.synthesize(run, self._limits.synthesize)
            stage = Stage.PLACE_AND_ROUTE
            pnr = await stages.place_and_route(run, self._limits.place_and_route) if route else None
        except BuildFailure as failure:
            raise failure.at(str(stage)) from None
        finally:
            self._workdirs.remove(run.folder)
        said = run.said(Stage.SYNTHESIZE, Stage.PLACE_AND_ROUTE)
        return Estimate(plan, run.target, recipe, cells, pnr, diagnose.warnings(said))

    async def build_base(self, profile: str, sink: LogSink) -> Built:
        """Build the base design, which boards run while nobody has reserved them. Raises: BuildFailure."""
        return await self._build(BASE_BUNDLE, Options(profile=profile), sink)

    async def _build(self, bundle: Bundle, options: Options, sink: LogSink) -> Built:
        profile = _profile(options.profile)
        recipe = self._toolchain.recipe()
        plan = make_plan(bundle, options, profile, recipe)
        async with self._alone(plan.build_key):
            kept = await asyncio.to_thread(self._cache.get, plan.build_key)
            if kept is not None:
                _replay(kept, sink)
                return Built(plan, kept, cached=True)
            artifacts = await self._run(plan, profile, recipe, sink)
            await asyncio.to_thread(self._cache.put, plan.build_key, artifacts)
            return Built(plan, artifacts, cached=False)

    @asynccontextmanager
    async def _alone(self, build_key: str) -> AsyncIterator[None]:
        """No second build of this key meanwhile; the last one to leave forgets the lock."""
        lock = self._under_way.setdefault(build_key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._under_way.get(build_key) is lock:
                del self._under_way[build_key]

    async def _run(self, plan: Plan, profile: DeviceProfile, recipe: Recipe, sink: LogSink) -> Artifacts:
        await self._toolchain.prepare()
        target = self._target(plan, profile, recipe)
        folder = self._workdirs.create()
        run = Run(plan, target, folder, self._sandbox, sink)
        stage = Stage.ELABORATE
        try:
            elaboration = await stages.elaborate(run, self._limits.elaborate)
            stage = Stage.SYNTHESIZE
            cells = await stages.synthesize(run, self._limits.synthesize)
            stage = Stage.PLACE_AND_ROUTE
            pnr = await stages.place_and_route(run, self._limits.place_and_route)
            stage = Stage.PACK
            bitstream = await stages.pack(run, self._limits.pack)
        except BuildFailure as failure:
            raise failure.at(str(stage)) from None
        finally:
            self._workdirs.remove(folder)
        report = make_report(run, recipe, Measured(elaboration, cells, pnr), bitstream)
        return Artifacts(bitstream, report, tuple(run.log))

    def _target(self, plan: Plan, profile: DeviceProfile, recipe: Recipe) -> Target:
        clk_hz = self._gateware.clk_hz(profile, plan.options.sys_clk_hz)
        wanted_mhz = plan.options.timing_target_mhz
        timing_hz = round(wanted_mhz * 1e6) if wanted_mhz is not None else clk_hz
        constraints = self._gateware.constraints(profile, clk_hz, timing_hz)
        return Target(profile, clk_hz, timing_hz, constraints, recipe.seed, self._gateware.panel(profile))


def _profile(name: str) -> DeviceProfile:
    try:
        return lutlab_profiles.get(name)
    except UnknownProfile as error:
        raise BuildFailure(Code.UNKNOWN_PROFILE, str(error)) from None


def _replay(artifacts: Artifacts, sink: LogSink) -> None:
    """Tell the sink what was said when the build ran, so that the log of every job is whole."""
    for timed in artifacts.report.stages:
        sink.stage(Stage(timed.name))
        for stage, text in artifacts.log:
            if stage == timed.name:
                sink.line(stage, text)


@dataclass(frozen=True)
class Estimate:
    """What the tools say of a design before there is a bitstream; `pnr` is None if it was not placed."""

    plan: Plan
    target: Target
    recipe: Recipe
    cells: dict[str, int]
    pnr: PnrReport | None
    warnings: list[str]


@dataclass(frozen=True)
class Measured:
    """What the stages before packing found."""

    elaboration: Elaboration
    cells: dict[str, int]
    pnr: PnrReport


def make_report(run: Run, recipe: Recipe, measured: Measured, bitstream: bytes) -> BuildReport:
    """What the stages measured, as one report."""
    pnr, elaboration = measured.pnr, measured.elaboration
    target = run.target
    target_mhz = target.timing_hz / 1e6
    # The slowest clock decides; a design has only the SoC's unless it makes its own.
    clock = min(pnr.fmax_mhz, key=lambda net: pnr.fmax_mhz[net], default=None)
    divider = target.profile.divider(target.clk_hz)
    fmax_mhz = round(pnr.fmax_mhz[clock], 2) if clock is not None else None
    return BuildReport(
        fmax_mhz=fmax_mhz,
        sys_clk_mhz=target.clk_hz / 1e6,
        target_mhz=target_mhz,
        timing_met=None if fmax_mhz is None else fmax_mhz + TIMING_EPSILON_MHZ >= target_mhz,
        clock=None if clock is None else clock[:CLOCK_CHARS_MAX],
        util=pnr.util(),
        synth_cells=measured.cells,
        warnings=diagnose.warnings(run.said(Stage.SYNTHESIZE, Stage.PLACE_AND_ROUTE)),
        design_hash=run.plan.design_hash,
        toolchain=recipe.toolchain,
        log_tail="\n".join(text for _, text in run.log[-LOG_TAIL_LINES:]),
        stages=list(run.times),
        profile=target.profile.name,
        build_key=run.plan.build_key,
        build_id=run.plan.build_id,
        clk_hz=target.clk_hz,
        divider=divider,
        baud=round(target.clk_hz / divider),
        address_words=elaboration.address_words,
        target=elaboration.target,
        bitstream_digest=hashlib.sha256(bitstream).hexdigest(),
        bitstream_bytes=len(bitstream),
    )
