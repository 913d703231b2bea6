"""The lab file: which boards this host has, how each is programmed and where its serial line is.

```toml
[[board]]
key = "bench-0"                 # stable name, unique within the site
profile = "ulx3s-25f"           # a device profile
labels = ["bench", "fan"]       # optional, what jobs can ask for
# kind = "real"                 # optional, or "virtual"; `lutlab up --lab FILE` starts virtual boards by itself
# device = "LFE5U-25F"          # optional, as is clk_hz: what the board is believed to have, held against the profile
# clk_hz = 50_000_000
# bridge_port = 1234            # optional, a TCP port for clients that speak the stream's frames (docs/boards.md)

[board.cable]
kind = "openfpgaloader"         # any cable openFPGALoader knows
args = ["--ftdi-serial", "D00084"]  # after those of the profile, unless they choose another board or cable
# kind = "xvc-client"           # or a Xilinx Virtual Cable server
# host = "127.0.0.1"
# port = 3721

[board.serial]
path = "/dev/serial/by-id/usb-FTDI_ULX3S-if00-port0"

# [board.control]               # only boards without hardware have one: a socket where their pins are
# path = "/run/board0/control"
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

import lutlab_profiles
from lutlab_board_agent.domain.errors import LabFileInvalid
from lutlab_events.subjects import InvalidToken, token
from lutlab_events.values import LABEL

BOARDS_MAX = 64
"""Boards one agent serves; each may run a loader process at the same time."""
LABELS_MAX = 32
CABLE_ARGS_MAX = 32

FORBIDDEN_ARGS = frozenset(
    {
        *("--write-flash", "--bulk-erase", "--dump-flash", "--protect-flash", "--unprotect-flash", "--user-flash"),
        *("--enable-quad", "--disable-quad", "--mcufw", "--secondary-bitstream", "--bitstream"),
        *("--detect", "--dfu", "--xvc", "--scan-usb"),
    }
)
"""openFPGALoader options that do something else than load a bitstream's SRAM: they would wear or block the board."""
CHOOSING_ARGS = frozenset({"-b", "--board", "-c", "--cable"})
"""openFPGALoader options that choose a cable."""
_WRITES_FLASH = re.compile(r"-[mrvDXhV]*f")
"""`-f`, alone or behind other flags of one letter."""
_PASSING = re.compile(r"/dev/tty(USB|ACM)\d+")


class XvcClient(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="xvc-client"
):
    """A Xilinx Virtual Cable server reached over TCP."""

    host: str
    port: int


class LoaderArgs(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="openfpgaloader"
):
    """Options for openFPGALoader as its manual gives them, without the file.

    Unless they choose board or cable themselves, the profile's come before them (`lutlab_profiles` has `loader`).
    """

    args: tuple[str, ...] = ()


Cable = XvcClient | LoaderArgs


class Serial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The board's serial line: an absolute path to its tty, best a stable link such as /dev/serial/by-id/..."""

    path: str


class ControlSocket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a board without hardware shows its pins: the path of a Unix socket."""

    path: str


class LabBoard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board of this host.

    Attributes:
        key: its stable name within the site.
        profile: its model, which knows device, pins and oscillator.
        kind: whether it has hardware; not given: that is nobody's business.
        device: its FPGA, and
        clk_hz: its oscillator, where the file says them: both must be the profile's.
    """

    key: str
    profile: str
    cable: Cable
    serial: Serial
    kind: Literal["real", "virtual"] | None = None
    device: str | None = None
    clk_hz: int | None = None
    labels: tuple[str, ...] = ()
    bridge_port: int | None = None
    control: ControlSocket | None = None


class _LabFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    board: tuple[LabBoard, ...] = ()


