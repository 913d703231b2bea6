"""Files that are whole, private or locked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lutlab_stack.errors import DataDirBusy
from lutlab_stack.files import locked, stored_secret, tail, write_atomically
from lutlab_stack.logs import begin_log, cap_log, older


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_atomic_write_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "one")
    write_atomically(tmp_path / "a", "two", mode=0o600)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "two"
    assert mode(tmp_path / "a") == 0o600


def test_a_failed_atomic_write_keeps_the_old_text(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "one")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a", "\udcff")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "one"


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    first = stored_secret(tmp_path / "s", prefix="k_")
    assert first.startswith("k_")
    assert len(first) > 32
    assert stored_secret(tmp_path / "s") == first
    assert stored_secret(tmp_path / "other") != first
    assert mode(tmp_path / "s") == 0o600


def test_a_secret_that_others_can_read_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("known\n")
    (tmp_path / "s").chmod(0o644)
    assert stored_secret(tmp_path / "s") == "known"
    assert mode(tmp_path / "s") == 0o600


def test_a_lock_names_its_holder_and_ends_with_the_block(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "the folder"),
        pytest.raises(DataDirBusy, match=f"the folder is in use by process {os.getpid()}"),
        locked(tmp_path / "lock", "the folder"),
    ):
        pass
    with locked(tmp_path / "lock", "the folder"):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from lutlab_stack.files import locked
with locked(Path({str(tmp_path / "lock")!r}), "it"):
    os._exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    with locked(tmp_path / "lock", "it"):
        pass


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {i}\n" for i in range(5000)))
    assert tail(tmp_path / "log", 2) == "line 4998\nline 4999"
    assert tail(tmp_path / "none") == ""
    (tmp_path / "long").write_text("begins" + "x" * 5_000 + "ends\n")
    assert len(tail(tmp_path / "long")) < 1000
    assert tail(tmp_path / "long").startswith("begins")
    assert tail(tmp_path / "long").endswith("ends")


def test_logs_of_the_previous_run_are_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    begin_log(log)
    assert not log.exists()
    log.write_text("first")
    begin_log(log)
    assert older(log).read_text() == "first"
    assert not log.exists()


def test_a_log_in_use_is_cut_and_its_writer_goes_on_at_the_beginning(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        assert not cap_log(log, 100)
        writer.write(b"y")
        assert cap_log(log, 100)
        writer.write(b"after")
    assert older(log).read_bytes() == b"x" * 100 + b"y"
    assert log.read_bytes() == b"after"
    assert not cap_log(tmp_path / "none")
