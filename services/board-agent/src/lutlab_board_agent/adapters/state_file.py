"""What the agent remembers of each board, one small JSON file a board, replaced atomically."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lutlab_board_agent.domain.errors import DataDirTaken, StateUnreadable
from lutlab_board_agent.domain.fencing import BoardMemory


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Keep the data folder for this process alone: two agents would load each other's boards, under each other's
    epochs. The lock goes with the process, however it ends.

    Raises:
        DataDirTaken: another agent has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirTaken(
                f"another agent is running with the data folder {data_dir}; end it, or give this one another "
                "LUTLAB_AGENT_DATA_DIR, LUTLAB_AGENT_ID and lab file"
            ) from None
        yield


class StateFiles:
    """Board memories under a folder, as `<board key>.json`.

    A write is durable when it returns: the new file is synced, renamed over the old one, and the folder is synced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, board_key: str) -> BoardMemory:
        """The board's memory; a fresh one if it was never saved. Raises: StateUnreadable."""
        path = self._folder / f"{board_key}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=BoardMemory)
        except FileNotFoundError:
            return BoardMemory()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StateUnreadable(
                f"{path} is damaged ({error}). If no older agent can still reach this board, delete the file; "
                "the scheduler will load the board again"
            ) from error

    async def save(self, board_key: str, memory: BoardMemory) -> None:
        """Make the board's memory durable."""
        await asyncio.to_thread(self._save, board_key, memory)

    def _save(self, board_key: str, memory: BoardMemory) -> None:
        path = self._folder / f"{board_key}.json"
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(memory))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
