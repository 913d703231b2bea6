"""`lutlab-builder`: build one file at a terminal, warm the tools, or serve build work from NATS."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
import uvloop
from nats.aio.client import Client

import lutlab_profiles
from lutlab_builder.adapters import hostfiles
from lutlab_builder.adapters.bwrap import BwrapSandbox, find_bwrap
from lutlab_builder.adapters.cache import DirectoryCache
from lutlab_builder.adapters.gateware import LutlabGateware
from lutlab_builder.adapters.nats_io import NatsBlobs, NatsOutlet, NatsReports, NatsStageOutlet, NatsStageReports
from lutlab_builder.adapters.nats_worker import BuildQueue, Pulse, keep_bases
from lutlab_builder.adapters.stage_files import DigestStore, FolderCaches
from lutlab_builder.adapters.stage_tools import SandboxedTools, UnsandboxedTools, tool_reports
from lutlab_builder.adapters.tools import InstalledTools
from lutlab_builder.adapters.unsandboxed import NoSandbox
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
from lutlab_builder.app.do_work import BuildService
from lutlab_builder.app.ports import Artifacts, Sandbox, Stage
from lutlab_builder.app.run_build import Builder
from lutlab_builder.app.run_stage import StageService, ToolRoom, Verification
from lutlab_builder.domain.errors import BuildFailure
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_builder.settings import MIB, RUN_CHARS, Settings
from lutlab_builder.warm import WarmStep, warm
from lutlab_events import subjects
from lutlab_profiles import UnknownProfile
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.connection import connect
from lutlab_transport.ending import stop_event, unless
from lutlab_transport.logging import setup_logging
from lutlab_transport.metrics import serve_metrics
from lutlab_transport.settings import explained, read
from lutlab_transport.tracing import start_tracing, stop_tracing
from lutlab_verify.config import load
from lutlab_verify.engines import engine

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Room:
    """The builder and its tools, put together."""

    builder: Builder
    tools: InstalledTools
    sandboxed: bool
    stage_room: ToolRoom
    workdirs: TemporaryWorkdirs


async def make_room(settings: Settings) -> Room:
    """Construct everything a build needs.

    Raises:
        BuildFailure: `sandbox_unavailable`.
        PackageMissing: a dependency is not installed.
    """
    files = hostfiles.discover()
    root = settings.cache_dir / "builder"
    tools = InstalledTools(files, settings.tools_dir or root / "tools", settings.seed)
    sandbox, sandboxed = await _sandbox(settings, files, tools.wasm_cache)
    workdirs = TemporaryWorkdirs(root / "work")
    builder = Builder(
        sandbox=sandbox,
        cache=DirectoryCache(root / "builds", settings.cache_mib_max * MIB),
        toolchain=tools,
        gateware=LutlabGateware(),
        workdirs=workdirs,
        limits=settings.limits(),
    )
    stage_room: ToolRoom = UnsandboxedTools()
    if isinstance(sandbox, BwrapSandbox):
        stage_room = SandboxedTools(sandbox, files, tools.wasm_cache)
    return Room(builder, tools, sandboxed, stage_room, workdirs)


async def _sandbox(settings: Settings, files: hostfiles.HostFiles, wasm_cache: Path) -> tuple[Sandbox, bool]:
    try:
        return await BwrapSandbox.probe(find_bwrap(), files, wasm_cache), True
    except BuildFailure as failure:
        if not settings.allow_unsandboxed:
            raise
        sys.stderr.write(f"warning: building WITHOUT a sandbox, as asked: {failure.message}\n")
        return NoSandbox(files, wasm_cache), False


class TerminalLog:
    """A LogSink for a person."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def stage(self, stage: Stage) -> None:
        """Name the stage."""
        sys.stderr.write(f"== {stage}\n")

    def line(self, stage: Stage, text: str) -> None:
        """Pass a tool's line on."""
        if not self._quiet:
            sys.stderr.write(f"{text}\n")


async def build_command(args: argparse.Namespace, settings: Settings) -> int:
    """Build one file; its products go to `--out`."""
    options = Options(args.profile, args.clk_hz, args.top, args.timing_target_mhz)
    request = BuildRequest(args.file.name, args.file.read_bytes(), options)
    room = await make_room(settings)
    built = await room.builder.build(request, TerminalLog(args.quiet))
    args.out.mkdir(parents=True, exist_ok=True)
    write_artifacts(args.out, built.artifacts)
    report = built.artifacts.report
    where = "from the cache" if built.cached else f"in {sum(stage.seconds for stage in report.stages):.1f} s"
    sys.stderr.write(
        f"built {report.target} {where}: {report.bitstream_bytes} bytes, fmax {report.fmax_mhz} MHz, "
        f"target {report.target_mhz:g} MHz, build {report.build_id:08x} -> {args.out}\n"
    )
    return 0


def write_artifacts(folder: Path, artifacts: Artifacts) -> None:
    """Write `design.bit`, `report.json` and `build.log`."""
    (folder / "design.bit").write_bytes(artifacts.bitstream)
    report = msgspec.json.format(msgspec.json.encode(artifacts.report), indent=2)
    (folder / "report.json").write_bytes(report + b"\n")
    text = "".join(f"{stage}: {line}\n" for stage, line in artifacts.log)
    (folder / "build.log").write_text(text, encoding="utf-8")


