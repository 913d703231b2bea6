"""An outside reader of `evt.>`: it remembers every position it was told of."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig

from lutlab_events import codec, subjects
from lutlab_sim.hosts import Host
from lutlab_transport.pull import Pull


class SubscriberHost(Host):
    """Remembers how often it saw each event; never killed, so that what it saw is what was published."""

    def __init__(self, world: Any) -> None:
        super().__init__(world, "subscriber")
        self.seen: dict[int, str] = {}

    @property
    def position(self) -> int:
        """The end of the part that has no gap, but for what the server itself lost."""
        position, events = 0, self.world.database.events
        lost = self.world.server.lost_events
        while position < len(events) and (position + 1 in self.seen or str(events[position].event_id) in lost):
            position += 1
        return position

    async def _main(self) -> None:
        client: Any = self.connect()
        js = client.jetstream()
        while True:
            try:
                name = subjects.EVENTS.name
                await js.add_consumer(
                    name,
                    ConsumerConfig(
                        durable_name="sim", filter_subject="evt.>", ack_policy=AckPolicy.EXPLICIT, ack_wait=5.0
                    ),
                )
                async with Pull(client, stream=name, durable="sim", batch_max=64).open() as pull:
                    while True:
                        for message in await pull.batch():
                            self._take(message.data)
                            await message.ack()
            except (nats.errors.Error, nats.js.errors.Error):
                await asyncio.sleep(0.5)

    def _take(self, data: bytes) -> None:
        event = codec.decode_event_envelope(data)
        before = self.seen.setdefault(event.position, str(event.event_id))
        if before != str(event.event_id):
            self.world.fail(f"position {event.position} was published as {before} and as {event.event_id}")
