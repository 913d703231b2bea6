"""Board memories on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lutlab_board_agent.adapters.state_file import StateFiles
from lutlab_board_agent.domain.errors import StateUnreadable
from lutlab_board_agent.domain.fencing import BoardMemory


async def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    memory = BoardMemory(fpga_id=3, epoch=7, digest="d", build_id=9, baud=12_500_000, loaded=True)
    await StateFiles(tmp_path / "boards").save("b0", memory)
    again = StateFiles(tmp_path / "boards")
    assert again.load("b0") == memory
    assert again.load("b1") == BoardMemory()


async def test_a_crash_while_saving_leaves_the_old_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = StateFiles(tmp_path)
    await files.save("b0", BoardMemory(epoch=1))

    def crash(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="no space"):
        await files.save("b0", BoardMemory(epoch=2))
    assert files.load("b0") == BoardMemory(epoch=1)


def test_a_damaged_file_is_never_guessed(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    (tmp_path / "b0.json").write_text('{"epoch": 7')
    with pytest.raises(StateUnreadable, match=r"b0\.json is damaged"):
        files.load("b0")