def parse_lab(text: str, *, name: str) -> tuple[LabBoard, ...]:
    """The boards a lab file declares.

    Args:
        text: its TOML.
        name: its file name, for messages.

    Raises:
        LabFileInvalid: it is not TOML, has an unknown or wrong key, or breaks a rule; says where.
    """
    try:
        boards = msgspec.convert(tomllib.loads(text), _LabFile).board
    except tomllib.TOMLDecodeError as error:
        raise LabFileInvalid(f"{name} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise LabFileInvalid(_explain(str(error), text, name)) from error
    boards = tuple(map(_with_own_loader, boards))
    if not 1 <= len(boards) <= BOARDS_MAX:
        raise LabFileInvalid(f"{name} declares {len(boards)} boards; write 1 to {BOARDS_MAX} `[[board]]` sections")
    for index, board in enumerate(boards):
        problem = _problem(board)
        if problem:
            key, sentence = problem
            raise LabFileInvalid(f"{name}{_at(text, index, key)}: board {board.key!r}: {sentence}")
    _check_unique(boards, name)
    return boards


def passing_names(boards: Iterable[LabBoard]) -> str:
    """What is to be said of serial lines whose names depend on the order of plugging in; empty if there are none.

    Boards that were plugged in again may have exchanged such names. Where both run the same design nobody notices that
    one's session talks to the other.
    """
    passing = [board for board in boards if _PASSING.fullmatch(board.serial.path)]
    named = ", ".join(f"{board.key}: {board.serial.path}" for board in passing)
    return f"{named}: such a name may be another board's tomorrow; take the one in /dev/serial/by-id" if named else ""


def _with_own_loader(board: LabBoard) -> LabBoard:
    """The board with its profile's options for the loader, unless the file gives others."""
    cable = board.cable
    if not isinstance(cable, LoaderArgs) or board.profile not in lutlab_profiles.names():
        return board
    if any(arg.partition("=")[0] in CHOOSING_ARGS for arg in cable.args):
        return board
    own = lutlab_profiles.get(board.profile).loader
    return msgspec.structs.replace(board, cable=LoaderArgs(args=(*own, *cable.args)))


def _problem(board: LabBoard) -> tuple[str, str] | None:
    """The first broken rule of a board, as the dotted key and a sentence."""
    try:
        token(board.key)
    except InvalidToken as error:
        return "key", str(error)
    if board.profile not in lutlab_profiles.names():
        return "profile", f"no device profile {board.profile!r}; known: {', '.join(lutlab_profiles.names())}"
    profile = lutlab_profiles.get(board.profile)
    if board.device is not None and board.device.upper() != profile.device.upper():
        return "device", f"profile {profile.name!r} is for {profile.device}, not for {board.device}"
    if board.clk_hz is not None and board.clk_hz != profile.clk_hz:
        return "clk_hz", f"profile {profile.name!r} has an oscillator of {profile.clk_hz} Hz, not of {board.clk_hz}"
    if board.kind == "real" and board.control is not None:
        return "control", 'a real board has no control socket; leave it out, or say kind = "virtual"'
    wrong = next((label for label in board.labels if LABEL.fullmatch(label) is None), None)
    if wrong is not None:
        return "labels", f"no job can ask for {wrong!r}; a label has 1 to 64 letters, digits and `_.:-`"
    if len(board.labels) > LABELS_MAX:
        return "labels", f"{len(board.labels)} labels; a board has at most {LABELS_MAX}"
    if not board.serial.path.startswith("/"):
        return "serial.path", f"{board.serial.path!r} is not an absolute path such as /dev/ttyUSB0"
    if board.bridge_port is not None and not 1 <= board.bridge_port <= 65535:
        return "bridge_port", f"{board.bridge_port} is no TCP port (1 to 65535)"
    return _cable_problem(board.cable)


def _cable_problem(cable: Cable) -> tuple[str, str] | None:
    if isinstance(cable, XvcClient):
        if not cable.host or cable.host.startswith("-"):
            return "cable.host", f"{cable.host!r} is no host name"
        if not 1 <= cable.port <= 65535:
            return "cable.port", f"{cable.port} is no TCP port (1 to 65535)"
        return None
    if not 1 <= len(cable.args) <= CABLE_ARGS_MAX:
        return "cable.args", f"give openFPGALoader 1 to {CABLE_ARGS_MAX} options, for example ['-b', 'ulx3s']"
    for arg in cable.args:
        if arg.partition("=")[0] in FORBIDDEN_ARGS or _WRITES_FLASH.match(arg):
            return "cable.args", f"{arg!r} does not load a bitstream into SRAM; leave it out"
    return None


def _check_unique(boards: tuple[LabBoard, ...], name: str) -> None:
    ports = [str(board.bridge_port) for board in boards if board.bridge_port is not None]
    if (twice := _first_repeated(ports)) is not None:
        raise LabFileInvalid(f"{name}: two boards have the same bridge_port {twice}; each board needs its own")
    ways: dict[str, Callable[[LabBoard], str]] = {
        "key": lambda b: b.key,
        "cable": lambda b: str(b.cable),
        "serial.path": lambda b: b.serial.path,
    }
    for what, of in ways.items():
        twice = _first_repeated(map(of, boards))
        if twice is not None:
            raise LabFileInvalid(f"{name}: two boards have the same {what} {twice}; each board needs its own")


def _first_repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


_ERROR = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_NAMED_KEY = re.compile(r"(?:unknown|missing required) field `(?P<key>[^`]+)`")


def _explain(error: str, text: str, name: str) -> str:
    """msgspec's complaint with the line it is about."""
    match = _ERROR.match(error)
    assert match is not None  # the pattern takes any text
    what, path = match["what"], match["path"] or ""
    board = re.match(r"^\.board\[(\d+)\]", path)
    keys = re.findall(r"\.([A-Za-z_]\w*)", path[board.end() :] if board else path)
    named = _NAMED_KEY.search(what)
    if named and "unknown" in named[0]:
        keys.append(named["key"])
    where = _at(text, int(board[1]) if board else None, ".".join(keys))
    inside = f" (at {path.lstrip('.')})" if path else ""
    return f"{name}{where}: {what}{inside}; `lutlab-board-agent --help` shows a lab file"


def _at(text: str, board_index: int | None, dotted_key: str) -> str:
    """`, line N` of a key, of its board if the key is not found, or nothing."""
    boards_seen, table, fallback = -1, "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("[["):
            boards_seen, table = boards_seen + 1, ""
            if boards_seen == board_index:
                fallback = f", line {number}"
            continue
        if stripped.startswith("["):
            table = stripped.strip("[] ").partition(".")[2]
            continue
        here = f"{table}.{stripped.partition('=')[0].strip()}".lstrip(".")
        if here == dotted_key and (board_index is None or boards_seen == board_index):
            return f", line {number}"
    return fallback
