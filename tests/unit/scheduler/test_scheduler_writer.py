"""The writer on a store in memory: batches, repetitions, refusals, poison, races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import scheduler_given as g
from scheduler_fakes import CountingStore, ManualClock, envelope

from lutlab_events import commands as c
from lutlab_events.envelope import Answer
from lutlab_events.ids import OWN_VERSION, derived
from lutlab_scheduler.adapters.memory import MemoryDatabase, MemoryShelf
from lutlab_scheduler.app import handlers
from lutlab_scheduler.app.checkpoints import keep_checkpoints
from lutlab_scheduler.app.inside import Inside
from lutlab_scheduler.app.ports import NOTHING, AppendConflict, Batch, Head, StoreUnavailable
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.writer import Ticket, Undecidable, Writer, recover
from lutlab_scheduler.domain.policies import Due


class Bench:
    def __init__(self, database: MemoryDatabase, store: CountingStore, writer: Writer, tail: Tail) -> None:
        self.database, self.store, self.writer, self.tail = database, store, writer, tail

    async def submit(self, body: c.Command, name: str, fingerprint: str = "") -> Ticket:
        return await self.writer.submit(envelope(body, name, fingerprint))

    async def ask(self, body: c.Command, name: str, fingerprint: str = "") -> Answer:
        return await (await self.submit(body, name, fingerprint)).done


@asynccontextmanager
async def bench(database: MemoryDatabase | None = None) -> AsyncIterator[Bench]:
    database = database or MemoryDatabase()
    store = CountingStore(database)
    recovered = await recover(store)
    tail = Tail(store, recovered.head.position)
    writer = Writer(store=store, recovered=recovered, tail=tail, rules=g.RULES, clock=ManualClock())
    task = asyncio.create_task(writer.run())
    try:
        yield Bench(database, store, writer, tail)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, StoreUnavailable, AppendConflict):
            await task


def build(job_id: UUID, **more: Any) -> c.SubmitBuild:
    return c.SubmitBuild(job_id=job_id, owner="ada", source_digest="5" * 64, filename="design.v", **more)


REGISTER = c.RegisterAgent(agent_id=g.AGENT, incarnation=derived("first"), boards=(g.report(),))


async def test_a_command_is_carried_out_once_and_answered_the_same_for_ever() -> None:
    async with bench() as b:
        first = await b.ask(build(g.JOB), "submit", "f")
        assert (first.code, first.position) == ("ok", 1)
        assert first.data == {"job_id": str(g.JOB), "fpga_id": None, "status": "queued"}
        again = await b.ask(build(g.JOB), "submit", "f")
        assert again == first
        other = await b.ask(build(g.OTHER_JOB), "submit", "another request")
        assert other.code == "idempotency_mismatch"
        assert len(b.database.events) == 1
    async with bench(b.database) as after_a_restart:
        assert await after_a_restart.ask(build(g.JOB), "submit", "f") == first


async def test_what_memory_has_forgotten_is_answered_from_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.writer.RECENT_MAX", 1)
    async with bench() as b:
        first = await b.ask(build(g.JOB), "one", "f")
        await b.ask(build(g.OTHER_JOB), "two")
        tickets = [
            await b.submit(build(derived("third")), "three"),
            await b.submit(build(g.JOB), "one", "f"),
            await b.submit(build(g.JOB), "one", "another request"),
        ]
        third, again, other = [await ticket.done for ticket in tickets]
        assert (third.code, third.position) == ("ok", 3)
        assert again == first and other.code == "idempotency_mismatch"
        assert [event.position for event in b.database.events] == [1, 2, 3]


async def test_a_refusal_is_recorded_and_stays() -> None:
    async with bench() as b:
        refused = await b.ask(build(g.JOB, fpga_id=0), "submit")
        assert refused.code == "fpga_not_found" and refused.position is None
        await b.ask(REGISTER, "register")
        assert await b.ask(build(g.JOB, fpga_id=0), "submit") == refused
        assert (await b.ask(build(g.JOB, fpga_id=0), "submit again")).code == "ok"


async def test_what_gathers_during_a_commit_is_one_batch_and_a_repetition_in_it_is_answered() -> None:
    async with bench() as b:
        b.store.gate.clear()
        tickets = [await b.submit(build(g.JOB), "zero")]
        await b.store.appending.wait()
        names = ["one", "two", "one", "three"]
        tickets += [await b.submit(build(derived(name)), name) for name in names]
        b.store.gate.set()
        answers = await asyncio.gather(*(ticket.done for ticket in tickets))
        assert [len(batch.commands) for batch in b.store.batches] == [1, 3]
        assert [answer.code for answer in answers] == ["ok", "ok", "ok", "ok", "queue_full"]
        assert answers[1] == answers[3]


async def test_later_commands_of_a_batch_see_the_earlier_ones() -> None:
    async with bench() as b:
        b.store.gate.clear()
        tickets = [
            await b.submit(REGISTER, "register"),
            await b.submit(build(g.JOB, fpga_id=0), "first"),
            await b.submit(build(g.OTHER_JOB, fpga_id=0), "second"),
        ]
        b.store.gate.set()
        assert [(await ticket.done).code for ticket in tickets] == ["ok", "ok", "fpga_not_idle"]


async def test_a_refused_decision_leaves_no_trace_even_if_one_aggregate_had_agreed() -> None:
    async with bench() as b:
        await b.ask(REGISTER, "register")
        await b.ask(build(g.JOB, fpga_id=0), "first")
        # The job is accepted before the board refuses.
        assert (await b.ask(build(g.OTHER_JOB, fpga_id=0), "second")).code == "fpga_not_idle"
        assert b.writer.world.job(g.OTHER_JOB) is None
        assert (await b.ask(build(g.OTHER_JOB), "third")).code == "ok"


async def test_readers_see_only_what_is_committed() -> None:
    async with bench() as b:
        b.store.gate.clear()
        ticket = await b.submit(build(g.JOB), "submit")
        await b.store.appending.wait()
        assert b.writer.world.job(g.JOB) is None and b.tail.position == 0
        b.store.gate.set()
        await ticket.done
        assert b.writer.world.job(g.JOB) is not None and b.tail.position == 1


async def test_a_value_that_cannot_be_stored_hurts_only_its_own_command() -> None:
    async with bench() as b:
        b.store.poison = {derived("poison")}
        b.store.gate.clear()
        await b.submit(REGISTER, "register")
        await b.store.appending.wait()
        good = await b.submit(build(derived("good")), "good")
        bad = await b.submit(build(derived("bad")), "poison")
        late = await b.submit(build(derived("late")), "late")
        b.store.gate.set()
        assert (await good.done).accepted and (await late.done).accepted
        with pytest.raises(Undecidable, match="nul character"):
            await bad.done
        assert b.writer.world.job(derived("bad")) is None
        assert [event.position for event in b.database.events] == list(range(1, len(b.database.events) + 1))


async def test_a_handler_that_fails_hurts_only_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(command: Any, tx: Any) -> Any:
        tx.append(f"job-{g.JOB}", [g.submitted()])
        raise RuntimeError("a defect")

    async with bench() as b:
        monkeypatch.setitem(handlers.HANDLERS, c.RevokeKey, broken)
        with pytest.raises(Undecidable, match="a defect"):
            await b.ask(c.RevokeKey(key_id=g.JOB), "broken")
        assert (await b.ask(build(g.JOB), "submit")).accepted


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), AppendConflict("another leader")])
async def test_a_writer_that_cannot_write_is_over_and_lets_go_of_what_it_had(error: Exception) -> None:
    async with bench() as b:
        b.store.broken = error
        ticket = await b.submit(build(g.JOB), "submit")
        with pytest.raises(asyncio.CancelledError):
            await ticket.done


async def test_a_second_writer_makes_the_first_fail_cleanly() -> None:
    async with bench() as one, bench(one.database) as two:
        assert (await one.ask(build(g.JOB), "first")).accepted
        ticket = await two.submit(build(g.OTHER_JOB), "second")
        with pytest.raises(asyncio.CancelledError):
            await ticket.done
        assert len(one.database.events) == 1


async def test_ended_jobs_are_found_again_after_a_restart() -> None:
    async with bench() as b:
        await b.ask(build(g.JOB), "submit")
        await b.ask(c.CancelJob(job_id=g.JOB, owner="ada"), "cancel")
    async with bench(b.database) as again:
        assert again.writer.world.job(g.JOB) is None
        refused = await again.ask(c.CancelJob(job_id=g.JOB, owner="ada"), "cancel again")
        assert refused.code == "job_not_cancellable" and refused.data == {"job_id": str(g.JOB)}
        assert (await again.ask(build(g.JOB), "submit again")).code == "job_exists"


async def test_what_one_command_of_a_batch_needs_is_not_forgotten_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.world.ENDED_MAX", 2)
    jobs = [derived("ended", number) for number in range(3)]
    async with bench() as b:
        for number, job_id in enumerate(jobs):
            await b.ask(build(job_id), f"submit {number}")
            await b.ask(c.CancelJob(job_id=job_id, owner="ada"), f"cancel {number}")
        # The first is forgotten, the second is the next to go: when the first is loaded again.
        tickets = [await b.submit(c.CancelJob(job_id=jobs[n], owner="ada"), f"cancel {n} again") for n in (1, 0)]
        assert [(await ticket.done).code for ticket in tickets] == ["job_not_cancellable"] * 2


async def test_labels_that_only_a_forgotten_board_had_are_nowhere() -> None:
    async with bench() as b:
        boards = (g.report(labels=("fast",)), g.report(board_key="b4"))
        await b.ask(c.RegisterAgent(agent_id=g.AGENT, incarnation=derived("first"), boards=boards), "register")
        await b.ask(c.ReportBoardLost(fpga_id=0, agent_id=g.AGENT, message="unplugged"), "lost")
        # It may come back any moment.
        assert (await b.ask(build(g.JOB, labels=("fast",)), "while it is lost")).code == "ok"
        await b.ask(c.ForgetBoard(fpga_id=0, owner="root"), "forget")
        refused = await b.ask(build(g.OTHER_JOB, labels=("fast",)), "after it was forgotten")
        assert refused.code == "no_such_board"


class WatchedStore(CountingStore):
    """Remembers which events a recovery had to fold."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.folded: list[tuple[str, int]] = []

    async def replay(self, take: Any, streams: Any = None, after: Any = NOTHING) -> None:
        def noted(events: Sequence[Any]) -> None:
            self.folded += [(event.stream, event.version) for event in events]
            take(events)

        await super().replay(noted, streams, after)


