"""`lutlab config`: the configuration file of a verification project, without a lab; and which lab to talk to."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from lutlab.commands.common import AsJson, DataDir, note, out, out_json
from lutlab.config import base_url, resolve, store, stored

if TYPE_CHECKING:
    from lutlab_verify.config import ConfigError

EXIT_WRONG = 2
SOURCE_BYTES_MAX = 4 << 20

config = typer.Typer(no_args_is_help=True, help="lutlab.yaml: check it, write one; keep a lab and a key.")

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The project's folder.", exists=True, file_okay=False, show_default=True)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--override", "-o", metavar="PATH=VALUE", help="In place of what the file says; may be given again."),
]


@config.callback()
def group() -> None:
    """lutlab.yaml: check it, write one; keep a lab and a key."""


class Kept(StrEnum):
    """What `config set` keeps."""

    TOKEN = "token"  # noqa: S105 - a name
    API_URL = "api-url"


@config.command("set")
def set_(
    *,
    name: Annotated[Kept, typer.Argument(metavar="token|api-url", help="What to keep.")],
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="The key, or the lab's URL; empty to forget it; `-` to read it from standard input."
        ),
    ],
    api_url: Annotated[
        str | None, typer.Option("--api-url", help="The lab a key is for. Default: the one other commands would use.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Keep a lab's URL or your key, so commands need no options."""
    kept = stored()
    if value == "-":  # what stands on a command line can be seen by others
        value = sys.stdin.readline().strip()
    if name is Kept.API_URL:
        path = store(msgspec.structs.replace(kept, api_url=base_url(value) if value else None))
        note(f"kept in {path}")
        return
    url = resolve(api_url, data_dir=data_dir).api_url
    others = {lab: token for lab, token in kept.tokens.items() if lab != url}
    path = store(msgspec.structs.replace(kept, tokens=others | {url: value} if value else others))
    note(f"kept in {path}, for {url} only")


@config.command()
def show(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show which lab commands talk to, and who says so. The key itself is not shown."""
    found = resolve(data_dir=data_dir)
    if as_json:
        out_json({"api_url": found.api_url, "url_from": found.url_from, "key_from": found.key_from or None})
        return
    out(f"lab  {found.api_url}  (from {found.url_from})")
    out(f"key  from {found.key_from}" if found.api_key else "key  none")


@config.command()
def validate(*, folder: Folder = Path(), override: Overrides = None) -> None:
    """Check the configuration and that its patterns match files."""
    from lutlab_verify.config import ConfigError, load, override_of, stages_of  # noqa: PLC0415 - slow to load
    from lutlab_verify.config.demands import unsupported  # noqa: PLC0415 - slow to load

    try:
        project = load(folder, dict(override_of(text) for text in override or ()))
    except ConfigError as error:
        complain(error, folder)
        raise typer.Exit(EXIT_WRONG) from None
    for problem in unsupported(project.config, stages_of(project.config)):
        note(f"warning: {problem}")
    stages = ", ".join(stages_of(project.config))
    out(f"{project.config.project.name}: {_count(len(project.sources), 'source')}, stages {stages}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def complain(error: ConfigError, folder: Path) -> None:
    """Print everything that is wrong, a line each, as compilers do."""
    for problem in error.problems:
        if error.file == "project":  # there is no such file, or there are two: that is about the folder
            note(f"{folder}: {problem.message}")
            continue
        where = folder / error.file if error.file.endswith(".yaml") else error.file
        line = f":{problem.line}" if problem.line is not None else ""
        meant = f"; did you mean '{problem.suggestion}'?" if problem.suggestion else ""
        note(f"{where}{line}: {problem.message}{meant}")


@config.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from lutlab_verify.config import schema as published  # noqa: PLC0415 - slow to load

    out(json.dumps(published(), indent=2))


@config.command()
def init(
    *,
    folder: Folder = Path(),
    name: Annotated[str | None, typer.Option("--name", help="The project's name. Default: the folder's.")] = None,
    top: Annotated[str | None, typer.Option("--top", help="The top module. Default: the one nobody uses.")] = None,
    target: Annotated[str, typer.Option("--target", help="A process, or one of our boards.")] = "sky130",
    force: Annotated[bool, typer.Option("--force", help="Write over the one that is there.")] = False,
) -> None:
    """Write a first lutlab.yaml for the sources in a folder."""
    from lutlab_verify.config import FILE_NAMES, load, project_files, starter  # noqa: PLC0415 - slow to load

    names = project_files(folder)
    there = [name for name in FILE_NAMES if name in names]
    if there and not force:
        note(f"{folder / there[0]} is there already; --force writes over it")
        raise typer.Exit(EXIT_WRONG)
    texts = {name: _text(folder / name) for name in names if name.endswith((".v", ".sv", ".py"))}
    path = folder / (there[0] if there else FILE_NAMES[0])
    path.write_text(starter(name or folder.resolve().name, texts, top=top, target=target), encoding="utf-8")
    note(f"wrote {path}")
    if any(name.endswith((".v", ".sv")) for name in texts):
        load(folder)


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(SOURCE_BYTES_MAX)
