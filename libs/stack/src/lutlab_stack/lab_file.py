"""Lab files: the one a person writes for `up --lab`, and the one `up` writes for the board agent.

Both are the agent's own format, with one difference: the person's has virtual boards without cable and serial line,
because `up` starts them. The agent sees them as any other boards.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lutlab_profiles
from lutlab_stack.errors import LabFileInvalid

BOARDS_MAX = 64
KINDS = ("virtual", "real")
OWN_WAYS = ("cable", "serial", "control")
"""What a virtual board gets from `up`."""
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class DeclaredBoard:
    """A board of a lab.

    Attributes:
        key: its name.
        profile: its model.
        is_virtual: `up` starts it.
        table: all that its section says, which the agent understands.
    """

    key: str
    profile: str
    is_virtual: bool
    table: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BoardAddress:
    """How the agent reaches a virtual board: a TCP port for JTAG, a tty for its serial line, a socket for its pins."""

    board: DeclaredBoard
    xvc_port: int
    tty: Path
    control: Path


def some_boards(count: int, profile: str) -> tuple[DeclaredBoard, ...]:
    """That many virtual boards of one model."""
    return tuple(DeclaredBoard(key=f"virtual-board-{i}", profile=profile, is_virtual=True) for i in range(count))


def read_lab(path: Path) -> tuple[DeclaredBoard, ...]:
    """The boards that a person's lab file declares. What real boards need is left to the agent to check.

    Raises:
        LabFileInvalid: it cannot be read, or breaks a rule; says which.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8")).get("board", [])
    except (OSError, UnicodeDecodeError) as error:
        raise LabFileInvalid(f"the lab file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise LabFileInvalid(f"{path} is not TOML: {error}") from error
    if not isinstance(sections, list) or not 1 <= len(sections) <= BOARDS_MAX:
        raise LabFileInvalid(f"{path}: write 1 to {BOARDS_MAX} `[[board]]` sections")
    boards = tuple(_board(path, number, section) for number, section in enumerate(sections, start=1))
    keys = [board.key for board in boards]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LabFileInvalid(f"{path}: two boards have the same key {twice!r}; each board needs its own")
    return boards


def _board(path: Path, number: int, section: dict[str, Any]) -> DeclaredBoard:
    def invalid(why: str) -> LabFileInvalid:
        return LabFileInvalid(f"{path}: board {number} ({section.get('key', 'without a key')}): {why}")

    key, profile, kind = section.get("key"), section.get("profile"), section.get("kind")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise invalid("its key is a name of letters, digits, `-` and `_`")
    if profile not in lutlab_profiles.names():
        raise invalid(f"no device profile {profile!r}; known: {', '.join(lutlab_profiles.names())}")
    if kind not in KINDS:
        raise invalid(f'kind is "virtual" or "real", not {kind!r}')
    has = [way for way in OWN_WAYS if way in section]
    if kind == "virtual" and has:
        raise invalid(f"`up` gives a virtual board its {' and '.join(has)}; leave that out")
    return DeclaredBoard(key=key, profile=str(profile), is_virtual=kind == "virtual", table=section)


def lab_text(virtual: list[BoardAddress], real: list[DeclaredBoard] | None = None) -> str:
    """The agent's lab file as TOML."""
    sections = [_section(board) for board in virtual] + [_toml(board.table) for board in real or ()]
    return "\n".join(sections)


def _section(at: BoardAddress) -> str:
    board = at.board
    table = {"labels": ["virtual"], **board.table, "key": board.key, "profile": board.profile, "kind": "virtual"}
    ways = {
        "cable": {"kind": "xvc-client", "host": "127.0.0.1", "port": at.xvc_port},
        "serial": {"path": str(at.tty)},
        "control": {"path": str(at.control)},
    }
    return _toml(table | ways)


def _toml(table: dict[str, Any]) -> str:
    """One `[[board]]`. TOML's basic strings, numbers and lists are JSON's, as far as lab files go."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = ["[[board]]", *_lines(plain)]
    for name, inner in table.items():
        if isinstance(inner, dict):
            lines += ["", f"[board.{name}]", *_lines(inner)]
    return "\n".join([*lines, ""])


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
