"""Followers of the log: everything once and in order, whether up to date, behind, or somewhere in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from api_fakes import FakeChanges, Lab
from api_hooks import FakeLogSource

from lutlab_api.app import follow
from lutlab_api.app.audit import AuditFilter, AuditRow
from lutlab_api.app.background import kept_running
from lutlab_api.app.cancelling import end
from lutlab_api.app.follow import Followed, Follower, LogPiece
from lutlab_api.app.job_stream import Cursor, JobStreams
from lutlab_api.domain.errors import ApiError, Invalid
from lutlab_api.web import routes_live

NOW = datetime(2026, 3, 4, tzinfo=UTC)
JOB = UUID(int=7)


def event(position: int, kind: str = "board.lost.v1", version: int = 0, **data: Any) -> AuditRow:
    return AuditRow(
        position=position,
        stream="board-1" if kind.startswith("board") else f"job-{JOB}",
        version=version or position,
        type=kind,
        at=NOW,
        actor="test",
        correlation_id=JOB,
        data=data,
        site="main",
        event_id=UUID(int=position),
        causation_id=JOB,
        hash="ab" * 32,
    )


async def collect(follower: Follower, after: int, count: int) -> list[int]:
    got: list[int] = []
    async for batch in follower.follow(AuditFilter(after=after), 5.0):
        got += [entry.event.position for entry in batch.entries]
        if len(got) >= count:
            break
    return got


@pytest.mark.parametrize("window", [8, 4096])
async def test_everybody_sees_everything_once_and_in_order(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "WINDOW_MAX", window)
    monkeypatch.setattr(follow, "BATCH_MAX", 5)
    source, changes = FakeLogSource(), FakeChanges()
    source.events = [Followed(event(p), None) for p in range(1, 31)]
    follower = Follower(source, changes, lambda e: str(e.position).encode())
    running = asyncio.create_task(follower.run())
    afters = (0, 7, 29, 30)
    followers = [asyncio.create_task(collect(follower, after, 80 - after)) for after in afters]
    for position in range(31, 81):
        source.events.append(Followed(event(position), None))
        changes.happened("*")
        await asyncio.sleep(0)
    for after, task in zip(afters, followers, strict=True):
        assert await asyncio.wait_for(task, 5) == list(range(after + 1, 81))
    await end([running])
    assert follower.followers == 0


async def test_many_followers_cost_one_read_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    source, changes = FakeLogSource(), FakeChanges()
    follower = Follower(source, changes, lambda e: b"")
    running = asyncio.create_task(follower.run())
    await changes.watched("*")
    await asyncio.sleep(0.01)
    followers = [asyncio.create_task(collect(follower, 0, 20)) for _ in range(200)]
    await asyncio.sleep(0)
    before = source.reads
    for position in range(1, 21):
        source.events.append(Followed(event(position), None))
        changes.happened("*")
        await asyncio.sleep(0.001)
    for task in followers:
        assert await task == list(range(1, 21))
    assert source.reads - before <= 60
    await end([running])


@pytest.mark.parametrize("window", [8, 4096])
async def test_a_follower_hears_what_it_wants_whether_it_catches_up_or_not(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "WINDOW_MAX", window)
    monkeypatch.setattr(follow, "BATCH_MAX", 5)
    source, changes = FakeLogSource(), FakeChanges()
    kinds = ("board.lost.v1", "job.failed.v1", "board.reset.v1")
    source.events = [Followed(event(p, kinds[p % 3]), "ada" if p % 2 else "bob") for p in range(1, 41)]
    follower = Follower(source, changes, lambda e: b"")
    running = asyncio.create_task(follower.run())
    asked = {
        "type": (AuditFilter(type="board."), [p for p in range(1, 81) if p % 3 != 1]),
        "stream": (AuditFilter(stream=f"job-{JOB}", after=9), [p for p in range(10, 81) if p % 3 == 1]),
        "visible": (AuditFilter(visible_to="ada"), [p for p in range(1, 81) if p % 3 != 1 or p % 2]),
        "nothing yet": (AuditFilter(type="job.failed.v1", after=78), [79]),
    }

    async def heard(wanted: AuditFilter, enough: int) -> list[int]:
        got: list[int] = []
        async for batch in follower.follow(wanted, 5.0):
            got += [entry.event.position for entry in batch.entries]
            if len(got) >= enough:
                break
        return got

    tasks = [asyncio.create_task(heard(wanted, len(right))) for wanted, right in asked.values()]
    for position in range(41, 81):
        source.events.append(Followed(event(position, kinds[position % 3]), "ada" if position % 2 else "bob"))
        changes.happened("*")
        await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [right for _, right in asked.values()]
    await end([running])


async def reads(source: FakeLogSource, more: int) -> None:
    """Wait until the log was read so many times more."""
    enough = source.reads + more
    async with asyncio.timeout(5):
        while source.reads < enough:  # noqa: ASYNC110 - there is no event for tests
            await asyncio.sleep(0.001)


async def test_following_outlives_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.01)
    source = FakeLogSource()
    follower = Follower(source, FakeChanges(), lambda e: b"")
    running = asyncio.create_task(follower.run())
    following = asyncio.create_task(collect(follower, 0, 3))
    await reads(source, 1)
    source.is_down = True
    source.events = [Followed(event(p), None) for p in range(1, 4)]
    await reads(source, 2)
    assert not following.done()
    source.is_down = False
    assert await asyncio.wait_for(following, 5) == [1, 2, 3]
    await end([running])


async def test_a_defect_does_not_end_the_reader_in_silence() -> None:
    source, failures = FakeLogSource(), [ValueError("a row that nobody foresaw"), KeyError("another")]
    plain = source.after

    async def after(wanted: AuditFilter) -> Sequence[Followed]:
        if failures:
            raise failures.pop()
        return await plain(wanted)

    source.after = after  # type: ignore[method-assign]
    follower = Follower(source, FakeChanges(), lambda e: b"")
    running = asyncio.create_task(kept_running("follower", follower.run, 0.0))
    source.events = [Followed(event(1), None)]
    assert await asyncio.wait_for(collect(follower, 0, 1), 5) == [1]
    await end([running])


async def test_there_is_a_limit_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FOLLOWERS_MAX", 1)
    follower = Follower(FakeLogSource(), FakeChanges(), lambda e: b"")
    first = follower.follow(AuditFilter(), 60)
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0.01)
    with pytest.raises(ApiError, match="overloaded"):
        await anext(follower.follow(AuditFilter(), 1))
    follower.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 1)
    with suppress(StopAsyncIteration):
        await anext(first)
    assert follower.followers == 0


async def test_no_owner_takes_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FOLLOWERS_OF_ONE_MAX", 1)
    follower = Follower(FakeLogSource(), FakeChanges(), lambda e: b"")
    adas, bobs = (follower.follow(AuditFilter(), 60, whose) for whose in ("ada", "bob"))
    waiting = [asyncio.ensure_future(anext(each)) for each in (adas, bobs)]
    await asyncio.sleep(0.01)
    with pytest.raises(ApiError, match="overloaded"):
        await anext(follower.follow(AuditFilter(), 1, "ada"))
    assert follower.followers == 2
    follower.close()
    await asyncio.gather(*waiting, return_exceptions=True)


class FakeEvents:
    """Just the events of one job."""

    def __init__(self, events: list[AuditRow]) -> None:
        self.found = events

    async def events(self, wanted: Any) -> list[AuditRow]:
        return self.found


def a_run() -> tuple[FakeLogSource, FakeEvents]:
    source = FakeLogSource()
    source.pieces = [
        LogPiece(attempt=0, seq=0, stage="elaborate", text="one\ntwo\n", at=NOW),
        LogPiece(attempt=0, seq=1, stage="synthesize", text="three\n", at=NOW),
    ]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("job.submitted.v1", {}),
        ("job.build_started.v1", {}),
        ("job.build_stage_entered.v1", {"stage": "elaborate"}),
        ("job.build_stage_entered.v1", {"stage": "synthesize"}),
        ("job.failed.v1", {"code": "synthesis_failed", "message": "no"}),
    ]
    return source, FakeEvents([event(10 + n, kind, n, **data) for n, (kind, data) in enumerate(kinds, 1)])


async def told(source: FakeLogSource, events: Any, after: str | None = None) -> list[dict[str, Any]]:
    changes = FakeChanges()
    streams = JobStreams(source, events, changes, Follower(source, changes, lambda e: b""))
    return [message async for message in streams.follow(JOB, Cursor.parse(after))]


async def test_a_run_as_the_contracts_messages() -> None:
    messages = await told(*a_run())
    kinds = [(m["type"], m.get("stage"), m.get("message") or m.get("status")) for m in messages]
    assert kinds == [
        ("log", "elaborate", "one"),
        ("log", "elaborate", "two"),
        ("log", "synthesize", "three"),
        ("progress", "elaborate", None),
        ("stage_complete", "elaborate", "passed"),
        ("progress", "synthesize", None),
        ("stage_complete", "synthesize", "failed"),
        ("job_complete", None, "no"),
    ]
    assert messages[-1]["status"] == "failed"
    assert messages[-1]["code"] == "synthesis_failed"


async def test_it_goes_on_after_any_line() -> None:
    source, events = a_run()
    whole = await told(source, events)
    for number, message in enumerate(whole[:3], 1):
        assert await told(source, events, message["after"]) == whole[number:]
    assert [m["type"] for m in await told(source, events, whole[-1]["after"])] == ["job_complete"]


@pytest.mark.parametrize("text", ["x", "1.2.3", "1.2.3.4.5", "-1.0.0.0", "9999999999.0.0.0"])
def test_cursors_that_were_not_made_here(text: str) -> None:
    with pytest.raises(Invalid):
        Cursor.parse(text)


async def test_a_stream_ends_with_its_key_and_not_while_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_live, "QUIET_S", 0.02)
    lab = Lab()
    async with lab.client() as ada, asyncio.timeout(10):
        following = asyncio.create_task(ada.get("/api/v1/events/stream"))
        await asyncio.sleep(0.1)
        lab.ledger.is_down = True
        lab.services.authenticator.forget()
        await asyncio.sleep(0.1)
        assert not following.done()
        lab.ledger.is_down = False
        lab.ledger.key_views.clear()
        assert (await following).text.rpartition("event: ")[2].startswith('error\ndata: {"code": "invalid_api_key"')
