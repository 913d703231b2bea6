"""Runs a stage on files of a test, with plain tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutlab_verify.config.model import Config
from lutlab_verify.plain_tools import PlainTools
from lutlab_verify.project import Project
from lutlab_verify.stage import Level, StageContext

EXAMPLES = Path(__file__).parents[3] / "examples"


@dataclass
class Heard:
    """A sink that remembers."""

    lines: list[tuple[Level, str]] = field(default_factory=list)
    steps: list[tuple[int, int, str]] = field(default_factory=list)

    def log(self, message: str, level: Level = Level.INFO) -> None:
        self.lines.append((level, message))

    def progress(self, done: int, total: int, unit: str) -> None:
        self.steps.append((done, total, unit))


def context(
    root: Path,
    work: Path,
    top: str,
    sources: list[str],
    *,
    properties: list[str] | None = None,
    verification: Mapping[str, Any] | None = None,
    defines: Mapping[str, str] | None = None,
) -> StageContext:
    """A stage's context for files under `root`."""
    config = Config.model_validate(
        {
            "project": {"name": "desk", "top_module": top, "target_pdk": "ecp5", "defines": dict(defines or {})},
            "design": {"sources": sources},
            "verification": verification or {},
        }
    )
    project = Project(root, config, tuple(sources), properties=tuple(properties or ()))
    return StageContext(project, work, PlainTools(work, root), Heard(), seed=1)