async def serve_command(settings: Settings) -> int:
    """Serve build work from NATS until SIGTERM or SIGINT."""
    stop = stop_event()
    room = await make_room(settings)
    bases_wanted = asyncio.Event()
    connecting = connect(
        settings.nats_url,
        name=f"builder {settings.id}",
        nkey_seed_file=settings.nats_nkey_file,
        token=settings.nats_token,
        inbox=subjects.inbox(subjects.builder_durable(settings.site)),
        reconnected=bases_wanted.set,
    )
    nc = await unless(stop, connecting)
    if nc is None:
        return 0
    try:
        await serve(nc, room, settings, stop, bases_wanted)
    finally:
        await nc.close()
    return 0


async def serve(nc: Client, room: Room, settings: Settings, stop: asyncio.Event, bases_wanted: asyncio.Event) -> None:
    """Take work until `stop` is set; the work in hand then goes back. `bases_wanted`: NATS may have lost the bases."""
    clock, ids = SystemClock(), RandomIds()
    builder_id = f"{settings.id}-{ids.new().hex[:RUN_CHARS]}"
    sender = CommandClient(nc, site=settings.site, actor=f"builder:{builder_id}", clock=clock, ids=ids)
    await sender.start()
    service = BuildService(
        builder=room.builder,
        blobs=NatsBlobs(nc),
        reports=NatsReports(sender, builder_id=builder_id),
        outlet=lambda work, delivery: NatsOutlet(nc, sender, work, delivery, site=settings.site, clock=clock),
    )
    stages = _stage_service(nc, room, settings, sender, builder_id)
    queue = BuildQueue(nc, service, site=settings.site, slots=settings.concurrency, stages=stages)
    stop_metrics = serve_metrics(settings.metrics_port, queue.gauges)
    pulse = Pulse(nc, queue, site=settings.site, builder_id=builder_id, slots=settings.concurrency)
    log.info("builder_started", builder_id=builder_id, site=settings.site, sandboxed=room.sandboxed)
    tasks = [
        asyncio.create_task(queue.run()),
        asyncio.create_task(keep_bases(service, settings.profile_names(), bases_wanted)),
        asyncio.create_task(pulse.run(tool_reports)),
        asyncio.create_task(stop.wait()),
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await queue.stop()
    stop_metrics()
    log.info("builder_stopped", builder_id=builder_id)
    for task in done:
        task.result()


def _stage_service(nc: Client, room: Room, settings: Settings, sender: CommandClient, builder_id: str) -> StageService:
    clock = SystemClock()
    reports = NatsStageReports(nc, sender, site=settings.site, builder_id=builder_id)
    root = settings.cache_dir / "verify"
    return StageService(
        verification=Verification(load=load, engine=engine),
        room=room.stage_room,
        blobs=NatsBlobs(nc),
        reports=reports,
        outlet=lambda work, delivery: NatsStageOutlet(nc, work, delivery, site=settings.site, clock=clock),
        live=reports,
        workdirs=room.workdirs,
        files=DigestStore(root / "files", settings.files_mib_max * MIB),
        caches=FolderCaches(root / "projects", settings.simulators_mib_max * MIB),
    )


async def warm_command(settings: Settings) -> int:
    """Prepare this host; each step is one line when it begins and its end when it is done."""
    room = await make_room(settings)
    await warm(room.builder, room.tools, settings.profile_names(), _tell)
    return 0


def _tell(step: WarmStep) -> None:
    if step.seconds is None:
        sys.stdout.write(f"[{step.number}/{step.total}] {step.text} ({step.why}) ... ")
    else:
        sys.stdout.write("already done\n" if step.was_done else f"{step.seconds:.1f} s\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="lutlab-builder",
        description="Build designs in a sandbox. Without a command: serve build work from NATS.",
        epilog=explained(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--warm", action="store_true", help="the same as the command `warm`")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("warm", help="compile the tools and build the base designs, then end")
    build = commands.add_parser("build", help="build one design.py, design.v or project.zip here")
    build.add_argument("file", type=Path, help="the design")
    build.add_argument("--out", type=Path, required=True, help="folder for design.bit, report.json and build.log")
    build.add_argument("--profile", default=lutlab_profiles.DEFAULT_PROFILE, help="device profile (%(default)s)")
    build.add_argument("--top", help="class or module to build, where several fit")
    build.add_argument("--clk-hz", type=int, help="the design's clock, 10 to 200 MHz (default: the board's)")
    build.add_argument("--timing-target-mhz", type=float, help="grade timing against this instead of the clock")
    build.add_argument("--quiet", action="store_true", help="name the stages only")
    return top


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Carry out one command line; its exit status."""
    if args.command == "build":
        return await build_command(args, settings)
    if args.warm or args.command == "warm":
        return await warm_command(settings)
    return await serve_command(settings)


def main() -> int:
    """Entry point."""
    args = parser().parse_args()
    settings = read(Settings, "lutlab-builder")
    setup_logging("builder", level=settings.log_level)
    start_tracing("builder", settings.otlp_endpoint)
    try:
        return uvloop.run(run(args, settings))
    except (BuildFailure, hostfiles.PackageMissing, UnknownProfile, OSError) as failure:
        stage = getattr(failure, "stage", None)
        place = f" in {stage}" if stage else ""
        sys.stderr.write(f"error{place}: {failure}\n")
        return 1
    finally:
        stop_tracing()


if __name__ == "__main__":
    sys.exit(main())
