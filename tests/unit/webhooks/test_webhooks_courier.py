"""What must never happen: an attempt that leaves no trace and is made again at once, for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from lutlab_events.webhooks import Topic, WebhookFilter
from lutlab_hooks.secrets import Vault
from lutlab_webhooks.app.delivery import Courier
from lutlab_webhooks.app.ports import Attempt, Delivery, Endpoint, Progress, Reply, StoreUnavailable
from lutlab_webhooks.domain.happenings import Recorded
from lutlab_webhooks.domain.schedule import parse_retry_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOOK = UUID(int=1)
VAULT = Vault("the operator's key")


class Lab:
    """A store with one delivery that is due until an attempt at it is recorded, and an endpoint."""

    def __init__(self, answer: Reply | Exception, *, writable: bool = True) -> None:
        self.answer = answer
        self.writable = writable
        self.sent = 0
        self.recorded: list[tuple[Attempt, str]] = []

    def now(self) -> datetime:
        return NOW

    async def endpoints(self, now: datetime, pending_max: int) -> Sequence[Endpoint]:
        box = VAULT.seal(HOOK, "a secret of more than 24 bytes", bytes(24))
        wanted = WebhookFilter(topics=(Topic.JOB_FAILED,))
        return [
            Endpoint(
                webhook_id=HOOK, owner="ada", url="http://a.example/", wanted=wanted, ordered=False, boxes=(box,),
                position=0, pending=1, version=1,
            )
        ]  # fmt: skip

    async def read(self, after: int, limit: int) -> Sequence[Recorded]:
        return []

    async def advance(self, progress: Progress, now: datetime) -> None:
        raise AssertionError

    async def due(self, room: Mapping[UUID, int], ordered: Sequence[UUID], now: datetime) -> Sequence[Delivery]:
        one = Delivery(delivery_id=UUID(int=2), webhook_id=HOOK, position=1, subject="job-1", topic="x", body="{}")
        return [] if self.recorded else [one]

    async def record(self, delivery: Delivery, attempt: Attempt, *, status: str, **more: Any) -> None:
        if not self.writable:
            raise StoreUnavailable("DiskFullError")
        self.recorded.append((attempt, status))

    async def forget(self, before: datetime) -> int:
        return 0

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.sent += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def disable(self, endpoint: Endpoint, code: str, message: str) -> None:
        raise AssertionError


async def rounds(lab: Lab, seconds: float = 0.2) -> None:
    """What the service does: look, and look again as soon as something ended."""
    courier = Courier(
        store=lab,
        sender=lab,
        disabler=lab,
        vault=VAULT,
        clock=lab,
        jitter=lambda: 0.0,
        disable_after=timedelta(days=4),
        attempted=Counter(),
    )
    try:
        async with asyncio.timeout(seconds):
            while True:
                courier.woken.clear()
                await courier.tick()
                await courier.woken.wait()
    except TimeoutError:
        await courier.stop()


@pytest.mark.parametrize(
    "answer",
    [
        UnicodeError("label too long"),
        Reply(status_code=503, headers={"retry-after": f"Mon, {9**30} Jan 2024 1:1:1 +0"}),
    ],
    ids=["a defect", "a hostile Retry-After"],
)
async def test_whatever_happens_is_recorded_as_a_failure(answer: Reply | Exception) -> None:
    lab = Lab(answer)
    await rounds(lab)
    assert lab.sent == 1
    assert [status for _, status in lab.recorded] == ["pending"]


async def test_a_store_that_takes_nothing_does_not_make_the_lab_hammer_endpoints() -> None:
    lab = Lab(Reply(status_code=204, headers={}), writable=False)
    await rounds(lab)
    assert lab.sent == 1


@pytest.mark.parametrize("text", [f"Mon, {9**30} Jan 2024 00:00:00 +0000", f"Mon, 01 Jan 2024 00:00:00 +{9**30}"])
def test_dates_of_twenty_digits_are_no_dates(text: str) -> None:
    assert parse_retry_after(text, NOW) is None
