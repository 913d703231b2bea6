"""`lutlab up`: the whole lab on this machine."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from lutlab.config import is_loopback
from lutlab.ui import screen
from lutlab_profiles import DEFAULT_PROFILE, get, names
from lutlab_stack.lab import Lab
from lutlab_stack.lab_file import read_lab
from lutlab_stack.layout import default_cache_dir, default_data_dir
from lutlab_stack.services import UpOptions
from lutlab_stack.up import up as run_up

BOARDS_MAX = 64

HostOption = Annotated[str, typer.Option("--host", help="Address the API listens on.")]
BoardsOption = Annotated[int, typer.Option("--boards", help="How many virtual boards.", min=1, max=BOARDS_MAX)]
ProfileOption = Annotated[str, typer.Option("--profile", help=f"Their device profile: {', '.join(names())}.")]


def up(
    *,
    port: Annotated[int, typer.Option("--port", help="Port of the API; 0 for a free one.", min=0, max=65535)] = 8000,
    host: HostOption = "127.0.0.1",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            help="Where everything is kept; a second start resumes it. Default: $LUTLAB_DATA_DIR, or "
            "~/.local/share/lutlab (for root /var/lib/lutlab/main).",
        ),
    ] = None,
    boards: BoardsOption = 2,
    profile: ProfileOption = DEFAULT_PROFILE,
    lab: Annotated[
        Path | None,
        typer.Option(
            "--lab",
            help="A TOML file that declares the boards, virtual and real, instead of --boards and --profile "
            "(docs/boards.md).",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            "--ready-file",
            help="Write this JSON file once everything answers: api_url, api_key, nats_url, database_url, and pids by "
            "process name; rewritten when a process is restarted, removed at the end.",
        ),
    ] = None,
    postgres_url: Annotated[
        str | None,
        typer.Option("--postgres-url", help="Use this database (postgresql://...) instead of an own server."),
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option("--nats-url", help="Use this server (nats://...) instead of an own one.")
    ] = None,
    session_ttl: Annotated[
        float | None, typer.Option("--session-ttl", help="Seconds an unused session lasts. Default: one hour.", min=1)
    ] = None,
    public_reads: Annotated[
        bool, typer.Option("--public-reads/--no-public-reads", help="Whether looking at boards and jobs needs no key.")
    ] = True,
) -> None:
    """Start the whole lab on this machine and keep it running.

    Servers, services and virtual boards: every part is a process of its own, restarted when it dies. Ctrl-C stops
    everything in order; nothing is lost.
    """
    get(profile)
    options = UpOptions(
        data_dir=data_dir or default_data_dir(),
        host=host,
        port=port,
        boards=boards,
        profile=profile,
        cache_dir=default_cache_dir(),
        ready_file=ready_file.absolute() if ready_file else None,
        postgres_url=postgres_url,
        nats_url=nats_url,
        session_ttl_s=session_ttl,
        public_reads=public_reads,
        lab=read_lab(lab) if lab else (),
    )
    with screen() as console:

        async def serve(lab: Lab) -> None:
            console.done(f"the lab is ready: {lab.api_url}  (open it in a browser)")
            console.say(_next_steps(lab, options))
            if options.public_reads and not is_loopback(host):
                console.warn(f"whoever reaches {host} may look at boards and jobs without a key: see --no-public-reads")
            await asyncio.Event().wait()

        asyncio.run(run_up(options, console, serve))


def _next_steps(lab: Lab, options: UpOptions) -> str:
    own_folder = options.data_dir.absolute() != default_data_dir().absolute()
    where = f" --data-dir {shlex.quote(str(options.data_dir))}" if own_folder else ""
    key = "" if options.public_reads else f'-H "X-API-Key: {lab.api_key}" '
    program = called()
    return f"""\
  API key    {lab.api_key}
  data       {options.data_dir.absolute()}  (logs in logs/)
  next       {program} boards{where}
             {program} submit examples/echo_memory/design.py --wait{where}
             curl {key}{lab.api_url}/fpga
  stop       Ctrl-C"""


def called() -> str:
    """How a person calls this program here: by its name where that finds it, else by its path as it was given."""
    found, own = shutil.which("lutlab"), Path(sys.argv[0])
    return "lutlab" if found is not None and own.exists() and Path(found).samefile(own) else str(own)
