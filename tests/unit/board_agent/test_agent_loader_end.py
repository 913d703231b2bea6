"""A loader that hangs in the kernel, at a sick USB port, cannot even be killed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from lutlab_board_agent.adapters import openfpgaloader
from lutlab_board_agent.adapters.loader_binary import LoaderBinary
from lutlab_board_agent.adapters.openfpgaloader import OpenFpgaLoader
from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.lab import LoaderArgs


class Unkillable:
    """As asyncio's process, in the kernel for good."""

    pid = 1 << 30
    returncode = None

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader()

    async def wait(self) -> None:
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("refused", [ProcessLookupError, PermissionError])
async def test_it_is_reported_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: type[OSError]
) -> None:
    async def start(*_: Any, **__: Any) -> Unkillable:
        return Unkillable()

    def kill(*_: int) -> None:
        raise refused

    monkeypatch.setattr(openfpgaloader, "END_S", 0.01)
    monkeypatch.setattr(os, "killpg", kill)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    loader = OpenFpgaLoader(LoaderBinary(Path("/loader"), "1"), tmp_path / "loading")
    async with asyncio.timeout(5):
        with pytest.raises(LoaderFailed, match="did not finish within"):
            await loader.load(LoaderArgs(args=("-b", "x")), b"bits", timeout_s=0.01)
    assert list((tmp_path / "loading").iterdir()) == []
