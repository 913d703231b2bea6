"""Lab files: the one a person writes, and that what `up` writes is one the board agent accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutlab_board_agent.domain.lab import LoaderArgs, XvcClient, parse_lab
from lutlab_stack.errors import LabFileInvalid
from lutlab_stack.lab_file import BoardAddress, lab_text, read_lab, some_boards

MIXED = """\
[[board]]
key = "desk"
kind = "virtual"
profile = "lfe5u-25f"
device = "LFE5U-25F"
clk_hz = 50_000_000
labels = ["quick", "for:all"]
bridge_port = 1234

[[board]]
key = "rack"
kind = "real"
profile = "lfe5u-85f"
[board.cable]
kind = "openfpgaloader"
args = ["-b", "ulx3s", "--ftdi-serial", "D00084"]
[board.serial]
path = "/dev/büro/ttyUSB1"
"""


def addresses(boards, folders):
    return [
        BoardAddress(board=board, xvc_port=20001 + index, tty=folder / "tty", control=folder / "control")
        for index, (board, folder) in enumerate(zip(boards, folders, strict=True))
    ]


def test_the_agent_reads_what_up_writes() -> None:
    folders = (Path('/odd "place"\\é/0'), Path("/data/1"))
    boards = parse_lab(lab_text(addresses(some_boards(2, "lfe5u-25f"), folders)), name="lab.toml")
    assert [b.key for b in boards] == ["virtual-board-0", "virtual-board-1"]
    assert [b.cable for b in boards] == [
        XvcClient(host="127.0.0.1", port=20001),
        XvcClient(host="127.0.0.1", port=20002),
    ]
    assert [b.labels for b in boards] == [("virtual",)] * 2
    assert [b.serial.path for b in boards] == ['/odd "place"\\é/0/tty', "/data/1/tty"]
    assert [b.control.path for b in boards if b.control] == ['/odd "place"\\é/0/control', "/data/1/control"]


def test_a_persons_lab_file_reaches_the_agent_whole(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(MIXED)
    desk, rack = read_lab(file)
    assert (desk.is_virtual, rack.is_virtual) == (True, False)
    found = parse_lab(lab_text(addresses([desk], [Path("/d")]), [rack]), name="lab.toml")
    assert [(b.key, b.kind, b.profile) for b in found] == [
        ("desk", "virtual", "lfe5u-25f"),
        ("rack", "real", "lfe5u-85f"),
    ]
    assert (found[0].labels, found[0].bridge_port, found[0].clk_hz) == (("quick", "for:all"), 1234, 50_000_000)
    assert found[1].cable == LoaderArgs(args=("-b", "ulx3s", "--ftdi-serial", "D00084"))
    assert found[1].control is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "virtual"', "", r'board 1 \(desk\): kind is "virtual" or "real", not None'),
        ('"lfe5u-25f"', '"ice40"', "no device profile 'ice40'"),
        ('key = "rack"', 'key = "desk"', "two boards have the same key 'desk'"),
        ('key = "rack"', "", r"board 2 \(without a key\)"),
        ('kind = "real"', 'kind = "virtual"', "gives a virtual board its cable and serial"),
        ("[[board]]", "[[board", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_the_board(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(MIXED.replace(old, new))
    with pytest.raises(LabFileInvalid, match=words):
        read_lab(file)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabFileInvalid, match=r"absent\.toml cannot be read"):
        read_lab(tmp_path / "absent.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(LabFileInvalid, match=r"write 1 to 64 `\[\[board\]\]` sections"):
        read_lab(tmp_path / "empty.toml")
