"""Finished builds in a folder: written whole or not at all, dropped in order of last use."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from lutlab_builder.adapters.shared import SharedFolder
from lutlab_builder.app.ports import Artifacts, Stage
from lutlab_builder.domain.report import BuildReport

log = structlog.get_logger(__name__)

_BITSTREAM, _REPORT, _LOG = "design.bit", "report.json", "log.json"


class DirectoryCache:
    """`<root>/<first two digits>/<build key>/{design.bit,report.json,log.json}`; safe to share between processes."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        """
        Args:
            root: its folder; made if missing.
            bytes_max: what all builds together may take; the least recently used go first.
        """
        self._root = root
        self._bytes_max = bytes_max
        self._shared = SharedFolder(root)

    def _place(self, build_key: str) -> Path:
        return self._root / build_key[:2] / build_key

    def get(self, build_key: str) -> Artifacts | None:
        """A finished build, or None; one that is not whole, or whose bitstream its report does not know, is dropped."""
        place = self._place(build_key)
        try:
            bitstream = (place / _BITSTREAM).read_bytes()
            report = msgspec.json.decode((place / _REPORT).read_bytes(), type=BuildReport)
            lines = msgspec.json.decode((place / _LOG).read_bytes(), type=list[tuple[Stage, str]])
            os.utime(place)
        except FileNotFoundError as error:
            if place.exists():  # a crash of the machine may leave a folder and lose what is in it
                self._drop_damaged(place, repr(error))
            return None
        except OSError as error:
            log.warning("cached_build_unreadable", build_key=build_key, error=repr(error))
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._drop_damaged(place, repr(error))
            return None
        if hashlib.sha256(bitstream).hexdigest() != report.bitstream_digest:
            self._drop_damaged(place, "the bitstream has another digest")
            return None
        return Artifacts(bitstream, report, lines)

    def _drop_damaged(self, place: Path, reason: str) -> None:
        log.warning("cached_build_dropped", build_key=place.name, reason=reason)
        self._remove(place)

    def put(self, build_key: str, artifacts: Artifacts) -> None:
        """Keep a build, then drop old ones until all fit. A full disk loses the copy, not the build."""
        try:
            self._put(self._place(build_key), artifacts)
        except OSError as error:
            log.warning("build_not_kept", build_key=build_key, error=repr(error))

    def _put(self, place: Path, artifacts: Artifacts) -> None:
        with self._shared.half_made() as folder:
            place.parent.mkdir(exist_ok=True, mode=0o700)
            fresh = folder / "build"
            fresh.mkdir(mode=0o700)
            (fresh / _BITSTREAM).write_bytes(artifacts.bitstream)
            (fresh / _REPORT).write_bytes(msgspec.json.encode(artifacts.report))
            (fresh / _LOG).write_bytes(msgspec.json.encode(artifacts.log))
            with contextlib.suppress(OSError):  # another process has put the same build meanwhile: the same bits
                fresh.rename(place)
        self._evict(keep=place)

    def _builds(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, folder) of every build."""
        for place in self._root.glob("??/*"):
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in place.iterdir())
                yield place.stat().st_mtime, size, place

    def _evict(self, keep: Path) -> None:
        builds = sorted(self._builds())
        total = sum(size for _, size, _ in builds)
        for _, size, place in builds:
            if total <= self._bytes_max:
                return
            if place != keep:
                self._remove(place)
                total -= size
                log.info("cached_build_evicted", build_key=place.name, size_bytes=size)

    def _remove(self, place: Path) -> None:
        """Take a build away at once for readers, then delete its files."""
        with contextlib.suppress(OSError), self._shared.half_made() as doomed:
            place.rename(doomed / "build")
