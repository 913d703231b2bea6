"""`up`: what it refuses, and that an interrupted start leaves nothing. The whole of it is under tests/e2e."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lutlab_profiles import DEFAULT_PROFILE
from lutlab_stack.errors import DataDirBusy, StackError
from lutlab_stack.files import locked
from lutlab_stack.lab import Lab
from lutlab_stack.layout import Layout
from lutlab_stack.services import UpOptions
from lutlab_stack.up import up

START_TIMEOUT_S = 60


class Silent:
    """A console nobody looks at."""

    def doing(self, text: str) -> None: ...
    def progress(self, text: str, done: int, total: int) -> None: ...
    def done(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...


def options(folder: Path, port: int = 0) -> UpOptions:
    return UpOptions(
        data_dir=folder, host="127.0.0.1", port=port, boards=1, profile=DEFAULT_PROFILE, cache_dir=folder / "cache"
    )


async def never(lab: Lab) -> None:
    raise AssertionError("it came up")


async def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    with locked(layout.lock, "it"), pytest.raises(DataDirBusy, match=f"in use by process {os.getpid()}"):
        await up(options(tmp_path), Silent(), never)


async def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} on 127.0.0.1 is taken"):
            await up(options(tmp_path, port), Silent(), never)
    assert not Layout(tmp_path).postgres.exists()


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that name this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("moment", ["starting Postgres", "starting scheduler"])
def test_an_interrupted_start_leaves_nothing_and_is_resumed(tmp_path: Path, moment: str) -> None:
    command = [sys.executable, "-c", "from lutlab.cli import main; main()", "up", "--port", "0", "--data-dir"]
    environment = {**os.environ, "LUTLAB_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        process = subprocess.Popen(
            [*command, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        try:
            assert process.stdout is not None
            seen = next(line for line in process.stdout if moment in line)
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=START_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, seen + rest
        assert "stopped" in rest
        deadline = time.monotonic() + 5
        while running_below(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running_below(tmp_path) == []
        assert not (tmp_path / "ready.json").exists()
