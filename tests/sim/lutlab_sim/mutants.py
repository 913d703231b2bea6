"""Planted bugs: each takes one safeguard away from the real code, and some check must notice within a few seeds.

They live here only; nothing of the product knows them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from lutlab_board_agent.app import program_board, serve_bus
from lutlab_board_agent.app.seat import Seat
from lutlab_board_agent.domain.fencing import Verdict, judge
from lutlab_events import commands as c
from lutlab_events.rejections import Rejection
from lutlab_ledger.chain import chain_hash
from lutlab_scheduler.adapters import nats_link
from lutlab_scheduler.adapters.memory import MemoryStore
from lutlab_scheduler.adapters.nats_commands import CommandConsumer
from lutlab_scheduler.adapters.postgres import log_row
from lutlab_scheduler.app import leases, writer
from lutlab_scheduler.app.intake import Intake
from lutlab_scheduler.app.line import Line
from lutlab_scheduler.app.ports import Head
from lutlab_scheduler.app.tail import Tail, wait
from lutlab_scheduler.domain import board_decisions, policies
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_sim import store
from lutlab_sim.world import run

Planted = Iterator[Any]


@contextmanager
def _agent_takes_old_work() -> Iterator[None]:
    """The agent's fences are gone: work under an old epoch is carried out, and takes the board's epoch back."""

    def blind(memory: Any, work: Any) -> Verdict:
        verdict = judge(memory, work)
        return Verdict.UNFINISHED if verdict is Verdict.STALE else verdict

    async def credulous(self: Seat, memory: Any) -> None:
        self.memory = memory
        await self.make_durable()

    with patch.object(program_board, "judge", blind), patch.object(Seat, "remember", credulous):
        yield


def _agent_takes_old_leases() -> Any:
    """Bus traffic passes without a look at its lease."""
    return patch.object(serve_bus, "lease_refusal", lambda memory, lease: None)


def _fence_only_in_memory() -> Any:
    """The agent loads a board before its new epoch is on disk."""

    async def forgetful(self: Seat) -> None:
        return None

    return patch.object(Seat, "make_durable", forgetful)


def _ack_before_decision() -> Any:
    """JetStream forgets a command that nobody decided yet."""
    real = CommandConsumer._carry_out

    async def hasty(self: Any, message: Any, envelope: Any) -> None:
        await self._ack(message)
        message._ackd = False
        await real(self, message, envelope)

    return patch.object(CommandConsumer, "_carry_out", hasty)


def _answer_before_commit() -> Any:
    """The store says "done" and writes a moment later."""
    real = store.SimStore.append

    async def hasty(self: Any, batch: Any, head: Head) -> Head:
        last = head.hash
        for event in batch.events:
            last = chain_hash(last, log_row(event))
        self.late = asyncio.ensure_future(real(self, batch, head))
        return Head(head.position + len(batch.events), last)

    return patch.object(store.SimStore, "append", hasty)


@contextmanager
def _readers_see_undecided() -> Planted:
    """Readers of the log are told of events before they are stored."""
    real_decide, real_extend = writer.Writer._decide, Tail.extend

    def decide(self: Any, tickets: Any, recorded: Any, batch: Any) -> Any:
        answers = real_decide(self, tickets, recorded, batch)
        self._tail.extend(batch.events)
        return answers

    def extend(self: Any, events: Any) -> None:
        if events and events[0].position > self.position:
            real_extend(self, events)

    with patch.object(writer.Writer, "_decide", decide), patch.object(Tail, "extend", extend):
        yield


def _positions_from_a_sequence() -> Any:
    """Positions are drawn before the transaction and are not given back when it fails."""

    async def append(self: Any, batch: Any, head: Head) -> Head:
        database = self._database
        first = getattr(database, "sequence", 0)
        database.sequence = first + len(batch.events)
        batch.events[:] = [msgspec.structs.replace(e, position=first + i + 1) for i, e in enumerate(batch.events)]
        await self._connection.pause()
        with patch.object(MemoryStore, "_check", lambda *_: None):
            stored = await MemoryStore.append(self, batch, head)
        return Head(database.sequence, stored.hash)

    return patch.object(store.SimStore, "append", append)


@contextmanager
def _dedupe_forgotten() -> Planted:
    """A repeated command is decided again, and the table of commands has no primary key."""

    async def recorded(self: Any, command_ids: Any) -> dict[Any, Any]:
        return {}

    real = MemoryStore._check

    def check(self: Any, batch: Any, head: Head) -> None:
        for command in batch.commands:
            self._database.commands.pop(command.envelope.command_id, None)
        real(self, batch, head)

    async def known(self: Any, tickets: Any) -> dict[Any, Any]:
        return {}

    with (
        patch.object(store.SimStore, "recorded", recorded),
        patch.object(MemoryStore, "_check", check),
        patch.object(writer.Writer, "_known", known),
    ):
        yield


def _ledger_takes_old_epochs() -> Any:
    """A report about an earlier load is taken for one about the newest."""

    def blind(board: Any, epoch: int) -> Any:
        if board.loading is None or board.loading.bitstream is None:
            return Rejected(Rejection.STALE_EPOCH, "nothing is being loaded")
        return None

    return patch.object(board_decisions, "_stale", blind)


def _old_use_renews_new_session() -> Any:
    """The use of a session that has ended renews whatever session is there now."""

    def used(command: Any, board: Any, context: Any, base: Any) -> Any:
        if board.session is None:
            return Rejected(Rejection.NO_ACTIVE_SESSION, "nobody is on it")
        return board_decisions._renewal(board, board.session, context)

    return patch.dict(board_decisions.DECIDERS, {c.ReportSessionUsed: used})


def _refusals_leave_traces() -> Any:
    """What a refused command had begun to change stays in the writer's draft."""
    return patch.object(writer.World, "undo", lambda self, mark=0: self._journal.clear())


