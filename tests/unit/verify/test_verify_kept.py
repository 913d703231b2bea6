"""Files that later runs use again."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lutlab_verify.simulation.kept import drop_oldest, put


def test_many_may_put_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "simulator-1"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: put(path, b"x" * 10_000), range(200)))
    assert [(entry.name, entry.stat().st_size) for entry in path.parent.iterdir()] == [("simulator-1", 10_000)]


def test_what_cannot_be_put_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "simulator-1").mkdir()
    with pytest.raises(OSError, match="simulator-1"):
        put(tmp_path / "simulator-1", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["simulator-1"]


def test_those_used_last_stay(tmp_path: Path) -> None:
    for age in range(5):
        path = tmp_path / f"simulator-{age}"
        put(path, b"x")
        os.utime(path, (1000 - age, 1000 - age))
    put(tmp_path / "runtime-1.a", b"x")
    drop_oldest(tmp_path, "simulator-*", 2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["runtime-1.a", "simulator-0", "simulator-1"]
