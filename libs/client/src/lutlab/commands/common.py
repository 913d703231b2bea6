"""What the commands share: options, tables, words."""

from __future__ import annotations

import contextlib
import inspect
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer

from lutlab.client import Client
from lutlab.config import resolve
from lutlab.errors import LutlabError
from lutlab.text import table

ApiUrl = Annotated[
    str | None,
    typer.Option("--api-url", help="The lab. Default: $LUTLAB_API_URL, the one `lutlab up` runs here, the kept one."),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", help="Your key. Default: $LUTLAB_API_KEY, the kept one, that of the lab that runs here."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Find the lab that `lutlab up --data-dir` runs from this folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def known_boards(ctx: typer.Context) -> list[tuple[str, str]]:
    """The numbers of boards and how they are, for a shell that completes one."""
    return [(str(board["fpga_id"]), str(board["state"])) for board in _asked(ctx, "/fpga")]


def known_jobs(ctx: typer.Context) -> list[tuple[str, str]]:
    """The ids of the newest jobs and how they are, for a shell that completes one."""
    found = _asked(ctx, "/jobs")[:COMPLETIONS_MAX]
    return [(str(job["job_id"]), f"{job['type']} {job['status']}") for job in found]


def _asked(ctx: typer.Context, path: str) -> list[dict[str, Any]]:
    """What the lab lists, if it does so at once: nobody waits for a completion."""
    given = ctx.params
    try:
        endpoint = resolve(given.get("api_url"), given.get("api_key"), data_dir=given.get("data_dir"))
        with endpoint.http(timeout_s=COMPLETION_TIMEOUT_S) as http:
            found = http.get(path).raise_for_status().json()
    except (LutlabError, httpx.HTTPError, ValueError):
        return []
    return found if isinstance(found, list) else []


BoardId = Annotated[
    int,
    typer.Argument(
        metavar="BOARD", help="The board's number, as `lutlab boards` shows it.", autocompletion=known_boards
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", autocompletion=known_jobs)]

COMPLETION_TIMEOUT_S = 1.0
COMPLETIONS_MAX = 20
WORD_MAX = (1 << 32) - 1


@contextlib.contextmanager
def client(api_url: str | None, api_key: str | None, data_dir: Path | None) -> Iterator[Client]:
    """A client as the options say. Raises: NotConfigured."""
    endpoint = resolve(api_url, api_key, data_dir=data_dir)
    with Client(endpoint.api_url, endpoint.api_key, on_retry=lambda why: note(f"{why}; trying again")) as lab:
        yield lab


def _lab_options(*, api_url: ApiUrl = None, api_key: ApiKey = None, data_dir: DataDir = None) -> None:
    """What every command has that asks a lab."""


def with_lab(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which lab is meant, in place of its first argument, a client of that lab."""
    wanted = inspect.signature(command, eval_str=True)
    options = inspect.signature(_lab_options, eval_str=True).parameters
    own = list(wanted.parameters.values())[1:]

    def run(**given: Any) -> None:
        which = {name: given.pop(name) for name in options}
        with client(**which) as lab:
            command(lab, **given)

    run.__name__, run.__module__, run.__doc__ = command.__name__, command.__module__, command.__doc__
    run.__signature__ = wanted.replace(parameters=[*own, *options.values()])  # type: ignore[attr-defined] # typer reads it
    return run


@contextlib.contextmanager
def goes_on(job_id: str) -> Iterator[None]:
    """Say, if waiting for a job is interrupted, that the job is not."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"not waited for any more; the job goes on: lutlab job {job_id}, or lutlab cancel {job_id}")
        raise


def out(text: str) -> None:
    """Print to standard output."""
    sys.stdout.write(text + "\n")


def out_table(head: Sequence[str], rows: Sequence[Sequence[object]], *, cut: bool = False) -> None:
    """Print aligned columns, on a terminal folded to its width, or cut."""
    out(table(head, rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None, cut=cut))


def note(text: str) -> None:
    """Print to standard error: what a person wants to know and a pipe does not."""
    sys.stderr.write(text + "\n")


def out_json(value: Any) -> None:
    """Print as JSON, in ASCII: no locale can damage that."""
    out(json.dumps(msgspec.to_builtins(value), indent=2))


def parse_number(text: str, what: str, largest: int) -> int:
    """A number in Python's spelling (`42`, `0x2a`). Raises: typer.BadParameter."""
    try:
        value = int(text, 0)
    except ValueError:
        raise typer.BadParameter(f"{what} {text!r} is no number; write 42 or 0x2a") from None
    if not 0 <= value <= largest:
        raise typer.BadParameter(f"{what} {text} must lie between 0 and {largest:#x}")
    return value