async def test_a_take_over_goes_on_from_what_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.checkpoints.EVENTS_BETWEEN", 2)
    async with bench() as b:
        shelf = MemoryShelf(b.database)
        await b.ask(REGISTER, "register")
        await b.ask(build(g.JOB, fpga_id=0), "claim")
        keeping = asyncio.create_task(keep_checkpoints(b.writer.world, shelf, []))
        await asyncio.sleep(0)
        keeping.cancel()
        await b.ask(c.CancelJob(job_id=g.JOB, owner="ada"), "cancel")
        board = b.writer.world.board(0)
    store = WatchedStore(b.database)
    whole = await recover(store)
    assert [version for stream, version in store.folded if stream == "board-0"] == [1, 2, 3]
    store.folded.clear()
    (kept,) = await shelf.kept()
    found = await recover(store, [kept])
    assert [version for stream, version in store.folded if stream == "board-0"] == [3]
    for world in (found.world, found.draft):
        assert world.board(0) == whole.world.board(0) == board
    damaged = [replace(kept, state=kept.state[:-1]), replace(kept, version=1), replace(kept, stream="board-7")]
    for unfit in damaged:
        assert (await recover(store, [unfit])).world.board(0) == board


async def test_nobody_else_can_have_had_the_id_of_what_the_scheduler_asks_of_itself() -> None:
    async with bench() as b:
        await b.ask(REGISTER, "register")
        lose = c.LoseAgent(agent_id=g.AGENT, incarnation=derived("first"))
        foreseen = Due(derived("lose-agent", g.AGENT, 1), lose)
        early = msgspec.structs.replace(envelope(build(g.JOB), "early"), command_id=foreseen.command_id)
        assert (await (await b.writer.submit(early)).done).accepted
        inside = Inside(b.writer, site="main", clock=ManualClock())
        answers = [await inside.carry_out(foreseen) for _ in range(2)]
        assert answers[0] is not None and answers[0].accepted and answers[1] == answers[0]
        assert answers[0].command_id.version == OWN_VERSION
        board = b.writer.world.board(0)
        assert board is not None and board.state.value == "lost"


