"""The carrier: what work needs travels from Postgres, which keeps it, to NATS, which only carries it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import msgspec

from lutlab_events import verification as v
from lutlab_scheduler.app.ports import Archive, Blobs, BlobUnavailable

KNOWN_BLOBS_MAX = 16_384
KNOWN_FILE_SETS_MAX = 256


class Carrier:
    """Makes sure that a blob is in NATS before work that needs it is sent, and takes out what nobody needs.

    One at a time: between the look whether a blob is needed and its end nobody may be told that it is there.
    """

    def __init__(self, archive: Archive, blobs: Blobs) -> None:
        self._archive = archive
        self._blobs = blobs
        self._known: OrderedDict[str, None] = OrderedDict()
        self._door = asyncio.Lock()
        self._watched: list[set[str]] = []
        self._file_sets: OrderedDict[str, list[str]] = OrderedDict()

    def forget(self) -> None:
        """NATS may have lost its blobs."""
        self._known.clear()

    async def take_over(self, digest: str) -> None:
        """Take a blob that is archived out of NATS, unless somebody may be sent to it there. Raises: BusUnavailable."""
        await self.take_out(digest, self._known)

    def note(self, digest: str) -> None:
        """This blob is in NATS."""
        self._known[digest] = None
        while len(self._known) > KNOWN_BLOBS_MAX:
            self._known.popitem(last=False)

    async def arriving(self, digests: set[str]) -> set[str]:
        """Those of these blobs in NATS that Postgres does not have yet: nobody could provide them again."""
        return digests - await self._archive.held(digests) if digests else set()

    async def provide(self, digest: str) -> None:
        """Put the blob from Postgres into NATS unless it is there.

        Raises:
            BusUnavailable: not now.
            BlobUnavailable: it is nowhere.
        """
        for asked in self._watched:
            asked.add(digest)
        async with self._door:
            if digest in self._known:
                return
            if not await self._blobs.exists(digest):
                await self._blobs.put(await self._archive.get(digest))
            self.note(digest)

    @contextmanager
    def watching(self) -> Iterator[set[str]]:
        """The blobs that work is sent for while the block runs."""
        asked: set[str] = set()
        self._watched.append(asked)
        try:
            yield asked
        finally:
            self._watched.remove(asked)

    async def take_out(self, digest: str, asked: Collection[str]) -> bool:
        """Take a blob out of NATS, unless it is among those that were asked for; whether it went. Raises:
        BusUnavailable."""
        async with self._door:
            if digest in asked:
                return False
            try:
                await self._blobs.delete(digest)
            finally:
                self._known.pop(digest, None)  # also if `note` was called meanwhile, or nobody knows whether it went
            return True

    async def files_of(self, files_digest: str) -> list[str]:
        """The digests of a file set's files. Raises: BlobUnavailable."""
        if files_digest not in self._file_sets:
            data = await self._archive.get(files_digest)
            try:
                files = msgspec.json.decode(data, type=dict[str, v.FileRef])
            except msgspec.MsgspecError as error:
                raise BlobUnavailable(f"blob {files_digest} is no file set: {error}") from error
            self._file_sets[files_digest] = sorted({file.digest for file in files.values()})
            while len(self._file_sets) > KNOWN_FILE_SETS_MAX:
                self._file_sets.popitem(last=False)
        return self._file_sets[files_digest]
