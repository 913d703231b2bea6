"""Compiled tools in a folder that builders share and anybody may clear."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from pathlib import Path

import pytest

from lutlab_builder.adapters import hostfiles, tools, trees
from lutlab_builder.adapters.tools import COMPILING, WASM_TOOLS, InstalledTools, WasmTool

TOOL = WASM_TOOLS[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledTools:
    async def compiled(self: InstalledTools, tool: WasmTool, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()

    monkeypatch.setattr(InstalledTools, "_compile", compiled)
    monkeypatch.setattr(tools, "_loads", Path.is_file)
    return InstalledTools(hostfiles.discover(), tmp_path / "tools", 1)


async def test_a_tool_is_compiled_once_and_again_after_the_folder_was_cleared(installed: InstalledTools) -> None:
    assert [await installed.compile(TOOL) for _ in range(2)] == [True, False]
    trees.remove(installed.wasm_cache)
    assert [await installed.compile(TOOL) for _ in range(2)] == [True, False]


async def test_what_a_builder_that_was_killed_had_half_compiled_is_removed(installed: InstalledTools) -> None:
    left = installed.wasm_cache / f"{COMPILING}left"
    left.mkdir()
    (left / "half").write_bytes(b"x")
    await installed.compile(TOOL)
    assert not left.exists()


async def test_a_builder_that_waits_for_another_one_to_compile_can_be_stopped(installed: InstalledTools) -> None:
    before = threading.active_count()
    with (installed.wasm_cache / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = asyncio.create_task(installed.compile(TOOL))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert threading.active_count() == before, "the end of the process would wait for it"
