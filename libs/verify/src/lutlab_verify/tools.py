"""The port through which engines run tools, and what a tool's run looks like.

Inside, a tool sees two folders and no more of the host than it needs to start: its working folder is the stage's
(`StageContext.work`, writable), and the project's files stand read-only under `src/` in it. Every path in an argument
list is relative to the working folder, so that a call reads the same in the sandbox, in a test and in a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

SOURCES = "src"
"""The project's files, seen from the working folder."""


class Stop(StrEnum):
    """Which limit ended a tool."""

    TIME = "time"
    MEMORY = "memory"
    PROCESSES = "processes"
    OUTPUT = "output"


@dataclass(frozen=True)
class ToolLimits:
    """What one call may use.

    Attributes:
        wall_s: seconds until it is killed with everything it started.
        resident_bytes: memory of all its processes together.
        file_bytes: size of any file it writes.
        processes: processes and threads at once.
        output_bytes: how much it may print; what is more is dropped, and the log says so.
    """

    wall_s: float = 60.0
    resident_bytes: int = 2 << 30
    file_bytes: int = 512 << 20
    processes: int = 64
    output_bytes: int = 4 << 20


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool.

    Attributes:
        tool: its name as `/health` shows it (`lutlab_verify.catalogue`): `verilator`, `icarus`, `yosys` ...
        argv: the arguments, the program first: a bare name, looked up by whoever runs the call.
        limits: what it may use.
        environment: variables beside the few every tool has.
    """

    tool: str
    argv: Sequence[str]
    limits: ToolLimits = field(default_factory=ToolLimits)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolOutcome:
    """How a call ended.

    Attributes:
        exit_code: its exit status; 128 + n for signal n.
        stopped: the limit it was killed for, None if it ended by itself.
        tail: its last lines, standard output and standard error as they came.
        seconds: how long it ran.
    """

    exit_code: int
    stopped: Stop | None
    tail: Sequence[str]
    seconds: float


class Tools(Protocol):
    """Runs tools on files of people who are not trusted."""

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        """Run a tool to its end, or until a limit or cancellation kills it and everything it started.

        Raises:
            ToolMissing: it is not installed here.
        """
        ...


class ToolMissing(Exception):
    """A tool is not installed; the message names it and how to get it."""

    code = "tool_missing"
