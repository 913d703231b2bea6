"""A pull consumer that keeps one request open, so that messages arrive the moment they are published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from lutlab_scheduler.adapters.nats_bus import translated
from lutlab_scheduler.app.ports import BusUnavailable

REQUEST_S = 5.0
HEARTBEAT_S = 1.0
SILENCE_MAX_S = 3 * HEARTBEAT_S
"""With neither message nor heartbeat for this long, the request is lost."""
NANOS = 1_000_000_000
HEARTBEAT, NO_MESSAGES, TIMED_OUT = "100", "404", "408"


class Pull:
    """Messages of one durable consumer, in batches of whatever is there."""

    def __init__(self, nc: Client, *, stream: str, durable: str, batch_max: int) -> None:
        self._nc = nc
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._stream = stream
        self._batch_max = batch_max
        self._inbox = nc.new_inbox()
        # One request of `batch_max` is open at a time, so no more than that (and its status) can be waiting.
        self._messages: asyncio.Queue[Msg] = asyncio.Queue()
        self._left = 0

    async def _arrived(self, message: Msg) -> None:
        self._messages.put_nowait(message)

    async def batch(self) -> list[Msg]:
        """At least one message, at most `batch_max`. Raises: BusUnavailable."""
        messages: list[Msg] = []
        while not messages:
            if self._left == 0:
                await self._request()
            messages += self._sort(await self._one())
            while not self._messages.empty():
                messages += self._sort(self._messages.get_nowait())
        return messages

    async def _one(self) -> Msg:
        try:
            async with asyncio.timeout(SILENCE_MAX_S):
                return await self._messages.get()
        except TimeoutError:
            raise BusUnavailable(f"nothing was heard of stream {self._stream} for {SILENCE_MAX_S:g} s") from None

    def _sort(self, message: Msg) -> list[Msg]:
        """A message as a list of one; of a status, take note. Raises: BusUnavailable."""
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._left -= 1
            return [message]
        if status in {NO_MESSAGES, TIMED_OUT}:
            self._left = 0
        elif status != HEARTBEAT:
            description = (message.headers or {}).get("Description", "")
            raise BusUnavailable(f"stream {self._stream} answered {status} {description}")
        return []

    async def _request(self) -> None:
        self._left = self._batch_max
        body = {
            "batch": self._batch_max,
            "expires": int(REQUEST_S * NANOS),
            "idle_heartbeat": int(HEARTBEAT_S * NANOS),
        }
        with translated():
            await self._nc.publish(self._next, json.dumps(body).encode(), reply=self._inbox)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Pull]:
        """Listen while the block runs."""
        with translated():
            subscription = await self._nc.subscribe(self._inbox, cb=self._arrived)
        try:
            yield self
        finally:
            if not self._nc.is_closed:
                await subscription.unsubscribe()


@asynccontextmanager
async def pulling(
    nc: Client, *, stream: str, durable: str, subject: str, ack_wait_s: float, batch_max: int, max_ack_pending: int
) -> AsyncIterator[Pull]:
    """Make the durable consumer anew and pull from it while the block runs. Raises: BusUnavailable.

    Whoever pulled before us may have died with messages in hand. A new consumer delivers them at once, instead of after
    `ack_wait_s`; the stream keeps what is not acknowledged, so nothing is lost in between.
    """
    config = ConsumerConfig(
        name=durable,
        durable_name=durable,
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,
        max_ack_pending=max_ack_pending,
    )
    js = nc.jetstream()
    with translated():
        with suppress(NotFoundError):
            await js.delete_consumer(stream, durable)
        await js.add_consumer(stream, config)
    async with Pull(nc, stream=stream, durable=durable, batch_max=batch_max).open() as pull:
        yield pull
