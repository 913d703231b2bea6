"""The tools' sandbox: what a tool of a verification stage may do, and what it may not."""

from __future__ import annotations

import asyncio
import os
import stat
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from builder_support import TOOLS_DIR

from lutlab_builder.adapters import hostfiles, stage_tools, trees
from lutlab_builder.adapters.bwrap import BwrapSandbox, find_bwrap
from lutlab_builder.adapters.stage_files import folder_bytes
from lutlab_builder.adapters.stage_tools import SandboxedTools
from lutlab_verify.stage import ToolFailed
from lutlab_verify.tools import Stop, ToolCall, ToolLimits, ToolMissing, ToolOutcome, Tools

PROBE = """
import os, socket, sys
def tried(what, action):
    try:
        print(what, action())
    except OSError as error:
        print(what, "refused", error.errno)
tried("passwd", lambda: open("/etc/passwd").read())
tried("home", lambda: os.listdir(os.path.expanduser("~root")))
tried("environ", lambda: sorted(os.environ))
tried("uid", os.getuid)
tried("network", lambda: socket.create_connection(("1.1.1.1", 53), 1))
tried("symlink", lambda: os.symlink("/etc/passwd", "leak"))
tried("fifo", lambda: os.mkfifo("pipe"))
tried("unmapped", lambda: os.memfd_create("memory"))
tried("link", lambda: os.link("src/a.v", "b.v"))
tried("write source", lambda: open("src/a.v", "w"))
tried("write usr", lambda: open("/usr/x", "w"))
tried("source", lambda: open("src/a.v").read())
tried("processes", lambda: len([p for p in os.listdir("/proc") if p.isdigit()]))
open("made.txt", "w").write("made")
"""


@pytest.fixture
async def room() -> SandboxedTools:
    files = hostfiles.discover()
    cache = TOOLS_DIR / "yowasp"
    return SandboxedTools(await BwrapSandbox.probe(find_bwrap(), files, cache), files, cache)


@pytest.fixture
async def stage(room: SandboxedTools, tmp_path: Path) -> AsyncIterator[tuple[Path, Tools]]:
    work, sources = tmp_path / "stage", tmp_path / "files"
    work.mkdir()
    sources.mkdir()
    (sources / "a.v").write_text("module a; endmodule\n")
    async with room.tools(work, sources) as tools:
        yield work, tools


async def python(stage: tuple[Path, Tools], text: str, **limits: float) -> tuple[ToolOutcome, list[str]]:
    work, tools = stage
    (work / "probe.py").write_text(textwrap.dedent(text))
    lines: list[str] = []
    call = ToolCall("python", ["python", "probe.py"], ToolLimits(**limits))  # type: ignore[arg-type]
    return await tools.run(call, lines.append), lines


async def test_a_tool_sees_its_folder_and_nothing_of_the_host(stage: tuple[Path, Tools]) -> None:
    outcome, lines = await python(stage, PROBE)
    assert outcome.exit_code == 0, lines
    seen = dict(line.split(" ", 1) for line in lines if " " in line)
    assert seen["passwd"] == "refused 2"
    assert seen["home"].startswith("refused")
    assert "SECRET" not in seen["environ"]
    assert seen["network"].startswith("refused")
    assert seen["unmapped"] == "refused 1", "memory that no process has mapped counts for none"
    assert seen["symlink"] == seen["fifo"] == seen["link"] == "refused 1"
    assert [line for line in lines if line.startswith("write")] == ["write source refused 30", "write usr refused 30"]
    assert seen["source"].startswith("module a")
    assert int(seen["processes"]) < 5
    assert (stage[0] / "made.txt").read_text() == "made"
    if os.geteuid() == 0:
        assert seen["uid"] != "0"


async def test_later_calls_may_change_what_earlier_calls_and_the_builder_made(stage: tuple[Path, Tools]) -> None:
    await python(stage, "import os; os.mkdir('out'); open('out/x', 'w').write('1')")
    (stage[0] / "out" / "y").write_text("2")
    outcome, lines = await python(stage, "open('out/x', 'a').write('3'); open('out/y', 'a').write('4')")
    assert outcome.exit_code == 0, lines
    assert ((stage[0] / "out" / "x").read_text(), (stage[0] / "out" / "y").read_text()) == ("13", "24")


