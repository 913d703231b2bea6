"""What a builder keeps of verification projects: files by digest, and a folder of compiled simulators per project.

Both may be lost at any time. Only the builder writes files by digest, so no project can slip another one a file. A
project's folder is shown to no sandbox: engines copy out of it and into it, and only from and to that project's stages.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import structlog

from lutlab_builder.adapters.shared import SharedFolder
from lutlab_events.ids import digest as digest_of

log = structlog.get_logger(__name__)


class DigestStore:
    """Implements the port `FileStore`: `<root>/<first two digits>/<digest>`; safe to share between processes."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        """
        Args:
            bytes_max: what all files together may take; the least recently used go first.
        """
        self._root = root
        self._bytes_max = bytes_max
        self._shared = SharedFolder(root)
        self._bytes = sum(size for _, size, _ in self._files())

    def get(self, digest: str) -> bytes | None:
        """A file, or None; one that is damaged is dropped."""
        place = self._place(digest)
        try:
            data = place.read_bytes()
            os.utime(place)
        except OSError:
            return None
        if digest_of(data) != digest:
            place.unlink(missing_ok=True)
            return None
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep a file. A full disk loses the copy only."""
        place = self._place(digest)
        try:
            with self._shared.half_made() as folder:
                place.parent.mkdir(exist_ok=True, mode=0o700)
                fresh = folder / digest
                fresh.write_bytes(data)
                fresh.replace(place)
        except OSError as error:
            log.warning("file_not_kept", digest=digest, error=repr(error))
            return
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            self._evict(keep=place)

    def _place(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for place in self._root.glob("??/*"):
            with contextlib.suppress(OSError):
                found = place.stat()
                yield found.st_mtime, found.st_size, place

    def _evict(self, keep: Path) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, place in files:
            if total <= self._bytes_max // 2:
                break
            if place != keep:
                place.unlink(missing_ok=True)
                total -= size
        self._bytes = total


class FolderCaches:
    """Implements the port `ProjectCaches`: `<root>/<project id>`, the least recently used dropped whole."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        self._root = root
        self._bytes_max = bytes_max
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, project: str) -> Path:
        """A project's folder, made if it is missing."""
        place = self._root / project
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # another builder drops it just now
            os.utime(place)
        self._evict(keep=place)
        return place

    def _evict(self, keep: Path) -> None:
        sizes = sorted(self._weighed())
        total = sum(size for _, size, _ in sizes)
        for _, size, place in sizes:
            if total <= self._bytes_max:
                return
            # Even its own: a project that fills everything begins again.
            if place != keep or size > self._bytes_max:
                shutil.rmtree(place, ignore_errors=True)
                total -= size
                log.info("project_cache_dropped", project=place.name, size_bytes=size)
        keep.mkdir(exist_ok=True, mode=0o700)

    def _weighed(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, folder) of every project; another stage may be dropping some of them."""
        for place in self._root.iterdir():
            with contextlib.suppress(OSError):
                if place.is_dir():
                    yield place.stat().st_mtime, folder_bytes(place), place


def folder_bytes(folder: Path) -> int:
    """What all files of a folder have together; links are not followed."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total
