"""A builder says that it lives."""

from __future__ import annotations

import asyncio
from typing import Any

from lutlab_builder.adapters.nats_worker import BuildQueue, Pulse
from lutlab_events.work import ToolReport


class Nats:
    """Keeps the first message."""

    def __init__(self) -> None:
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def jetstream(self) -> Nats:
        return self

    async def publish(self, subject: str, data: bytes) -> None:
        self.first.set_result(data)


async def test_it_lives_although_a_tool_cannot_be_looked_at() -> None:
    nc: Any = Nats()
    service: Any = None

    def tools() -> list[ToolReport]:
        raise LookupError("no package metadata was found for cocotb")

    queue = BuildQueue(nc, service, site="main", slots=1)
    pulse = asyncio.create_task(Pulse(nc, queue, site="main", builder_id="b", slots=1).run(tools))
    assert b'"tools":[]' in await asyncio.wait_for(nc.first, 5)
    pulse.cancel()
    await asyncio.gather(pulse, return_exceptions=True)
