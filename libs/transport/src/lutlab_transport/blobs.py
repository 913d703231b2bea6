"""Blobs by SHA-256 in NATS' object store: how sources and bitstreams travel between hosts."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from nats.js import JetStreamContext
from nats.js.api import ObjectInfo, ObjectMeta, ObjectMetaOptions
from nats.js.errors import APIError, NotFoundError, ObjectNotFoundError

from lutlab_events.ids import digest
from lutlab_events.subjects import BLOB_BUCKET
from lutlab_transport.clock import elapsed_s
from lutlab_transport.room import NoRoom, is_no_room

log = structlog.get_logger(__name__)

CHUNK_BYTES = 512 * 1024
BLOB_BYTES_MAX = 64 << 20
STREAM = f"OBJ_{BLOB_BUCKET}"
"""The stream that an object store is."""
CHUNKS = f"$O.{BLOB_BUCKET}.C."
ORPHAN_S = 3600.0
"""Chunks that no record names for so long are nobody's: the longest put is over by then."""


class BlobMissing(LookupError):
    """No blob of this digest is in the store; whoever has it must put it again."""

    code = "blob_missing"


class BlobCorrupt(ValueError):
    """A stored blob does not have the digest it is named by."""

    code = "blob_corrupt"


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob in the store, and when it was put, by the clock of whoever put it."""

    digest: str
    size_bytes: int
    put_at: datetime


def _put_at(info: ObjectInfo) -> datetime:
    """When an object was put, long ago if nobody can tell."""
    try:
        at = datetime.fromisoformat(info.mtime or "")
    except ValueError:
        return LONG_AGO
    return at if at.tzinfo else LONG_AGO


class BlobStore:
    """Put and get byte strings of at most `BLOB_BYTES_MAX` by their digest."""

    def __init__(self, js: JetStreamContext, elapsed: Callable[[], float] = elapsed_s) -> None:
        self._js = js
        self._elapsed = elapsed
        self._unnamed: dict[str, float] = {}
        """Since when chunks were seen that no record names."""

    async def put(self, data: bytes) -> str:
        """Store `data` unless it is there; its digest.

        Raises:
            ValueError: it is too large.
            NoRoom: the bucket is full.
        """
        if len(data) > BLOB_BYTES_MAX:
            raise ValueError(f"a blob of {len(data)} bytes exceeds the limit of {BLOB_BYTES_MAX} bytes")
        name = digest(data)
        if not await self.exists(name):
            store = await self._js.object_store(BLOB_BUCKET)
            meta = ObjectMeta(name=name, options=ObjectMetaOptions(max_chunk_size=CHUNK_BYTES))
            try:
                await store.put(name, data, meta=meta)
            except APIError as error:
                if is_no_room(error):
                    raise NoRoom(f"the bucket {BLOB_BUCKET} has no room for {len(data)} bytes more") from error
                raise
        return name

    async def exists(self, name: str) -> bool:
        """Whether a blob of this digest is stored."""
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            await store.get_info(name)
        except (NotFoundError, ObjectNotFoundError):
            return False
        return True

    async def delete(self, name: str) -> None:
        """Take a blob out of the store, if it is there.

        Its record is purged, and then its chunks. nats-py's own `delete` publishes a record that says "deleted", which
        a full bucket refuses: it could never be emptied, and the chunks would be gone of a blob that seems to be there.
        """
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            info = await store.get_info(name)
        except (NotFoundError, ObjectNotFoundError):
            return
        await self._js.purge_stream(STREAM, subject=f"$O.{BLOB_BUCKET}.M.{urlsafe_b64encode(name.encode()).decode()}")
        if info.nuid:
            await self._js.purge_stream(STREAM, subject=f"{CHUNKS}{info.nuid}")

    async def stored_bytes(self) -> int:
        """How many bytes the bucket's stream holds, of at most `lutlab_transport.streams.BLOB_BUCKET_BYTES_MAX`."""
        try:
            return int((await self._js.stream_info(STREAM)).state.bytes)
        except NotFoundError:
            return 0

    async def listed(self) -> list[StoredBlob]:
        """Every blob. What a put left that did not come to its end is in none; looked at now and then, it is purged."""
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            chunks = (await self._js.stream_info(STREAM, subjects_filter=f"{CHUNKS}>")).state.subjects or {}
            found = await store.list(ignore_deletes=True)
        except NotFoundError:
            return []
        await self._purge_unnamed(set(chunks) - {f"{CHUNKS}{info.nuid}" for info in found})
        return [StoredBlob(info.name, info.size or 0, _put_at(info)) for info in found if info.name is not None]

    async def _purge_unnamed(self, unnamed: Set[str]) -> None:
        now = self._elapsed()
        self._unnamed = {subject: self._unnamed.get(subject, now) for subject in unnamed}
        for subject, since in self._unnamed.items():
            if now - since >= ORPHAN_S:
                await self._js.purge_stream(STREAM, subject=subject)
                log.info("orphaned_chunks_purged", subject=subject)

    async def get(self, name: str) -> bytes:
        """The blob's bytes, verified. Raises: BlobMissing, BlobCorrupt."""
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            result = await store.get(name)
        except (NotFoundError, ObjectNotFoundError):
            raise BlobMissing(f"blob {name} is not in the store") from None
        data = result.data or b""
        if digest(data) != name:
            raise BlobCorrupt(f"blob {name} has digest {digest(data)}")
        return data
