"""What a build needs from the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from lutlab_builder.domain.plan import Recipe
from lutlab_builder.domain.report import BuildReport
from lutlab_profiles import DeviceProfile


class Stage(StrEnum):
    """The stages of a build, in order."""

    ELABORATE = "elaborate"
    SYNTHESIZE = "synthesize"
    PLACE_AND_ROUTE = "place-and-route"
    PACK = "pack"


class LogSink(Protocol):
    """Where progress goes while a build runs. Must not block; the sink adds timestamps."""

    def stage(self, stage: Stage) -> None:
        """The build entered a stage."""
        ...

    def line(self, stage: Stage, text: str) -> None:
        """A tool said something; one line without its end, no control characters."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one sandboxed program may use.

    Attributes:
        wall_s: seconds until it is killed.
        cpu_s: processor seconds a process.
        address_space_bytes: RLIMIT_AS a process; None where a tool reserves more than it uses (WebAssembly).
        data_bytes: RLIMIT_DATA a process: private writable memory, reservations not counted.
        resident_bytes: resident memory of all processes together, polled.
        file_bytes: size of any file it writes.
        processes: processes and threads at once, polled; a hard limit of twice as many holds between polls.
        output_lines, output_bytes: how much it may say; more is dropped, and the log says so.
    """

    wall_s: float
    cpu_s: int
    resident_bytes: int
    address_space_bytes: int | None = None
    data_bytes: int | None = None
    file_bytes: int = 128 << 20
    processes: int = 32
    output_lines: int = 20_000
    output_bytes: int = 4 << 20


@dataclass(frozen=True)
class SandboxJob:
    """One program to run in the sandbox.

    Attributes:
        program: a module of `lutlab_builder.inside`.
        params: its parameters, JSON values.
        limits: what it may use.
        inputs: name -> host file it may read.
        outputs: name -> host file it may write; created empty before it runs.
        design: host folder of the user's files, read-only to it; its working folder if given.
    """

    program: str
    params: Mapping[str, Any]
    limits: Limits
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    design: Path | None = None


class Stop(StrEnum):
    """Which limit ended a program."""

    TIME = "time"
    MEMORY = "memory"
    PROCESSES = "processes"


@dataclass(frozen=True)
class Outcome:
    """How a sandboxed program ended.

    Attributes:
        exit_code: its exit status; 128 + n for signal n.
        stopped: the limit it was killed for, None if it ended by itself.
        tail: its last lines, also those dropped from the log.
        seconds: how long it ran.
        resident_peak_bytes: the most memory seen at a poll.
    """

    exit_code: int
    stopped: Stop | None
    tail: Sequence[str]
    seconds: float
    resident_peak_bytes: int


class Sandbox(Protocol):
    """Runs programs that must not be trusted."""

    async def run(self, job: SandboxJob, on_line: Callable[[str], None]) -> Outcome:
        """Run a program to its end, or until a limit or cancellation kills it and everything it started.

        Raises:
            BuildFailure: `sandbox_unavailable`.
        """
        ...


class Workdirs(Protocol):
    """Makes a private, empty folder for a build and removes it afterwards."""

    def create(self) -> Path:
        """A new folder that only this process can open."""
        ...

    def remove(self, folder: Path) -> None:
        """Remove it and all it holds."""
        ...


@dataclass(frozen=True)
class Artifacts:
    """What a build yields: the bitstream, its report and its log as (stage, line)."""

    bitstream: bytes
    report: BuildReport
    log: Sequence[tuple[Stage, str]]


class Cache(Protocol):
    """Finished builds by build key."""

    def get(self, build_key: str) -> Artifacts | None:
        """A finished build, or None."""
        ...

    def put(self, build_key: str, artifacts: Artifacts) -> None:
        """Keep a finished build; older ones may be dropped for it."""
        ...


class Gateware(Protocol):
    """What the trusted side decides about the SoC around a design."""

    def clk_hz(self, profile: DeviceProfile, wanted_hz: int | None) -> int:
        """The design's clock as it can be made. Raises: BuildFailure `invalid_sys_clk_freq`."""
        ...

    def panel(self, profile: DeviceProfile) -> Mapping[str, int | bool]:
        """The board's LEDs, buttons and switches, as `lutlab_gateware.soc.Panel` takes them."""
        ...

    def constraints(self, profile: DeviceProfile, clk_hz: int, timing_hz: int) -> str:
        """nextpnr's constraint file: pins, and the clock to time the design for."""
        ...


class Toolchain(Protocol):
    """Facts about the installed tools and gateware."""

    def recipe(self) -> Recipe:
        """Versions and digests that decide about the bits."""
        ...

    async def prepare(self) -> None:
        """Make sure the tools can start at once; quick when they already can."""
        ...