def _wiped_work_is_not_sent_again() -> Any:
    """A wiped NATS is not noticed."""

    async def never(self: Any) -> bool:
        return False

    return patch.object(nats_link.NatsLink, "_missing", never)


def _position_before_effect() -> Any:
    """Readers remember a position before they have dealt with it."""

    async def follow(name: str, tail: Any, positions: Any, effect: Callable[[Any], Any]) -> None:
        position = await positions.get(name)
        with tail.flag() as flag:
            while True:
                events = await tail.read(position, 256)
                if events:
                    position = events[-1].position
                    await positions.set(name, position)
                    for event in events:
                        await effect(event)
                else:
                    await wait(flag)

    return patch.object(nats_link, "follow_log", follow)


def _board_timers_forgotten() -> Any:
    """Sessions and loads have no end."""
    return patch.object(policies, "_board_timers", lambda board, now: [])


@contextmanager
def _two_leaders() -> Planted:
    """A standby does not wait for the lock, and nothing refuses a second event at a position."""
    blind = property(lambda self: None, lambda self, value: None)
    with (
        patch.object(store.SimDatabase, "leader", blind, create=True),
        patch.object(MemoryStore, "_check", lambda *_: None),
    ):
        yield


def _same_key_any_request() -> Any:
    """A repeated command id is answered without a look at what is asked."""
    return patch.object(writer, "_repeated", lambda command, recorded: recorded.answer)


def _streams_begin_at_one() -> Any:
    """A stream made again after a wipe has the sequences of the one before."""
    real = nats_link.ensure_streams

    async def ensure(js: Any, **more: Any) -> Any:
        return await real(js, **{**more, "first_seq": None})

    return patch.object(nats_link, "ensure_streams", ensure)


def _presence_is_told_once() -> Any:
    """Nobody compares what the ledger thinks of boards with what their agent sees."""
    return patch.object(nats_link, "agrees", lambda *_: True)


def _registration_renews_nothing() -> Any:
    """An agent that registers is lost again unless its heartbeat comes first."""

    def lapsed(self: Any, agents: Any, now: Any) -> Any:
        return [] if self._since is None else policies.lapsed(agents, self._seen, self._since, now, self._lease)

    return patch.object(leases.Leases, "lapsed", lapsed)


def _line_never_moves() -> Any:
    """What a builder has begun still counts as waiting for one."""
    return patch.object(Line, "_begun", lambda *_: None)


def _findings_stay_in_nats() -> Any:
    """A stage's outcome is decided before what it found is in the ledger."""

    async def nothing(self: Any, digest: str) -> None:
        return None

    return patch.object(Intake, "_take_over", nothing)


ALL: dict[str, Callable[[], Any]] = {
    planted.__name__[1:]: planted
    for planted in (
        _agent_takes_old_work,
        _agent_takes_old_leases,
        _fence_only_in_memory,
        _ack_before_decision,
        _answer_before_commit,
        _readers_see_undecided,
        _positions_from_a_sequence,
        _dedupe_forgotten,
        _ledger_takes_old_epochs,
        _old_use_renews_new_session,
        _refusals_leave_traces,
        _wiped_work_is_not_sent_again,
        _position_before_effect,
        _board_timers_forgotten,
        _two_leaders,
        _same_key_any_request,
        _streams_begin_at_one,
        _presence_is_told_once,
        _registration_renews_nothing,
        _line_never_moves,
        _findings_stay_in_nats,
    )
}


def hunt(name: str, first: int, seeds: int, looks: int = 1) -> tuple[int, int, int, str] | None:
    """Plant a bug and run seeds until one notices it, and at least `looks` of them, but no more than `seeds`.

    Returns:
        (seeds run, how many noticed, the first of them, what it said); None if none did.
    """
    noticed: list[tuple[int, str]] = []
    for seed in range(first, first + seeds):
        with ALL[name]():
            failure = run(seed).failure
        if failure:
            noticed.append((seed, failure))
        done = seed - first + 1
        if noticed and done >= looks:
            return done, len(noticed), *noticed[0]
    return (seeds, len(noticed), *noticed[0]) if noticed else None


def check(names: Sequence[str], first: int, seeds: int, looks: int = 1) -> int:
    """Plant each, and say how it was noticed and by how many seeds. 1 if one was not."""
    missed = 0
    for name in names:
        began = time.perf_counter()
        found = hunt(name, first, seeds, looks)
        seconds = time.perf_counter() - began
        if found is None:
            missed += 1
            print(f"MISSED  {name} in {seeds} seeds, {seconds:.1f} s", flush=True)
        else:
            ran, count, seed, failure = found
            how_often = f"{count} of {ran} seeds, the first {seed}," if looks > 1 else f"seed {seed}"
            print(f"caught  {name} by {how_often} in {seconds:.1f} s: {failure[:160]}", flush=True)
    print(f"{len(names) - missed} of {len(names)} planted bugs caught")
    return 1 if missed else 0
