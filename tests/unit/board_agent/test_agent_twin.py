"""Two agents of one name, as of two hosts from one image: each hears of the other and says so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from lutlab_board_agent.adapters import nats_io
from lutlab_board_agent.adapters.nats_io import Heartbeats
from lutlab_events import codec, subjects
from lutlab_events.work import AgentHeartbeat, RegistrationWanted


class Nats:
    """Keeps who listens."""

    def __init__(self) -> None:
        self.heard: dict[str, Any] = {}

    async def subscribe(self, subject: str, cb: Any) -> None:
        self.heard[subject] = cb


async def test_a_twin_is_told_of_once_and_ones_own_heartbeat_is_none() -> None:
    nc: Any = Nats()
    registration: Any = None
    await Heartbeats(nc, registration, site="main", agent_id="pi", incarnation=UUID(int=1)).start()
    hear = nc.heard[subjects.heartbeat("main", "pi")]
    with capture_logs() as said:
        for incarnation in (1, 2, 1, 2, 3, 2, 3, 4):  # the last word of a process before this one, say
            beat = AgentHeartbeat(agent_id="pi", incarnation=UUID(int=incarnation))
            await hear(SimpleNamespace(data=codec.encode(beat)))
        await hear(SimpleNamespace(data=b"garbage"))
    assert [(line["event"], line["incarnation"]) for line in said] == [
        ("agent_name_taken", str(UUID(int=twin))) for twin in (2, 3)
    ]


@pytest.mark.parametrize(("heard", "registered"), [(1, 3), (2, 1)], ids=["alone", "with a twin"])
async def test_twins_do_not_fill_the_ledger_with_registrations(
    heard: int, registered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Registration:
        """Counts."""

        count = 0

        async def register(self) -> None:
            self.count += 1

    monkeypatch.setattr(nats_io, "REGISTER_GAP_S", 0.0)
    nc: Any = Nats()
    registration: Any = Registration()
    beats = Heartbeats(nc, registration, site="main", agent_id="pi", incarnation=UUID(int=1))
    await beats.start()
    answering = asyncio.create_task(beats.register_when_wanted())
    beat = AgentHeartbeat(agent_id="pi", incarnation=UUID(int=heard))
    for _ in range(2):
        await nc.heard[subjects.heartbeat("main", "pi")](SimpleNamespace(data=codec.encode(beat)))
    wish = SimpleNamespace(data=codec.encode(RegistrationWanted(agent_id="pi")))
    for _ in range(3):
        await nc.heard[subjects.agent_control("main", "pi")](wish)
        for _ in range(10):
            await asyncio.sleep(0)
    assert registration.count == registered
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
