"""Finished builds on disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lutlab_builder.adapters import trees
from lutlab_builder.adapters.cache import DirectoryCache
from lutlab_builder.adapters.shared import PREFIX, SharedFolder
from lutlab_builder.adapters.stage_files import DigestStore, FolderCaches
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
from lutlab_builder.app.ports import Artifacts, Stage
from lutlab_builder.domain.report import BuildReport, StageTime, Usage
from lutlab_events.ids import digest

KEYS = [hashlib.sha256(bytes([i])).hexdigest() for i in range(4)]


def artifacts(key: str, size: int = 1000) -> Artifacts:
    bitstream = key.encode() * (size // 64)
    report = BuildReport(
        fmax_mhz=93.0,
        sys_clk_mhz=50.0,
        target_mhz=50.0,
        timing_met=True,
        clock="clk",
        util={"logic": Usage(1, 2)},
        synth_cells={"LUT4": 1},
        warnings=[],
        design_hash="sha256:0",
        toolchain="t",
        log_tail="",
        stages=[StageTime("pack", 0.5)],
        profile="lfe5u-25f",
        build_key=key,
        build_id=int(key[:8], 16),
        clk_hz=50_000_000,
        divider=4,
        baud=12_500_000,
        address_words=512,
        target="Echo",
        bitstream_digest=hashlib.sha256(bitstream).hexdigest(),
        bitstream_bytes=len(bitstream),
    )
    return Artifacts(bitstream, report, [(Stage.PACK, "line")])


def touch(root: Path, key: str, seconds: int) -> None:
    os.utime(root / key[:2] / key, (seconds, seconds))


def test_what_was_put_is_found_by_another_process(tmp_path: Path) -> None:
    DirectoryCache(tmp_path, 1 << 20).put(KEYS[0], artifacts(KEYS[0]))
    found = DirectoryCache(tmp_path, 1 << 20).get(KEYS[0])
    assert found == artifacts(KEYS[0])
    assert DirectoryCache(tmp_path, 1 << 20).get(KEYS[1]) is None


def test_putting_twice_keeps_the_first(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path, 1 << 20)
    cache.put(KEYS[0], artifacts(KEYS[0]))
    cache.put(KEYS[0], artifacts(KEYS[0]))
    assert cache.get(KEYS[0]) == artifacts(KEYS[0])
    assert {path.name for path in tmp_path.iterdir()} == {KEYS[0][:2], ".lock"}


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path, 250_000)
    for age, key in enumerate(KEYS[:2]):
        cache.put(key, artifacts(key, 100_000))
        touch(tmp_path, key, 1000 + age)
    assert cache.get(KEYS[0]) is not None  # reading makes it the most recently used
    cache.put(KEYS[2], artifacts(KEYS[2], 100_000))
    assert cache.get(KEYS[1]) is None
    assert cache.get(KEYS[0]) is not None
    assert cache.get(KEYS[2]) is not None


def test_a_build_larger_than_the_cache_is_still_kept(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path, 1000)
    cache.put(KEYS[0], artifacts(KEYS[0]))
    cache.put(KEYS[1], artifacts(KEYS[1], 100_000))
    assert cache.get(KEYS[0]) is None
    assert cache.get(KEYS[1]) is not None


def test_damaged_builds_are_dropped(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path, 1 << 20)
    for file, data in (("design.bit", b"other bits"), ("report.json", b"{"), ("log.json", b"\xff")):
        cache.put(KEYS[0], artifacts(KEYS[0]))
        place = tmp_path / KEYS[0][:2] / KEYS[0]
        (place / file).write_bytes(data)
        assert cache.get(KEYS[0]) is None
        assert not place.exists()


@pytest.mark.parametrize("file", ["design.bit", "report.json", "log.json"])
def test_a_build_that_a_crash_took_a_file_from_is_built_and_kept_again(tmp_path: Path, file: str) -> None:
    cache = DirectoryCache(tmp_path, 1 << 20)
    cache.put(KEYS[0], artifacts(KEYS[0]))
    (tmp_path / KEYS[0][:2] / KEYS[0] / file).unlink()
    assert cache.get(KEYS[0]) is None
    cache.put(KEYS[0], artifacts(KEYS[0]))
    assert cache.get(KEYS[0]) == artifacts(KEYS[0])


def test_what_a_writer_that_was_killed_left_goes_when_nobody_writes(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "design.bit").write_bytes(b"half")
    shared = SharedFolder(tmp_path)
    assert not left.exists()
    with shared.half_made() as half:
        SharedFolder(tmp_path)
        assert half.exists(), "another process began meanwhile"
    SharedFolder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_a_cache_that_was_cleared_meanwhile_goes_on(tmp_path: Path) -> None:
    builds, files = DirectoryCache(tmp_path / "b", 1 << 20), DigestStore(tmp_path / "f", 1 << 20)
    projects, work = FolderCaches(tmp_path / "p", 1 << 20), TemporaryWorkdirs(tmp_path / "w")
    for folder in tmp_path.iterdir():
        trees.remove(folder)
    assert builds.get(KEYS[0]) is None
    builds.put(KEYS[0], artifacts(KEYS[0]))
    files.put(digest(b"x"), b"x")
    assert builds.get(KEYS[0]) is not None
    assert files.get(digest(b"x")) == b"x"
    assert projects.folder("a").is_dir()
    work.remove(work.create())


HOLD = """
import sys, time
from pathlib import Path
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
print(TemporaryWorkdirs(Path(sys.argv[1])).create(), flush=True)
time.sleep(60)
"""


def test_workdirs_are_private_and_go_with_the_process_that_made_them(tmp_path: Path) -> None:
    """However young they are, and whatever the clock says."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        assert folder.stat().st_mode & 0o077 == 0
        os.utime(folder.parent, (0, 0))
        TemporaryWorkdirs(tmp_path)
        assert folder.exists(), "its process lives"
        other.kill()
    mine = TemporaryWorkdirs(tmp_path)
    assert list(tmp_path.iterdir()) == []
    mine.remove(mine.create())
    assert list(tmp_path.iterdir()) == []
