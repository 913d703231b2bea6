"""Answers as they go over NATS: a recording of megabytes arrives, too, instead of being waited for in vain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lutlab_board_agent.adapters.nats_io import BusServer
from lutlab_events.busmsg import BusReply, BusStatus


class Nats:
    """One connection, on which a request was made."""

    max_payload = 1 << 20

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, dict[str, str]]] = []

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        assert len(payload) <= self.max_payload, "NATS refuses it"
        self.sent.append((payload, headers))


@pytest.mark.parametrize("frame", [b"short", b"#1\n" * (1 << 20)], ids=["short", "3 MiB"])
async def test_an_answer_of_any_size_arrives(frame: bytes) -> None:
    async def handle(headers: Any, request: bytes, answer: Any) -> None:
        await answer(BusReply(status=BusStatus.OK, frame=frame))

    nc: Any = Nats()
    service: Any = SimpleNamespace(handle=handle)
    message: Any = SimpleNamespace(headers=None, data=b"", reply="inbox.1")
    await BusServer(nc, service, site="main", agent_id="a")._on_request(message)
    ((payload, headers),) = nc.sent
    assert BusReply.from_message(headers, payload).frame == frame
