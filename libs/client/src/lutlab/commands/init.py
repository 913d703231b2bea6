"""`lutlab init`: a folder to begin a verification project with."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from lutlab.commands.common import note
from lutlab.commands.config import EXIT_WRONG

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Template(StrEnum):
    """What to begin with; a folder of `lutlab/templates` each."""

    COUNTER = "simple-counter"
    CRYPTO = "crypto-accelerator"
    EMPTY = "empty"


def init(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name: letters, digits and hyphens.")],
    template: Annotated[Template, typer.Option("--template", help="What to begin with.")] = Template.COUNTER,
    target: Annotated[str, typer.Option("--target", help="A process, or one of our boards.")] = "ecp5",
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where; must be new or empty. Default: named like the project.")
    ] = None,
) -> None:
    """Make a folder with a design and checks, for `lutlab verify`."""
    if NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r} is no name for a project: use letters, digits and hyphens, at most 64")
    if TARGET.fullmatch(target) is None:
        raise typer.BadParameter(f"{target!r} is no name of a process or board", param_hint="--target")
    root = folder or Path(name)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        note(f"{root} is there already, and not empty; choose another with --folder")
        raise typer.Exit(EXIT_WRONG)
    words = {"@NAME@": name, "@TARGET@": target}
    for path in _copy(files("lutlab") / "templates" / template.value, root, words):
        note(f"wrote {path}")
    note(f"check it with: lutlab verify {shlex.quote(str(root))}")


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> list[Path]:
    """Copy a template, with words of it replaced. Returns: the files, in order."""
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for entry in sorted(source.iterdir(), key=lambda each: (each.is_dir(), each.name)):
        place = target / entry.name
        if entry.is_dir():
            written += _copy(entry, place, words)
            continue
        text = entry.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        place.write_text(text, encoding="utf-8")
        written.append(place)
    return written
