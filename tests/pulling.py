"""A durable consumer, made if need be, and nats-py's own way to fetch from it: other than the product's `Pull`."""

from __future__ import annotations

from typing import Any

from nats.js import JetStreamContext

from lutlab_transport.streams import ensure_consumer


async def pull_consumer(
    js: JetStreamContext, *, stream: str, durable: str, **more: Any
) -> JetStreamContext.PullSubscription:
    """`ensure_consumer`, and a subscription to fetch from it."""
    await ensure_consumer(js, stream=stream, durable=durable, **more)
    return await js.pull_subscribe_bind(durable, stream)
