"""A pull consumer that keeps one request open, so that messages arrive the moment they are published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

REQUEST_S = 5.0
HEARTBEAT_S = 1.0
SILENCE_MAX_S = 3 * HEARTBEAT_S
"""With neither message nor heartbeat for this long, the request is lost."""
NANOS = 1_000_000_000
HEARTBEAT, NO_MESSAGES, TIMED_OUT = "100", "404", "408"


class PullLost(nats.errors.Error):
    """The consumer cannot be heard any more: NATS is away, or was wiped. Make the consumer again and go on."""


class Pull:
    """Messages of one durable consumer, in batches of whatever is there.

    Silence shows within `SILENCE_MAX_S`: the server sends heartbeats while there is nothing to deliver.
    """

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
        """At least one message, at most `batch_max`. Raises: PullLost, nats.errors.Error."""
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
            raise PullLost(f"nothing was heard of stream {self._stream} for {SILENCE_MAX_S:g} s") from None

    def _sort(self, message: Msg) -> list[Msg]:
        """A message as a list of one; of a status, take note. Raises: PullLost."""
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._left -= 1
            return [message]
        if status in {NO_MESSAGES, TIMED_OUT}:
            self._left = 0
        elif status != HEARTBEAT:
            description = (message.headers or {}).get("Description", "")
            raise PullLost(f"stream {self._stream} answered {status} {description}")
        return []

    async def _request(self) -> None:
        self._left = self._batch_max
        body = {
            "batch": self._batch_max,
            "expires": int(REQUEST_S * NANOS),
            "idle_heartbeat": int(HEARTBEAT_S * NANOS),
        }
        await self._nc.publish(self._next, json.dumps(body).encode(), reply=self._inbox)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Pull]:
        """Listen while the block runs; what arrived and was not taken by then is given back."""
        subscription = await self._nc.subscribe(self._inbox, cb=self._arrived)
        try:
            yield self
        finally:
            if not self._nc.is_closed:
                with suppress(nats.errors.Error, OSError):
                    await subscription.unsubscribe()
                    while not self._messages.empty():
                        message = self._messages.get_nowait()
                        if message.data:
                            await message.nak()
