"""The Bus and Blobs ports on NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from lutlab_events import codec, subjects
from lutlab_events.envelope import Answer, EventEnvelope
from lutlab_events.work import Control, Work
from lutlab_scheduler.adapters.cancellation import raise_if_cancelled
from lutlab_scheduler.app.ports import BlobUnavailable, BusFull, BusUnavailable, StoredBlob
from lutlab_transport import tracing
from lutlab_transport.blobs import BlobCorrupt, BlobMissing, BlobStore
from lutlab_transport.room import is_no_room

PUBLISH_TIMEOUT_S = 5.0
GET_TIMEOUT_S = 60.0
"""How long a blob may take to arrive. nats-py waits for ever for one whose record is there and whose chunks are not."""
MESSAGE_ID = "Nats-Msg-Id"


@contextmanager
def translated() -> Iterator[None]:
    """Foreign exceptions as this service's own. Raises: BusFull, BusUnavailable."""
    try:
        yield
    except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
        raise_if_cancelled()
        if is_no_room(error):
            raise BusFull(str(error)) from error
        raise BusUnavailable(f"{type(error).__name__}: {error}") from error
    raise_if_cancelled()


class NatsBus:
    """Publishes events, work, control messages and answers."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._js: JetStreamContext = nc.jetstream(timeout=PUBLISH_TIMEOUT_S)

    async def publish_event(self, envelope: EventEnvelope) -> None:
        """Publish a recorded event."""
        kind = codec.event_type(envelope.body)
        subject = subjects.event(envelope.site, envelope.stream, kind)
        with (
            tracing.under(envelope.correlation_id, envelope.causation_id),
            tracing.span(f"relay {kind}", "producer", position=envelope.position),
        ):
            await self._publish(subject, codec.encode(envelope), {MESSAGE_ID: str(envelope.event_id)})

    async def publish_work(self, subject: str, message_id: str, work: Work) -> None:
        """Publish work."""
        with tracing.span(f"dispatch {type(work).__name__}", "producer", trace=work.correlation_id):
            await self._publish(subject, codec.encode(work), {MESSAGE_ID: message_id})

    async def bury(self, origin: str, site: str, data: bytes, reason: str, subject: str = "") -> None:
        """Show a message that cannot be understood, with the reason, to whoever watches the dead letters."""
        headers = {subjects.H_DEAD_REASON: " ".join(reason.split())[:1000], subjects.H_DEAD_SUBJECT: subject}
        await self._publish(subjects.dead(site, origin), data, headers)

    async def control(self, subject: str, message: Control) -> None:
        """Send a control message to whoever listens now."""
        with translated():
            await self._nc.publish(subject, codec.encode(message))

    async def answer(self, reply_to: str, answer: Answer) -> None:
        """Send an answer to whoever waits for it."""
        with translated():
            await self._nc.publish(reply_to, codec.encode(answer))

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        with translated():
            await self._js.publish(subject, data, timeout=PUBLISH_TIMEOUT_S, headers=tracing.carried(headers))


class NatsBlobs:
    """The Blobs port over the object store."""

    def __init__(self, nc: Client) -> None:
        self._store = BlobStore(nc.jetstream(timeout=PUBLISH_TIMEOUT_S))

    async def exists(self, digest: str) -> bool:
        """Whether the blob is there."""
        with translated():
            return await self._store.exists(digest)

    async def get(self, digest: str) -> bytes:
        """The blob, verified. Raises: BlobUnavailable, BusUnavailable."""
        try:
            with translated():
                async with asyncio.timeout(GET_TIMEOUT_S) as limit:
                    return await self._store.get(digest)
        except (BlobMissing, BlobCorrupt) as error:
            raise BlobUnavailable(str(error)) from error
        except BusUnavailable as error:
            if not limit.expired():
                raise
            raise BlobUnavailable(f"blob {digest} did not arrive within {GET_TIMEOUT_S:g} s") from error

    async def delete(self, digest: str) -> None:
        """Take a blob out, if it is there."""
        with translated():
            await self._store.delete(digest)

    async def put(self, data: bytes) -> None:
        """Put a blob unless it is there."""
        with translated():
            await self._store.put(data)

    async def stored_bytes(self) -> int:
        """How much all blobs take up."""
        with translated():
            return await self._store.stored_bytes()

    async def listed(self) -> list[StoredBlob]:
        """Every blob."""
        with translated():
            found = await self._store.listed()
        return [StoredBlob(blob.digest, blob.size_bytes, blob.put_at) for blob in found]
