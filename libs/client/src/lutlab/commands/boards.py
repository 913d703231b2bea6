"""Boards: look at them, read and write them, give them back."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import (
    WORD_MAX,
    ApiKey,
    ApiUrl,
    AsJson,
    BoardId,
    DataDir,
    client,
    note,
    out,
    out_json,
    parse_number,
)
from lutlab.models import Submitted
from lutlab.text import clock_time, or_dash, table

WORD_BYTES = 4
DATA_CHARS_MAX = 100

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Byte address, e.g. 0x10; a multiple of 4.")]


def boards(
    *, api_url: ApiUrl = None, api_key: ApiKey = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """List the boards: their state, and who has them."""
    with client(api_url, api_key, data_dir) as lab:
        found = lab.boards()
    if as_json:
        out_json(found)
        return
    rows = [
        (
            board.fpga_id,
            board.state,
            "yes" if board.online else "no",
            or_dash(board.profile),
            or_dash(board.owner),
            clock_time(board.session.expires_at) if board.session else "-",
        )
        for board in found
    ]
    out(table(("board", "state", "online", "profile", "owner", "session ends"), rows))


def read(
    *,
    board: BoardId,
    address: Address,
    count: Annotated[int, typer.Argument(help="How many words.", min=1)] = 1,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Read words from a board you have reserved."""
    start = parse_number(address, "address", WORD_MAX)
    with client(api_url, api_key, data_dir) as lab:
        words = lab.read(board, start, count)
    for index, word in enumerate(words):
        out(f"{start + index * WORD_BYTES:#06x}: {word:#010x}  {word}")


def write(
    *,
    board: BoardId,
    address: Address,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="32-bit words, e.g. 42 0xffffffff.")],
    fixed: Annotated[bool, typer.Option("--fixed", help="Write every word to the same address.")] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Write words to a board you have reserved."""
    start = parse_number(address, "address", WORD_MAX)
    values = [parse_number(word, "word", WORD_MAX) for word in words]
    with client(api_url, api_key, data_dir) as lab:
        lab.write(board, start, values, fixed_address=fixed)


def release(
    *,
    board: BoardId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the board is idle.")] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Give a board back: ends your session and loads the base design."""
    with client(api_url, api_key, data_dir) as lab:
        _finish(lab, lab.release(board), wait, f"board {board} is being released")


def reset(
    *,
    board: BoardId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the board is idle.")] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Load the base design into a board you have reserved, or one in state error."""
    with client(api_url, api_key, data_dir) as lab:
        _finish(lab, lab.reset(board), wait, f"board {board} is being reset")


def _finish(lab: Client, job: Submitted, wait: bool, text: str) -> None:
    if wait:
        lab.wait(job.job_id)
    else:
        note(text)
    out(job.job_id)


def events(
    *,
    board: BoardId,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show a board's whole history, as the lab's log keeps it."""
    with client(api_url, api_key, data_dir) as lab:
        found = lab.events(board)
    if as_json:
        out_json(found)
        return
    rows = [(e.position, clock_time(e.at), e.type, e.actor, _short(e.data)) for e in found]
    out(table(("position", "when", "event", "by", "data"), rows))


def _short(data: dict[str, object]) -> str:
    """An event's fields in one short line."""
    scalars = {key: value for key, value in data.items() if value is not None and not isinstance(value, dict | list)}
    text = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in scalars.items())
    return text if len(text) <= DATA_CHARS_MAX else text[: DATA_CHARS_MAX - 1] + "…"
