"""`lutlab demo`: everything once, from source text to a released board."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import ApiKey, ApiUrl, client
from lutlab.commands.up import BoardsOption, ProfileOption
from lutlab.ui import screen
from lutlab.walk import DemoFailed, walk
from lutlab_profiles import DEFAULT_PROFILE
from lutlab_stack.console import Console
from lutlab_stack.lab import Lab
from lutlab_stack.layout import Layout, default_cache_dir
from lutlab_stack.postgres import remove_postgres
from lutlab_stack.services import UpOptions
from lutlab_stack.up import up

READY_TIMEOUT_S = 300.0
REPOSITORY = Path(__file__).parents[5]


def demo(
    *,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    boards: BoardsOption = 2,
    profile: ProfileOption = DEFAULT_PROFILE,
    examples: Annotated[
        Path | None, typer.Option("--examples", help="Folder with the example designs. Default: this checkout's.")
    ] = None,
) -> None:
    """Build two designs, run them, check every word, show the log.

    Starts a lab of its own in a temporary folder, unless --api-url names one. Ends with 0 only if all of it worked.
    """
    folder = examples or REPOSITORY / "examples"
    if not folder.is_dir():
        raise DemoFailed(f"no example designs in {folder}: run this in a checkout, or say where with --examples")
    with screen() as console:
        if api_url is not None:
            with client(api_url, api_key, None) as lab:
                walk(lab, folder, console)
        else:
            _with_own_lab(folder, console, boards, profile)
        console.done("the demo went well")


def _with_own_lab(examples: Path, console: Console, boards: int, profile: str) -> None:
    """Start a lab, walk, stop it, and leave nothing behind. Raises: DemoFailed, LutlabError, StackError."""
    data_dir = Path(tempfile.mkdtemp(prefix="lutlab-demo-"))
    options = UpOptions(
        data_dir=data_dir, host="127.0.0.1", port=0, boards=boards, profile=profile, cache_dir=default_cache_dir()
    )
    finished = False

    async def use(lab: Lab) -> None:
        nonlocal finished
        console.done(f"the lab is ready: {lab.api_url}")
        with Client(lab.api_url, lab.api_key) as connected:  # closing it also ends a walk that is abandoned
            await in_daemon_thread(lambda: walk(connected, examples, console))
        finished = True

    try:
        asyncio.run(up(options, console, use, ready_timeout_s=READY_TIMEOUT_S))
    finally:
        remove_postgres(Layout(data_dir).postgres)
        shutil.rmtree(data_dir, ignore_errors=True)
    if not finished:
        raise KeyboardInterrupt


async def in_daemon_thread(work: Callable[[], None]) -> None:
    """Run blocking work beside the event loop; if we are cancelled it is abandoned and ends with the process."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error is not None else ended.set_result(None)

    def run() -> None:
        try:
            work()
        except BaseException as error:
            outcome: BaseException | None = error
        else:
            outcome = None
        with contextlib.suppress(RuntimeError):  # we were abandoned, and the loop is closed
            loop.call_soon_threadsafe(tell, outcome)

    threading.Thread(target=run, name="walk", daemon=True).start()
    await ended
