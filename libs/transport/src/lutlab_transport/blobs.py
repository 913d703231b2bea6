"""Blobs by SHA-256 in NATS' object store: how sources and bitstreams travel between hosts."""

from __future__ import annotations

from collections.abc import Collection

from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, ObjectMetaOptions
from nats.js.errors import NotFoundError, ObjectNotFoundError

from lutlab_events.ids import digest
from lutlab_events.subjects import BLOB_BUCKET

CHUNK_BYTES = 512 * 1024
BLOB_BYTES_MAX = 64 << 20


class BlobMissing(LookupError):
    """No blob of this digest is in the store; whoever has it must put it again."""

    code = "blob_missing"


class BlobCorrupt(ValueError):
    """A stored blob does not have the digest it is named by."""

    code = "blob_corrupt"


class BlobStore:
    """Put and get byte strings of at most `BLOB_BYTES_MAX` by their digest."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def put(self, data: bytes) -> str:
        """Store `data` unless it is there; its digest. Raises: ValueError if it is too large."""
        if len(data) > BLOB_BYTES_MAX:
            raise ValueError(f"a blob of {len(data)} bytes exceeds the limit of {BLOB_BYTES_MAX} bytes")
        name = digest(data)
        if not await self.exists(name):
            store = await self._js.object_store(BLOB_BUCKET)
            meta = ObjectMeta(name=name, options=ObjectMetaOptions(max_chunk_size=CHUNK_BYTES))
            await store.put(name, data, meta=meta)
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
        """Take a blob out of the store, if it is there."""
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            await store.delete(name)
        except (NotFoundError, ObjectNotFoundError):
            return

    async def stored_bytes(self) -> int:
        """How many bytes the bucket's stream holds, of at most `lutlab_transport.streams.BLOB_BUCKET_BYTES_MAX`."""
        try:
            return int((await self._js.stream_info(f"OBJ_{BLOB_BUCKET}")).state.bytes)
        except NotFoundError:
            return 0

    async def prune(self, bytes_max: int, needed: Collection[str]) -> int:
        """If all blobs together have more than `bytes_max` bytes, delete those that are not needed; how many.

        The bucket refuses everything once it is full, so somebody must do this who knows what is needed.
        """
        try:
            store = await self._js.object_store(BLOB_BUCKET)
            found = [info for info in await store.list(ignore_deletes=True) if info.name is not None]
        except NotFoundError:
            return 0
        if sum(info.size or 0 for info in found) <= bytes_max:
            return 0
        spare = [str(info.name) for info in found if info.name not in needed]
        for name in spare:
            await store.delete(name)
        return len(spare)

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
