"""`lutlab-builder`: build one file at a terminal, warm the tools, or serve build work from NATS."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

import lutlab_profiles
from lutlab_builder.adapters import hostfiles
from lutlab_builder.adapters.bwrap import BwrapSandbox, find_bwrap
from lutlab_builder.adapters.cache import DirectoryCache
from lutlab_builder.adapters.gateware import LutlabGateware
from lutlab_builder.adapters.tools import InstalledTools
from lutlab_builder.adapters.unsandboxed import NoSandbox
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
from lutlab_builder.app.ports import Artifacts, Sandbox, Stage
from lutlab_builder.app.run_build import Builder
from lutlab_builder.domain.errors import BuildFailure
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_builder.settings import MIB, Settings


@dataclass(frozen=True)
class Room:
    """The builder and its tools, put together."""

    builder: Builder
    tools: InstalledTools
    sandboxed: bool


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
    builder = Builder(
        sandbox=sandbox,
        cache=DirectoryCache(root / "builds", settings.cache_mib_max * MIB),
        toolchain=tools,
        gateware=LutlabGateware(),
        workdirs=TemporaryWorkdirs(root / "work"),
        limits=settings.limits(),
    )
    return Room(builder, tools, sandboxed)


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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="lutlab-builder", description=__doc__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    build = commands.add_parser("build", help="build one design.py, design.v or project.zip here")
    build.add_argument("file", type=Path, help="the design")
    build.add_argument("--out", type=Path, required=True, help="folder for design.bit, report.json and build.log")
    build.add_argument("--profile", default=lutlab_profiles.DEFAULT_PROFILE, help="device profile (%(default)s)")
    build.add_argument("--top", help="class or module to build, where several fit")
    build.add_argument("--clk-hz", type=int, help="the design's clock, 10 to 200 MHz (default: the board's)")
    build.add_argument("--timing-target-mhz", type=float, help="grade timing against this instead of the clock")
    build.add_argument("--quiet", action="store_true", help="name the stages only")
    return top


def main() -> int:
    """Entry point."""
    args = parser().parse_args()
    settings = Settings()
    try:
        if args.command == "build":
            return asyncio.run(build_command(args, settings))
    except (BuildFailure, hostfiles.PackageMissing) as failure:
        stage = getattr(failure, "stage", None)
        place = f" in {stage}" if stage else ""
        sys.stderr.write(f"error{place}: {failure}\n")
        return 1
    parser().print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main())