async def test_limits_end_a_tool(stage: tuple[Path, Tools]) -> None:
    outcome, _ = await python(stage, "while True: pass", wall_s=0.5)
    assert outcome.stopped is Stop.TIME
    outcome, _ = await python(stage, "x = [bytearray(1 << 20) for _ in range(600)]; input()", resident_bytes=128 << 20)
    assert outcome.stopped is Stop.MEMORY
    outcome, _ = await python(stage, "open('big', 'wb').write(bytes(2 << 20))", file_bytes=1 << 20)
    assert outcome.exit_code != 0
    outcome, lines = await python(stage, "for i in range(100000): print('x' * 50)", output_bytes=5000)
    assert outcome.exit_code == 0
    assert len(lines) < 110
    assert "cut" in lines[-1]


async def test_a_tool_that_fills_the_disk_is_ended(stage: tuple[Path, Tools], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_tools, "STAGE_BYTES_MAX", 5 << 20)
    monkeypatch.setattr(stage_tools, "QUOTA_LOOK_S", 0.1)
    endless = """
    import itertools, time
    for number in itertools.count():
        open(f"f{number}", "wb").write(bytes(1 << 20))
        time.sleep(0.05)
    """
    with pytest.raises(ToolFailed, match="more than"):
        await python(stage, endless)
    assert folder_bytes(stage[0]) < 50 << 20


async def test_a_family_is_killed_whole(stage: tuple[Path, Tools]) -> None:
    mark = uuid4().hex  # other tests' processes are not meant
    outcome, lines = await python(
        stage,
        f"""
        import subprocess, sys, time
        child = "import os, time; os.setsid(); print('up', flush=True); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", child, "{mark}"])
        time.sleep(60)
        """,
        wall_s=2.0,
    )
    assert outcome.stopped is Stop.TIME
    assert "up" in lines
    async with asyncio.timeout(5):
        while _running_with(mark):  # noqa: ASYNC110 - killed, but the kernel may still be at it
            await asyncio.sleep(0.01)


def _running_with(mark: str) -> list[Path]:
    return [p for p in Path("/proc").iterdir() if p.name.isdigit() and mark.encode() in _read(p / "cmdline")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "argv",
    [
        ["verilator", "--lint-only", "src/a.v"],
        ["python", "-c", "import pyslang, cocotb"],
        ["make", "--version"],
        ["perl", "-e", "print 1"],
        ["yices-smt2", "--version"],
    ],
    ids=lambda argv: argv[0],
)
async def test_tools_start(stage: tuple[Path, Tools], argv: list[str]) -> None:
    outcome = await stage[1].run(ToolCall(argv[0], argv))
    assert outcome.exit_code == 0, outcome.tail


async def test_the_compiler_compiles_and_its_program_runs(stage: tuple[Path, Tools]) -> None:
    (stage[0] / "a.cc").write_text('#include <cstdio>\nint main() { std::puts("hello"); }\n')
    outcome = await stage[1].run(ToolCall("g++", ["g++", "a.cc", "-o", "a.out"]))
    assert outcome.exit_code == 0, outcome.tail
    (stage[0] / "Makefile").write_text("all:\n\t./a.out\n")
    outcome = await stage[1].run(ToolCall("make", ["make", "-s"]))
    assert list(outcome.tail) == ["hello"]


async def test_what_is_missing_is_named(stage: tuple[Path, Tools]) -> None:
    with pytest.raises(ToolMissing, match="no-such-tool"):
        await stage[1].run(ToolCall("x", ["no-such-tool"]))


async def test_files_the_builder_cannot_trust_are_removed(room: SandboxedTools, tmp_path: Path) -> None:
    work, sources = tmp_path / "w", tmp_path / "s"
    work.mkdir()
    sources.mkdir()
    async with room.tools(work, sources) as tools:
        (work / "leak").symlink_to("/etc/passwd")
        os.mkfifo(work / "pipe")
        await tools.run(ToolCall("python", ["python", "-c", "pass"]))
    assert not any(stat.S_ISLNK(p.lstat().st_mode) or stat.S_ISFIFO(p.lstat().st_mode) for p in work.rglob("*"))


def test_files_that_other_calls_remove_meanwhile_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    kept.touch()
    gone.touch()
    found = list(trees.walk(tmp_path))
    gone.unlink()
    monkeypatch.setattr(trees, "walk", lambda _: iter(found))
    stage_tools.give(tmp_path, os.getuid() if os.getuid() else 65534)
    trees.tidy(tmp_path)
    assert kept.exists()
    if os.getuid() == 0:
        assert kept.stat().st_uid == 65534