async def test_the_tail_reads_from_memory_or_from_the_log_alike() -> None:
    async with bench() as b:
        await b.ask(REGISTER, "register")
        await b.ask(build(g.JOB), "submit")
    async with bench(b.database) as again:
        await again.ask(build(g.OTHER_JOB), "another")

        async def all_after(position: int, limit: int = 256) -> list[int]:
            events: Sequence[Any] = await again.tail.read(position, limit)
            return [event.position for event in events]

        end = again.tail.position
        assert end == 4
        assert await all_after(end) == []
        assert await all_after(end - 1) == [end]  # from memory
        assert await all_after(0) == [1, 2, 3, 4]  # from the log
        assert await all_after(1, 2) == [2, 3]


async def test_registration_numbers_boards_and_says_what_is_known_of_them() -> None:
    async with bench() as b:
        boards = (g.report(board_key="x"), g.report(board_key="y", epoch=5))
        answer = await b.ask(c.RegisterAgent(agent_id=g.AGENT, incarnation=derived("first"), boards=boards), "register")
        expected = {"state": "idle", "session_id": None, "session_expires_at": None}
        assert answer.data == {
            "boards": {"x": {"fpga_id": 0, "epoch": 0} | expected, "y": {"fpga_id": 1, "epoch": 5} | expected}
        }
        again = await b.ask(
            c.RegisterAgent(agent_id=g.AGENT, incarnation=derived("second"), boards=boards[1:]), "again"
        )
        assert list(again.data["boards"]) == ["y"]
        board = b.writer.world.board(0)
        assert board is not None and board.state.value == "lost"


