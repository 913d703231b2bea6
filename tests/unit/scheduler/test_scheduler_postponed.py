"""Work that NATS has no room for."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from scheduler_fakes import ManualClock
from scheduler_rig import Rig

from lutlab_events import verification as v
from lutlab_events.work import StageWork
from lutlab_scheduler.app import postponed as module
from lutlab_scheduler.app.ports import BusFull
from lutlab_scheduler.app.postponed import Postponed


class Line:
    """A bus with so much room, and what became of the work."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.room = 0
        self.made = 0
        self.owed: list[int] = []
        self.sent: list[str] = []
        self.given_up: list[str] = []
        self.postponed = Postponed(clock=self.clock, owe=self.owe, make_room=self.make_room)

    async def owe(self, number: int) -> None:
        self.owed.append(number)

    async def make_room(self) -> None:
        self.made += 1

    async def ask(self, name: str, waits_s: float = 60) -> bool:
        async def send() -> None:
            if self.room <= 0:
                raise BusFull("the bucket is full")
            self.room -= 1
            self.sent.append(name)

        async def give_up(reason: str) -> None:
            assert "no room for" in reason and "the bucket is full" in reason
            self.given_up.append(name)

        return await self.postponed.now_or_later(name, send, give_up, timedelta(seconds=waits_s))


async def test_what_waits_is_sent_in_its_order_when_there_is_room() -> None:
    line = Line()
    assert [await line.ask(name) for name in ("a", "b", "c")] == [False, False, False]
    assert line.owed == [1, 1, 1], "remembered before the work behind it is looked at"
    line.room = 2
    await line.postponed.look()
    assert (line.sent, line.postponed.waiting, line.owed[-1]) == (["a", "b"], 1, 1)
    line.room = 1
    await line.postponed.look()
    assert (line.sent, line.postponed.waiting, line.owed[-1]) == (["a", "b", "c"], 0, 0)


async def test_what_waits_too_long_is_given_up_and_asking_again_does_not_begin_anew() -> None:
    line = Line()
    await line.ask("a", 60)
    line.clock.advance(40)
    await line.ask("a", 60)
    await line.ask("b", 60)
    await line.postponed.look()
    assert not line.given_up
    line.clock.advance(30)
    await line.postponed.look()
    assert (line.given_up, line.postponed.waiting, line.owed[-1]) == (["a"], 1, 1)


async def test_room_is_made_while_anything_waits_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    line = Line()
    running = asyncio.create_task(line.postponed.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert line.made == 0
    await line.ask("a")
    async with asyncio.timeout(5):
        while line.made < 3:  # noqa: ASYNC110 - there is no event for tests
            await asyncio.sleep(0.001)
        line.room = 1
        while line.sent != ["a"]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stage_without_room_waits_and_is_given_up_with_its_own_code() -> None:
    line = Line()
    rig = Rig("cd" * 32, "file", postponed=line.postponed)
    put, full = rig.blobs.put, True

    async def refuse(data: bytes) -> None:
        if full:
            raise BusFull("the bucket is full")
        await put(data)

    rig.blobs.put = refuse  # type: ignore[method-assign]
    assert not await rig.follow()
    assert line.postponed.waiting == 1 and "no room" in rig.told[0]
    line.clock.advance(3600)
    await line.postponed.look()
    (due,) = rig.inside.due
    assert isinstance(due.command, v.ReportStageCompleted)
    assert (due.command.stage, due.command.outcome.code) == ("lint", "transit_full")
    assert not line.postponed.waiting
    rig.lab.ended("lint", due.command.outcome)
    assert not await rig.follow()
    line.clock.advance(60)
    await line.postponed.look()
    assert line.postponed.waiting == 1, "the next stage waits for itself"
    full = False
    await line.postponed.look()
    (sent,) = [work for _, work in rig.bus.work if isinstance(work, StageWork)]
    assert sent.stage == "formal" and not line.postponed.waiting
