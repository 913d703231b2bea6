"""What a sender of commands does with a command that no message can hold."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import nats.errors
import pytest

from lutlab_events.commands import RevokeKey
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient


class Nats:
    """Refuses every message for its size."""

    def jetstream(self) -> Nats:
        return self

    async def publish(self, *_: Any, **__: Any) -> None:
        raise nats.errors.MaxPayloadError


async def test_a_command_that_can_never_be_sent_is_not_tried_for_ever() -> None:
    nc: Any = Nats()
    client = CommandClient(nc, site="main", actor="x", clock=SystemClock(), ids=RandomIds())
    async with asyncio.timeout(1):
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.send(RevokeKey(key_id=UUID(int=1)))