def test_the_rules_are_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from lutlab_scheduler.settings import Settings  # noqa: PLC0415 - reads the environment

    monkeypatch.setenv("LUTLAB_SESSION_TTL_S", "2.5")
    monkeypatch.setenv("LUTLAB_QUEUE_JOBS_MAX", "7")
    rules = Settings().rules()
    assert (rules.session_ttl, rules.queue_jobs_max) == (timedelta(seconds=2.5), 7)
    assert (rules.program_deadline, rules.build_deadline) == (timedelta(seconds=90), timedelta(seconds=3600))


class SlowStore(CountingStore):
    """Its batches are in the log some time before the writer hears of it."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.answered = asyncio.Event()
        self.stored = asyncio.Event()

    async def append(self, batch: Batch, head: Head) -> Head:
        found = await super().append(batch, head)
        self.stored.set()
        await self.answered.wait()
        return found


async def test_readers_see_nothing_that_the_world_does_not_know_yet() -> None:
    store = SlowStore(MemoryDatabase())
    recovered = await recover(store)
    tail = Tail(store, recovered.head.position)
    store.answered.set()
    writer = Writer(store=store, recovered=recovered, tail=tail, rules=g.RULES, clock=ManualClock())
    task = asyncio.create_task(writer.run())
    await (await writer.submit(envelope(REGISTER, "register"))).done
    seen = tail.position
    behind = Tail(store, seen)  # as after a take-over: nothing in memory, readers behind
    store.answered.clear()
    store.stored.clear()
    ticket = await writer.submit(envelope(build(derived("job")), "build"))
    await store.stored.wait()
    assert len(await store.read(seen, 10)) == 1
    assert [event.position for event in await behind.read(0, 10)] == list(range(1, seen + 1))
    assert writer.world.job(derived("job")) is None
    store.answered.set()
    await ticket.done
    assert tail.position == seen + 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
