"""Folders that a hostile tool leaves: thousands of levels deep, closed to their owner, full of empty files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lutlab_builder.adapters import trees
from lutlab_builder.adapters.stage_files import DigestStore
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
from lutlab_events.ids import digest

DEPTH = 3000
"""More than Python calls itself, than descriptors are open, and than a path has room for."""
ENOUGH = 1 << 30
ORDINARY_USER = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = TemporaryWorkdirs(tmp_path / "work").create()
    yield made
    trees.remove(made)
    assert not made.exists()


def dig(folder: Path, data: bytes) -> None:
    """As a tool does it, that goes into each folder it makes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    file = os.open("data", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, data)
    os.close(file)
    os.close(here)


@contextmanager
def ordinary_users_folder() -> Iterator[Path]:
    """A folder, and no longer root's rights, which know no closed folders."""
    made = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(made, ORDINARY_USER, -1)
        os.seteuid(ORDINARY_USER)
    try:
        yield made
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(made)


def test_a_builder_starts_although_one_that_died_left_a_bottomless_folder(tmp_path: Path) -> None:
    old = tmp_path / "work-old"
    old.mkdir()
    dig(old, b"x")
    TemporaryWorkdirs(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_filled_the_disk_can_be_removed_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filling = tmp_path / "work" / "stage" / "deep" / "data"
    filling.parent.mkdir(parents=True)
    filling.touch()
    make = tempfile.mkdtemp

    def full(**more: Any) -> str:
        if filling.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(make(**more))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    trees.remove(tmp_path / "work")
    assert not list(tmp_path.iterdir())


def test_depth_hides_nothing_and_goes_after_the_call(folder: Path) -> None:
    (folder / "result.json").write_text("{}")
    dig(folder, bytes(1000))
    assert trees.weight(folder, ENOUGH) == trees.TOO_MUCH
    trees.tidy(folder)
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_a_closed_folder_hides_nothing_and_can_be_removed() -> None:
    with ordinary_users_folder() as folder:
        closed = folder / "a" / "closed"
        closed.mkdir(parents=True)
        (closed / "big").write_bytes(bytes(1 << 20))
        closed.chmod(0o300)  # to be written to, not listed
        assert trees.weight(folder, ENOUGH) > 1 << 20
        closed.chmod(0)
        closed.parent.chmod(0)
        trees.remove(folder / "a")
        assert not list(folder.iterdir())


def test_empty_files_take_room_too(folder: Path) -> None:
    for number in range(300):
        (folder / str(number)).touch()
    assert trees.weight(folder, 1 << 20) > 1 << 20
    assert trees.weight(folder, ENOUGH) == 300 * trees.ENTRY_BYTES


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "inner").mkdir()
    (folder / "inner" / "link").symlink_to(outside)
    (folder / "link").symlink_to(outside / "kept")
    trees.remove(folder)
    assert (outside / "kept").exists()


def test_a_disk_that_fills_keeps_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DigestStore(tmp_path, 1 << 20)

    def full(place: Path, data: bytes) -> None:
        with place.open("wb") as file:
            file.write(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    store.put(digest(b"whole"), b"whole")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}
