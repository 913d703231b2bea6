"""The scheduler's consumers: made anew by each leader, pulled from for as long as it leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from lutlab_scheduler.adapters.nats_bus import translated
from lutlab_transport.pull import Pull
from lutlab_transport.streams import consumer_config


class Batches:
    """What a `Pull` brings."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull

    async def batch(self) -> list[Msg]:
        """At least one message. Raises: BusUnavailable."""
        with translated():
            return await self._pull.batch()


@asynccontextmanager
async def pulling(
    nc: Client, *, stream: str, durable: str, subject: str, ack_wait_s: float, batch_max: int, max_ack_pending: int
) -> AsyncIterator[Batches]:
    """Make the durable consumer anew and pull from it while the block runs. Raises: BusUnavailable.

    Whoever pulled before us may have died with messages in hand. A new consumer delivers them at once, instead of after
    `ack_wait_s`; the stream keeps what is not acknowledged, so nothing is lost in between.
    """
    config = consumer_config(durable=durable, subject=subject, ack_wait_s=ack_wait_s, max_ack_pending=max_ack_pending)
    js = nc.jetstream()
    with translated():
        with suppress(NotFoundError):
            await js.delete_consumer(stream, durable)
        await js.add_consumer(stream, config)
    async with Pull(nc, stream=stream, durable=durable, batch_max=batch_max).open() as pull:
        yield Batches(pull)
