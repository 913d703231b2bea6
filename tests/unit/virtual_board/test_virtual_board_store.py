"""Compiled designs on disk."""

from __future__ import annotations

import os
from pathlib import Path

from lutlab_virtual_board.files import link_atomically, write_atomically
from lutlab_virtual_board.store import FILES_MAX, DesignStore


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    store = DesignStore(tmp_path / "designs")
    assert store.get("a" * 40, "gcc") is None
    store.put("a" * 40, "gcc", b"code")
    assert store.get("a" * 40, "gcc") == b"code"
    assert store.get("a" * 40, "tcc") is None
    assert store.get("b" * 40, "gcc") is None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = DesignStore(tmp_path)
    for number in range(FILES_MAX):
        store.put(f"{number:040}", "gcc", b"x")
        os.utime(tmp_path / f"{number:040}.gcc", (number, number))
    store.get(f"{0:040}", "gcc")
    store.put("new", "gcc", b"y")
    assert store.get(f"{0:040}", "gcc") == b"x"
    assert store.get(f"{1:040}", "gcc") is None
    assert len(list(tmp_path.iterdir())) == FILES_MAX


def test_files_are_replaced_whole_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_link_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    link_atomically(link, "/dev/pts/1")
    link_atomically(link, "/dev/pts/2")
    assert str(link.readlink()) == "/dev/pts/2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["tty"]
