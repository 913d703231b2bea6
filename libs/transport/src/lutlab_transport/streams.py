"""Streams, the blob bucket and consumers as `lutlab_events.subjects` declares them."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, ObjectStoreConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from lutlab_events.subjects import BLOB_BUCKET, STREAMS, StreamSpec

BLOB_BUCKET_BYTES_MAX = 4 << 30


def stream_config(spec: StreamSpec, *, replicas: int = 1, first_seq: int | None = None) -> StreamConfig:
    """The JetStream form of a declared stream; `first_seq` counts where the stream is made, not where it exists."""
    retention = RetentionPolicy.WORK_QUEUE if spec.retention == "workqueue" else RetentionPolicy.LIMITS
    return StreamConfig(
        name=spec.name,
        subjects=list(spec.subjects),
        retention=retention,
        max_bytes=spec.max_bytes,
        max_age=spec.max_age_s,
        duplicate_window=spec.duplicate_window_s,
        discard=DiscardPolicy.NEW if spec.retention == "workqueue" else DiscardPolicy.OLD,
        num_replicas=replicas,
        first_seq=first_seq,
    )


async def ensure_streams(js: JetStreamContext, *, replicas: int = 1, first_seq: int | None = None) -> list[str]:
    """Create what is missing and bring the rest to its declaration.

    Args:
        js: the connection.
        replicas: copies of each stream.
        first_seq: the first sequence of streams that are made. The server knows an acknowledgement by stream, consumer
            and sequence alone: where NATS may have been wiped, give a number no earlier stream came to, or a message of
            the new stream is taken for done when a late acknowledgement of the old one arrives.

    Returns:
        The names of streams (and the bucket) that did not exist: not empty means NATS is new or was wiped.
    """
    created: list[str] = []
    for spec in STREAMS:
        try:
            await js.stream_info(spec.name)
            await js.update_stream(stream_config(spec, replicas=replicas))
        except NotFoundError:
            await js.add_stream(stream_config(spec, replicas=replicas, first_seq=first_seq))
            created.append(spec.name)
    if await ensure_blob_bucket(js, replicas=replicas):
        created.append(BLOB_BUCKET)
    return created


async def ensure_blob_bucket(js: JetStreamContext, *, replicas: int = 1) -> bool:
    """Make sure the blob bucket exists; True if it had to be created."""
    try:
        await js.object_store(BLOB_BUCKET)
    except NotFoundError:
        config = ObjectStoreConfig(max_bytes=BLOB_BUCKET_BYTES_MAX, replicas=replicas)
        await js.create_object_store(BLOB_BUCKET, config)
        return True
    return False


def consumer_config(*, durable: str, subject: str, ack_wait_s: float, max_ack_pending: int) -> ConsumerConfig:
    """A durable pull consumer on one subject filter, as every service has them; `lutlab_transport.pull` reads from it.

    Messages are redelivered for ever, `ack_wait_s` after a delivery that was neither acknowledged nor extended.
    """
    # With a name, the API subject carries stream, name and filter, which the server compares with the body: permissions
    # on that subject hold a client to its own consumer.
    return ConsumerConfig(
        name=durable,
        durable_name=durable,
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,
        max_ack_pending=max_ack_pending,
    )


async def ensure_consumer(
    js: JetStreamContext, *, stream: str, durable: str, subject: str, ack_wait_s: float, max_ack_pending: int
) -> None:
    """Make sure that such a consumer exists; one that is there goes on where it is."""
    config = consumer_config(durable=durable, subject=subject, ack_wait_s=ack_wait_s, max_ack_pending=max_ack_pending)
    await js.add_consumer(stream, config)
