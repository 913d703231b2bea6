"""Two agents of one name, as of two hosts from one image: each hears of the other and says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

from structlog.testing import capture_logs

from lutlab_board_agent.adapters.nats_io import Heartbeats
from lutlab_events import codec, subjects
from lutlab_events.work import AgentHeartbeat


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
        for incarnation in (1, 2, 1, 2, 3):
            beat = AgentHeartbeat(agent_id="pi", incarnation=UUID(int=incarnation))
            await hear(SimpleNamespace(data=codec.encode(beat)))
        await hear(SimpleNamespace(data=b"garbage"))
    assert [(line["event"], line["incarnation"]) for line in said] == [
        ("agent_name_taken", str(UUID(int=twin))) for twin in (2, 3)
    ]
