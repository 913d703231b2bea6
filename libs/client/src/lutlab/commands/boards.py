"""Boards: look at them, read and write them, give them back."""

from __future__ import annotations

import json
import socket
import sys
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace

from lutlab.audit import Audit
from lutlab.bridge import forward
from lutlab.client import Client
from lutlab.commands.common import (
    WORD_MAX,
    AsJson,
    BoardId,
    goes_on,
    note,
    out,
    out_json,
    out_table,
    parse_number,
    with_lab,
)
from lutlab.errors import LutlabError
from lutlab.models import Failure, Submitted
from lutlab.text import clock_time, or_dash, shortened
from lutlab.ui import screen

WORD_BYTES = 4
LOCAL = "127.0.0.1"
DATA_CHARS_MAX = 100
ID_CHARS_MIN = 36
"""What is longer, ids and moments, comes last."""
TELLING = ("error", "programming")
"""States for which there may be more to say."""

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Byte address, e.g. 0x10; a multiple of 4.")]


@with_lab
def boards(lab: Client, *, as_json: AsJson = False) -> None:
    """List the boards: their state, and who has them."""
    found = lab.boards()
    found = [replace(b, error=lab.board_error(b.fpga_id)) if b.state in TELLING else b for b in found]
    if as_json:
        out_json(found)
        return
    any_error = any(board.error is not None for board in found)
    rows = [
        (
            board.fpga_id,
            board.state,
            "yes" if board.online else "no",
            or_dash(board.profile),
            or_dash(board.owner),
            clock_time(board.session.expires_at) if board.session else "-",
            *([_told(board.error)] if any_error else []),
        )
        for board in found
    ]
    out_table(("board", "state", "online", "profile", "owner", "session ends", *(["why"] if any_error else [])), rows)


def _told(error: Failure | None) -> str:
    """The code of what is wrong with a board, and what there is to say of it."""
    return "-" if error is None else ": ".join(filter(None, (error.code, error.message)))


@with_lab
def read(
    lab: Client,
    *,
    board: BoardId,
    address: Address,
    count: Annotated[int, typer.Argument(metavar="COUNT", help="How many words.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Read words from a board you have reserved."""
    start = parse_number(address, "address", WORD_MAX)
    words = lab.read(board, start, count)
    if as_json:
        out_json({"fpga_id": board, "address": start, "words": words})
        return
    for index, word in enumerate(words):
        out(f"{start + index * WORD_BYTES:#06x}: {word:#010x}  {word}")


@with_lab
def write(
    lab: Client,
    *,
    board: BoardId,
    address: Address,
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="32-bit words, e.g. 42 0xffffffff.")],
    fixed: Annotated[bool, typer.Option("--fixed", help="Write every word to the same address.")] = False,
) -> None:
    """Write words to a board you have reserved."""
    start = parse_number(address, "address", WORD_MAX)
    values = [parse_number(word, "word", WORD_MAX) for word in words]
    lab.write(board, start, values, fixed_address=fixed)


@with_lab
def bridge(
    lab: Client,
    *,
    board: BoardId,
    port: Annotated[int, typer.Option(help="The local TCP port.", min=1, max=65535)] = 1234,
) -> None:
    """Open a local port to the TCP bridge of your board. It is for clients of the stream's frames."""
    try:
        listener = socket.create_server((LOCAL, port))
    except OSError as error:
        raise LutlabError(f"nothing can listen on {LOCAL}:{port} ({error.strerror}): choose with --port") from error
    with listener:
        lab.bridge(board)  # a refusal is told now, not when somebody connects
        note(f"board {board} is at {LOCAL}:{port}; end with Ctrl-C")
        forward(listener, lambda: lab.bridge(board), note)


@with_lab
def release(
    lab: Client,
    *,
    board: BoardId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the board is idle.")] = False,
) -> None:
    """Give a board back. Ends your session and loads the base design."""
    _finish(lab, lab.release(board), wait, f"board {board} is being released")


@with_lab
def reset(
    lab: Client,
    *,
    board: BoardId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the board is idle.")] = False,
) -> None:
    """Load the base design into your board. Or into one in state error."""
    _finish(lab, lab.reset(board), wait, f"board {board} is being reset")


def _finish(lab: Client, job: Submitted, wait: bool, text: str) -> None:
    out(job.job_id)
    if not wait:
        note(text)
        return
    with goes_on(job.job_id), screen(sys.stderr) as live:
        live.doing(text)
        lab.wait(job.job_id)


@with_lab
def events(
    lab: Client,
    *,
    board: Annotated[
        int | None, typer.Argument(metavar="BOARD", help="The board's number. Default, with --follow: everything.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    after: Annotated[
        int | None, typer.Option("--after", min=0, help="With --follow: begin after this position instead of now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a board's history from the log, or follow the log live. With --after a follower goes on from a position."""
    if board is None and not follow:
        raise typer.BadParameter("say which board, or --follow everything (`lutlab audit export` prints the whole log)")
    if follow:
        _follow(Audit(lab), board, after, as_json=as_json)
        return
    assert board is not None
    found = lab.events(board)
    if as_json:
        out_json(found)
        return
    rows = [(e.position, clock_time(e.at), e.type, f"{e.actor}  {_short(e.data)}") for e in found]
    out_table(("position", "when", "event", "by, data"), rows, cut=True)


def _follow(log: Audit, board: int | None, after: int | None, *, as_json: bool) -> None:
    """Print events as they come, one a line, until interrupted."""
    conditions = {} if board is None else {"stream": f"board-{board}"}
    for event in log.follow(after, conditions, on_lost=lambda why: note(f"not heard any more ({why}); trying again")):
        if as_json:
            out(json.dumps(msgspec.to_builtins(event)))
        else:
            when = clock_time(event.at)
            out(f"{event.position:>8}  {when}  {event.stream:12}  {event.type}  {event.actor}  {_short(event.data)}")
        sys.stdout.flush()


def _short(data: dict[str, object]) -> str:
    """An event's fields in one short line."""
    scalars = {key: value for key, value in data.items() if value is not None and not isinstance(value, dict | list)}
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in scalars.items()]
    text = " ".join(sorted(words, key=lambda word: len(word) > ID_CHARS_MIN))
    return shortened(text, DATA_CHARS_MAX)
