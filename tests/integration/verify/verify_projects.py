"""Small projects for the engines of lutlab_verify, and a sink that remembers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lutlab_verify.config.model import Config
from lutlab_verify.plain_tools import PlainTools
from lutlab_verify.project import Project
from lutlab_verify.stage import Level, StageContext
from lutlab_verify.tools import Tools

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


class Heard:
    """A sink that remembers lines and progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: list[tuple[int, int, str]] = []

    def log(self, message: str, level: Level = Level.INFO) -> None:
        self.lines.append(f"{level}: {message}")

    def progress(self, done: int, total: int, unit: str) -> None:
        self.counts.append((done, total, unit))


def write_files(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def make_project(
    root: Path,
    top: str,
    *,
    sources: tuple[str, ...],
    benches: tuple[str, ...] = (),
    includes: tuple[str, ...] = (),
    project: Mapping[str, Any] | None = None,
    lint: Mapping[str, Any] | None = None,
    simulation: Mapping[str, Any] | None = None,
) -> Project:
    config = Config.model_validate(
        {
            "project": {"name": "example", "top_module": top, "target_pdk": "ecp5", **(project or {})},
            "design": {"sources": sources},
            "verification": {
                "lint": lint or {},
                "simulation": {"timeout_seconds": 60, **(simulation or {}), "testbenches": benches},
            },
        }
    )
    return Project(root, config, sources, testbenches=benches, includes=includes)


def context(
    project: Project, work: Path, *, seed: int = 1, cache: Path | None = None, tools: Tools | None = None
) -> StageContext:
    shutil.rmtree(work, ignore_errors=True)
    tools = tools or PlainTools(work, project.root)
    work.mkdir(exist_ok=True)
    return StageContext(project, work, tools, Heard(), seed, cache)
