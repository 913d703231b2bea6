"""The lab file is one the board agent accepts."""

from __future__ import annotations

from pathlib import Path

from lutlab_board_agent.domain.lab import XvcClient, parse_lab
from lutlab_stack.lab_file import BoardAddress, lab_text


def test_the_agent_reads_what_up_writes() -> None:
    written = [
        BoardAddress(
            key=f"virtual-board-{index}",
            profile="lfe5u-25f",
            xvc_port=20001 + index,
            tty=folder / "tty",
            control=folder / "control",
        )
        for index, folder in enumerate((Path('/odd "place"\\é/0'), Path("/data/1")))
    ]
    boards = parse_lab(lab_text(written), name="lab.toml")
    assert [b.key for b in boards] == ["virtual-board-0", "virtual-board-1"]
    assert [b.cable for b in boards] == [
        XvcClient(host="127.0.0.1", port=20001),
        XvcClient(host="127.0.0.1", port=20002),
    ]
    assert [b.serial.path for b in boards] == ['/odd "place"\\é/0/tty', "/data/1/tty"]
    assert [b.control.path for b in boards if b.control] == ['/odd "place"\\é/0/control', "/data/1/control"]
