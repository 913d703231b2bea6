"""Board memories on disk."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from agent_rig import lab_board

from lutlab_board_agent.adapters.state_file import StateFiles
from lutlab_board_agent.app.seat import Seat
from lutlab_board_agent.domain.errors import StateUnreadable
from lutlab_board_agent.domain.fencing import BoardMemory
from lutlab_board_agent.fake import FakeHost


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


async def test_a_save_whose_load_is_superseded_meanwhile_does_not_meet_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = Seat(lab_board(0), FakeHost(lab_board(0)), StateFiles(tmp_path))
    writing, go_on, plain = asyncio.Event(), threading.Event(), os.fsync
    loop = asyncio.get_running_loop()

    def slow(descriptor: int) -> None:
        if not go_on.is_set():
            loop.call_soon_threadsafe(writing.set)
            go_on.wait(5)
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    finishing = asyncio.create_task(seat.remember(BoardMemory(epoch=5, loaded=True)))
    await writing.wait()
    finishing.cancel()
    await asyncio.sleep(0)
    beginning = asyncio.create_task(seat.remember(BoardMemory(epoch=6)))
    await asyncio.sleep(0.05)
    go_on.set()
    await beginning
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert StateFiles(tmp_path).load("bench-0") == BoardMemory(epoch=6)


def test_a_damaged_file_is_never_guessed(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    (tmp_path / "b0.json").write_text('{"epoch": 7')
    with pytest.raises(StateUnreadable, match=r"b0\.json is damaged"):
        files.load("b0")
