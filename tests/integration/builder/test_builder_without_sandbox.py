"""Hosts where no sandbox works: refuse, unless the operator asks for less."""

from __future__ import annotations

from pathlib import Path

import pytest
from builder_support import EXAMPLES, Recorder, building, verilog

from lutlab_builder import __main__ as program
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.settings import Settings


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bubblewrap as it fails where user namespaces are forbidden."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(program, "find_bwrap", lambda: broken)


@pytest.mark.usefixtures("no_bubblewrap")
async def test_nothing_is_built_and_the_operator_learns_why(settings: Settings) -> None:
    with pytest.raises(BuildFailure) as caught:
        await program.make_room(settings)
    assert caught.value.code is Code.SANDBOX_UNAVAILABLE
    for words in (
        "No permissions to create a new namespace",
        "apparmor_restrict_unprivileged_userns",
        "ALLOW_UNSANDBOXED",
    ):
        assert words in caught.value.message


@pytest.mark.usefixtures("no_bubblewrap")
async def test_the_operator_may_ask_for_less(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    asked = settings.model_copy(update={"allow_unsandboxed": True, "elaborate_wall_s": 20.0})
    room = await program.make_room(asked)
    assert not room.sandboxed
    assert "WITHOUT a sandbox" in capsys.readouterr().err
    build = building(room, Recorder())
    built = await build("design.py", (EXAMPLES / "echo_memory" / "design.py").read_bytes())
    assert built.artifacts.report.target == "EchoMemory"
    for filename, source, code in [
        ("design.py", "x = = 1", Code.SYNTAX_ERROR),
        ("design.py", "import os\nwhile True:\n    os.fork()", Code.PROCESS_LIMIT),
        ("design.py", "x = bytearray(2 << 30)", Code.MEMORY_LIMIT),
        ("design.v", verilog("m", "assign wb_ack = ;"), Code.SYNTAX_ERROR),
    ]:
        with pytest.raises(BuildFailure) as caught:
            await build(filename, source)
        assert caught.value.code is code, caught.value
