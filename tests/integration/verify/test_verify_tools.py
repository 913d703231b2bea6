"""Getting tools, and running them without a sandbox."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from verify_projects import context, make_project, write_files

from lutlab_verify import catalogue, simulation
from lutlab_verify.inside.mark_finish import marked
from lutlab_verify.plain_tools import PlainTools
from lutlab_verify.tools import Stop, ToolCall, ToolLimits


def get_tools(tmp_path: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "LUTLAB_TOOLS": str(tmp_path / "tools")}
    argv = [sys.executable, "-m", "lutlab_verify.get_tools"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def test_without_apt_the_message_says_what_to_do(tmp_path: Path) -> None:
    done = get_tools(tmp_path, str(tmp_path))
    assert done.returncode == 1
    assert "iverilog (Icarus Verilog, for simulation) is not installed, and this machine has no apt" in done.stderr


def test_a_broken_apt_is_quoted(tmp_path: Path) -> None:
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'E: no such mirror' >&2\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    done = get_tools(tmp_path, str(tmp_path))
    assert done.returncode == 1
    assert "cannot read the package lists for iverilog" in done.stderr
    assert "E: no such mirror" in done.stderr


@pytest.mark.skipif(not catalogue.installed("iverilog"), reason="Icarus Verilog is missing: make tools")
def test_what_is_here_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lutlab_verify.get_tools"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "iverilog" not in done.stdout


@pytest.mark.parametrize(
    "call", ['    %vpi_call 2 5 "$finish" {0 0 0};', '    %vpi_call/w 3 12 "$finish", 32\'sb0 {0 0 0};']
)
def test_finish_is_marked_where_it_is_called(call: str) -> None:
    program = f'T_0 ;\n    %vpi_call 2 4 "$display", "$finish" {{0 0 0}};\n{call}\n    %end;\n'
    lines = marked(program, "MARK").splitlines()
    assert [line.strip() for line in lines][2:4] == [
        f'%vpi_call/w {call.split()[1]} {call.split()[2]} "$display", "MARK" {{0 0 0}};',
        call.strip(),
    ]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("text", "limits", "stop"),
    [
        ("import time; time.sleep(60)", {"wall_s": 0.3}, Stop.TIME),
        ("x = bytearray(400 << 20); import time; time.sleep(60)", {"resident_bytes": 100 << 20}, Stop.MEMORY),
        ("import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(60,)).start()",
         {"processes": 20}, Stop.PROCESSES),
    ],
)  # fmt: skip
async def test_limits_end_a_tool(tmp_path: Path, text: str, limits: dict[str, float], stop: Stop) -> None:
    tools = PlainTools(tmp_path / "work", tmp_path)
    call = ToolCall("python", ["python", "-c", text], ToolLimits(**limits))  # type: ignore[arg-type]
    assert (await tools.run(call)).stopped is stop


def processes_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.skipif(not catalogue.installed("iverilog"), reason="Icarus Verilog is missing: make tools")
async def test_a_cancelled_stage_leaves_no_process(tmp_path: Path) -> None:
    bench = "module b;\n  reg clk = 0;\n  always #5 clk = !clk;\nendmodule\n"
    write_files(tmp_path / "src", {"b.sv": bench})
    project = make_project(
        tmp_path / "src", "b", sources=("b.sv",), benches=("b.sv",), simulation={"tool": "icarus", "coverage": False}
    )
    stage = asyncio.create_task(simulation.run(context(project, tmp_path / "work")))
    async with asyncio.timeout(20):
        while not any(command.partition("\0")[0].endswith("vvp") for command in processes_in(tmp_path)):
            assert not stage.done(), stage.result()
            await asyncio.sleep(0.02)
    stage.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stage
    async with asyncio.timeout(5):
        while processes_in(tmp_path):  # noqa: ASYNC110 - killed, but the kernel may still be at it
            await asyncio.sleep(0.01)
