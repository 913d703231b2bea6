"""The `lutlab` command."""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from lutlab.commands import analyze, audit, boards, demo, init, jobs, pins, service, storage, tools, up, verify
from lutlab.commands.common import note, out
from lutlab.commands.config import config
from lutlab.commands.keys import keys
from lutlab.errors import LutlabError, NotConfigured, Refused, TimedOut, Unreachable
from lutlab_profiles import UnknownProfile
from lutlab_stack.errors import StackError

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_TIMED_OUT, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

HELP = """An FPGA lab: submit a design, get a programmed board, talk Wishbone to it; verify a design before that.

Exit codes: 0 done; 1 the lab refused, or the job failed; 2 wrong use; 3 the lab does not answer; 4 timed out;
130 interrupted.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def show_version(wanted: bool) -> None:
    """Print the version and end, if that was asked for."""
    if wanted:
        out(f"lutlab {version('lutlab')}")
        raise typer.Exit


@app.callback()
def group(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before a command."""


app.command()(up.up)
app.command()(demo.demo)
app.command()(boards.boards)
app.command()(jobs.submit)
app.command()(jobs.jobs)
app.command()(jobs.job)
app.command()(jobs.logs)
app.command()(jobs.cancel)
app.command()(boards.read)
app.command()(boards.write)
app.command()(boards.bridge)
app.command()(pins.pins)
app.command()(pins.signals)
app.command()(pins.capture)
app.command()(boards.release)
app.command()(boards.reset)
app.command()(boards.events)
app.command()(init.init)
app.command()(verify.verify)
app.command()(verify.lint)
app.command()(verify.sim)
app.command()(verify.formal)
app.command()(verify.synth)
app.command()(analyze.analyze)
app.command()(verify.report)
app.command()(verify.compare)
app.command()(tools.tools)
app.add_typer(verify.project, name="project")
app.add_typer(config, name="config")
app.add_typer(keys, name="keys")
app.add_typer(audit.audit, name="audit")
app.add_typer(audit.deadletters, name="deadletters")
app.command()(audit.replay)
app.command()(service.drain)
app.command()(service.undrain)
app.command()(service.forget)
app.command()(storage.storage)


def main() -> None:
    """Run the command line; every expected error is one readable sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without a sign for something is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        app()
    except (LutlabError, StackError, UnknownProfile) as error:
        code = f" ({error.code})" if isinstance(error, Refused) else ""  # what docs/errors.md is sorted by
        note(f"lutlab: {error}{code}")
        sys.exit(exit_code(error))
    except OSError as error:
        note(f"lutlab: {error}")
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def exit_code(error: Exception) -> int:
    """The exit code an error ends the command with."""
    if isinstance(error, NotConfigured | UnknownProfile):
        return EXIT_USAGE
    if isinstance(error, Unreachable):
        return EXIT_UNREACHABLE
    return EXIT_TIMED_OUT if isinstance(error, TimedOut) else EXIT_FAILED
