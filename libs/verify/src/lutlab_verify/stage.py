"""What goes into a stage and what comes out of it: the frame that every engine fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from lutlab_verify.project import Project
from lutlab_verify.tools import Tools

Json = dict[str, Any]


class Stage(StrEnum):
    """The stages a job can ask for, in the order they run."""

    LINT = "lint"
    SIMULATION = "simulation"
    FORMAL = "formal"
    CRYPTO = "crypto"
    SYNTHESIS = "synthesis"


class StageStatus(StrEnum):
    """How a stage ended. `error`: no verdict, because a tool could not do its work (`TOOL_ERROR`)."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    ERROR = "error"


class Level(StrEnum):
    """How important a log line is (the contract's words)."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Sink(Protocol):
    """Where progress goes while a stage runs. Must not block; the sink adds timestamps."""

    def log(self, message: str, level: Level = Level.INFO) -> None:
        """One line, without its end."""
        ...

    def progress(self, done: int, total: int, unit: str) -> None:
        """`done` of `total` tests, properties ... are through."""
        ...


@dataclass(frozen=True)
class Artifact:
    """A file that a stage leaves: `name` as the API serves it, `path` under the stage's folder."""

    name: str
    path: Path
    media_type: str


@dataclass(frozen=True)
class StageContext:
    """What an engine works with.

    Attributes:
        project: the configuration after overrides, and the files it names.
        work: the stage's own folder on the host, writable; the project's files stand under `src/` in it for tools.
        cache: a folder that lasts between jobs of the same project, for compiled simulators; None for none.
        tools: runs tools.
        sink: hears what happens.
        seed: of this run; whatever is random in a stage derives from it, and it is in the result.
    """

    project: Project
    work: Path
    tools: Tools
    sink: Sink
    seed: int
    cache: Path | None = None


@dataclass(frozen=True)
class StageResult:
    """What a stage found.

    Attributes:
        status: the verdict.
        summary: the stage's object in `GET /jobs/{id}/results` beside `status`, the contract's names first.
        details: everything, for reports, comparison and the web; JSON values. Lists in it are bounded by the engine.
        artifacts: files it leaves.
        reason: why it was skipped or had no verdict: a sentence for a person.
        seconds: how long it ran.
    """

    status: StageStatus
    summary: Json
    details: Json = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    reason: str | None = None
    seconds: float = 0.0


class Unsupported(Exception):
    """The configuration or a source asks for something that no engine here can do: a 422 that says so.

    Attributes:
        field: the configuration's field, None if a source asks for it.
        file, line: where in a source.
    """

    code = "unsupported"

    def __init__(
        self, message: str, *, field: str | None = None, file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.file = file
        self.line = line


class ToolFailed(Exception):
    """A tool could not do its work: the contract's `TOOL_ERROR`, with the tool's own words."""

    code = "TOOL_ERROR"

    def __init__(self, message: str, *, tool: str, tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tool = tool
        self.tail = tail
