"""The lab file `up` writes for the board agent: its virtual boards, which the agent sees as any other boards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class BoardAddress:
    """How the agent reaches one board: a TCP port for JTAG, a tty for its serial line, a socket for its pins."""

    key: str
    profile: str
    xvc_port: int
    tty: Path
    control: Path


def lab_text(boards: list[BoardAddress]) -> str:
    """The lab file's TOML."""
    return "".join(_section(board) for board in boards)


def _section(board: BoardAddress) -> str:
    # TOML's basic strings are JSON's, as far as paths and names go.
    return f"""\
[[board]]
key = {json.dumps(board.key)}
profile = {json.dumps(board.profile)}
labels = ["virtual"]

[board.cable]
kind = "xvc-client"
host = "127.0.0.1"
port = {board.xvc_port}

[board.serial]
path = {json.dumps(str(board.tty))}

[board.control]
path = {json.dumps(str(board.control))}

"""
