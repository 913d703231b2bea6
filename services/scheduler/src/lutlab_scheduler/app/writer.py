"""The one writer: takes commands in batches, decides them one after another, stores a batch in one transaction.

While a batch is being stored, the next one gathers, so the batches grow with the load (group commit). Whoever brought a
command learns what became of it from its `Ticket`, and only after the commit.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from lutlab_events.commands import Command, ReportSessionUsed
from lutlab_events.envelope import Answer, CommandEnvelope
from lutlab_events.ids import job_stream
from lutlab_events.rejections import Rejection
from lutlab_events.verification import VerificationCommand, project_stream, verification_stream
from lutlab_scheduler.app.checkpoints import restored
from lutlab_scheduler.app.handlers import HANDLERS
from lutlab_scheduler.app.ports import (
    AlreadyRecorded,
    Batch,
    Checkpoint,
    Clock,
    DecidedCommand,
    EventStore,
    Head,
    RecordedCommand,
    Unstorable,
)
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.storage import Storage, brings, payer
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.outcome import Rejected, Rules

log = structlog.get_logger(__name__)
T = TypeVar("T")

BATCH_MAX = 256
QUEUE_MAX = 1024
GATHER_TURNS = 3
"""Turns of the event loop between an answer and the next command of who got it: wake up, ask, be queued."""
RECENT_MAX = 8192
"""How many answers are remembered, so that a command that comes again soon is answered from memory."""
SUBJECTS = ("job_id", "project_id", "fpga_id", "agent_id", "epoch", "attempt", "stage")
"""What a command is about, for its line in the log of the process."""
STREAMS_AT_ONCE = 4096
"""How many streams a recovery asks for at a time."""
ABOUT_A_JOB = frozenset(
    {Rejection.JOB_EXISTS, Rejection.JOB_NOT_FOUND, Rejection.JOB_NOT_CANCELLABLE, Rejection.NOT_YOUR_JOB}
)
"""Refusals whose answer names the job."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The lab as the log describes it: two equal worlds, and the end of the log they were folded up to."""

    world: World
    draft: World
    head: Head


async def recover(store: EventStore, checkpoints: Sequence[Checkpoint] = ()) -> Recovered:
    """Fold everything that is alive out of the log, as far as checkpoints do not say it. Raises: StoreUnavailable."""
    head = await store.head()
    streams = await store.live_streams()
    world, draft = World(), World()
    alive = set(streams)
    for checkpoint in checkpoints:
        board = restored(checkpoint) if checkpoint.stream in alive else None
        if board is not None:
            world.adopt(checkpoint.stream, board)
    for first in range(0, len(streams), STREAMS_AT_ONCE):
        part = streams[first : first + STREAMS_AT_ONCE]
        await store.replay(world.replay, part, {s: world.version(s) for s in part if world.knows(s)})
    for stream in streams:
        state = world.state(stream)
        assert state is not None, f"{stream} is alive in a view but has no event"
        draft.adopt(stream, state)
    return Recovered(world, draft, head)


class Undecidable(Exception):
    """A command made the scheduler fail; it is set aside as a dead letter."""

    code = "undecidable"


@dataclass(slots=True, eq=False)
class Ticket:
    """A command on its way through the writer; `done` gets the answer, or Undecidable."""

    envelope: CommandEnvelope
    done: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """Decides and stores.

    It keeps two worlds: the committed one, which everybody else reads, and a draft, which is ahead of it by the batch
    that is being decided and stored.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        recovered: Recovered,
        tail: Tail,
        rules: Rules,
        clock: Clock,
        storage: Storage | None = None,
    ) -> None:
        """
        Args:
            storage: what owners have stored, where others look at it, too; changed by this writer alone.
        """
        self._store = store
        self._world = recovered.world
        self._draft = recovered.draft
        self._head = recovered.head
        self._tail = tail
        self._rules = rules
        self._clock = clock
        self._queue: asyncio.Queue[Ticket] = asyncio.Queue(QUEUE_MAX)
        self._recent: OrderedDict[UUID, RecordedCommand] = OrderedDict()
        self._storage = storage or Storage()

    @property
    def world(self) -> World:
        """The lab as of the last commit; not to be changed by anyone else."""
        return self._world

    async def submit(self, envelope: CommandEnvelope) -> Ticket:
        """Queue a command; waits while the queue is full."""
        ticket = Ticket(envelope)
        await self._queue.put(ticket)
        return ticket

    async def run(self) -> None:
        """Work until cancelled. Raises: StoreUnavailable, AppendConflict: this writer is over."""
        batch: list[Ticket] = []
        try:
            while True:
                batch = await self._gather()
                await self._carry_out(batch)
        finally:
            self._abandon(batch)

    async def _gather(self) -> list[Ticket]:
        """Everything that waits, at least one command."""
        batch = [await self._queue.get()]
        for _ in range(GATHER_TURNS):
            # Whoever was answered by the batch before, and asks the next thing at once, is in this batch.
            await asyncio.sleep(0)
        while len(batch) < BATCH_MAX and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    def _abandon(self, batch: Iterable[Ticket]) -> None:
        """Nobody will decide these any more."""
        waiting = list(batch)
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait())
        for ticket in waiting:
            ticket.done.cancel()

    async def _carry_out(self, tickets: list[Ticket]) -> None:
        """Decide and store a batch; if a value in it cannot be stored, one command at a time.

        That a command was decided before is rare, and the unique key of commands notices: so the ledger is asked about
        it only when the batch was refused. That saves every other batch a question.
        """
        started = self._clock.now()
        await self._load(tickets)
        known = await self._known(tickets)
        try:
            batch = await self._attempt(tickets, known)
        except (AlreadyRecorded, Unstorable) as error:
            self._draft.undo()
            self._storage.undo()
            found = await self._store.recorded({t.envelope.command_id for t in tickets} - known.keys())
            if found:
                batch = await self._attempt(tickets, known | found)
            elif isinstance(error, Unstorable):
                await self._one_by_one(tickets, error)
                return
            else:
                raise
        if batch.commands:
            took_ms = (self._clock.now() - started).total_seconds() * 1000
            log.debug("batch_committed", commands=len(batch.commands), events=len(batch.events), took_ms=took_ms)

    async def _attempt(self, tickets: list[Ticket], known: dict[UUID, RecordedCommand]) -> Batch:
        """Decide and store a batch, and tell whoever waits. Raises: what the store's `append` raises."""
        batch = Batch()
        answers = self._decide(tickets, known, batch)
        if batch.commands:
            self._head = await self._store.append(batch, self._head)
        self._commit({event.stream for event in batch.events})
        self._tail.extend(batch.events)
        for command in batch.commands:
            self._recent[command.envelope.command_id] = RecordedCommand(command.envelope.fingerprint, command.answer)
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
        for ticket, answer in answers:
            self._resolve(ticket, answer)
        return batch

    async def _known(self, tickets: list[Ticket]) -> dict[UUID, RecordedCommand]:
        """Which of these commands were decided before, as far as that shows now."""
        idents = {ticket.envelope.command_id: ticket.envelope.body for ticket in tickets}
        known = {ident: self._recent[ident] for ident in idents if ident in self._recent}
        # These may leave no trace when they are decided again, so nothing would notice.
        traceless = {i for i, body in idents.items() if isinstance(body, ReportSessionUsed) and i not in known}
        return known | (await self._store.recorded(traceless) if traceless else {})

    def _commit(self, streams: Iterable[str]) -> None:
        """What the draft says of these streams is the truth now."""
        for stream in streams:
            state = self._draft.state(stream)
            assert state is not None
            self._world.adopt(stream, state)
        self._draft.settle()
        self._world.settle()
        self._storage.settle()

    async def _one_by_one(self, tickets: list[Ticket], error: Unstorable) -> None:
        if len(tickets) == 1:
            self._resolve(tickets[0], Undecidable(f"the database refuses it: {error}"))
            return
        for ticket in tickets:
            await self._carry_out([ticket])

    def _resolve(self, ticket: Ticket, answer: Answer | Undecidable) -> None:
        if ticket.done.done():
            return
        command = ticket.envelope
        facts = {name: str(value) for name in SUBJECTS if (value := getattr(command.body, name, None)) is not None}
        facts |= {"command": type(command.body).__name__, "command_id": str(command.command_id), "actor": command.actor}
        if isinstance(answer, Answer):
            why = {} if answer.accepted else {"message": answer.message}
            log.info("command_decided", code=answer.code, position=answer.position, **facts, **why)
            ticket.done.set_result(answer)
        else:
            log.error("command_undecidable", reason=str(answer), **facts)
            ticket.done.set_exception(answer)
            # Whoever waits sees the exception; nobody has to.
            ticket.done.exception()

    async def _load(self, tickets: list[Ticket]) -> None:
        """Bring what commands name, and what may have been forgotten, into memory."""
        named = {stream for ticket in tickets for stream in _forgettable(ticket.envelope.body)}
        missing = [stream for stream in named if not self._draft.knows(stream)]
        if missing:
            # What is loaded may push others out; it must not be those that this very batch names.
            self._draft.keep(named)
            events = await self._store.load(missing)
            self._draft.replay(events)
            self._commit({event.stream for event in events})
        await self._load_storage([ticket.envelope.body for ticket in tickets])

    async def _load_storage(self, bodies: list[Command]) -> None:
        """Bring what owners have stored into memory, for the commands that bring more along.

        A project or job that a command of this very batch makes is not known yet; whom it is made for is.
        """
        brought = [(owner, brings(body)) for body in bodies if (owner := payer(body, self._draft)) is not None]
        missing = self._storage.missing(owner for owner, _ in brought)
        if missing:
            held = await _of_each(self._store.held_by, missing)
            self._storage.take_in(held)
        unsaid = {digest for _, blobs in brought for digest, size in blobs.items() if size is None}
        self._storage.learn(await _of_each(self._store.sizes, unsaid) if unsaid else {})

    def _decide(
        self, tickets: list[Ticket], recorded: dict[UUID, RecordedCommand], batch: Batch
    ) -> list[tuple[Ticket, Answer | Undecidable]]:
        """Decide every command of a batch, in order, each in the world the one before left."""
        known = dict(recorded)
        answers: list[tuple[Ticket, Answer | Undecidable]] = []
        touched: dict[str, None] = {}
        for ticket in tickets:
            command = ticket.envelope
            if command.command_id in known:
                answers.append((ticket, _repeated(command, known[command.command_id])))
                continue
            answer = self._decide_one(command, batch, touched)
            answers.append((ticket, answer))
            if isinstance(answer, Answer):
                known[command.command_id] = RecordedCommand(command.fingerprint, answer)
        for stream in touched:
            state = self._draft.state(stream)
            assert state is not None
            batch.rows.append(project(state))
        return answers

    def _decide_one(self, command: CommandEnvelope, batch: Batch, touched: dict[str, None]) -> Answer | Undecidable:
        mark, kept = self._draft.mark(), self._storage.mark()
        now = self._clock.now()
        tx = Transaction(
            world=self._draft,
            command=command,
            rules=self._rules,
            position=self._head.position + len(batch.events),
            now=now,
            storage=self._storage,
        )
        try:
            outcome = HANDLERS[type(command.body)](command.body, tx)
        except Exception as error:
            log.exception("handler_failed", command=type(command.body).__name__, command_id=str(command.command_id))
            self._draft.undo(mark)
            self._storage.undo(kept)
            return Undecidable(f"{type(error).__name__}: {error}")
        if isinstance(outcome, Rejected):
            self._draft.undo(mark)
            self._storage.undo(kept)
            data = {"job_id": str(getattr(command.body, "job_id", ""))} if outcome.code in ABOUT_A_JOB else {}
            answer = Answer(command_id=command.command_id, code=outcome.code.value, message=outcome.message, data=data)
        else:
            position = tx.events[0].position if tx.events else None
            answer = Answer(command_id=command.command_id, code="ok", data=outcome, position=position)
            batch.events += tx.events
            touched.update(dict.fromkeys(event.stream for event in tx.events))
        if not (answer.code == Rejection.NOTHING_TO_DO and isinstance(command.body, ReportSessionUsed)):
            # A use that renews nothing can be decided again, and agents report one every few seconds: to remember them
            # all would only fill the table.
            batch.commands.append(DecidedCommand(envelope=command, answer=answer, received_at=now))
        return answer


async def _of_each(ask: Callable[[Iterable[str]], Awaitable[dict[str, T]]], names: Collection[str]) -> dict[str, T]:
    """What the ledger says of these names, but for those it cannot even hold: their commands are refused by it, too."""
    try:
        return await ask(names)
    except Unstorable:
        if len(names) == 1:
            return {}
    found: dict[str, T] = {}
    for name in names:
        found |= await _of_each(ask, [name])
    return found


def _forgettable(body: Command) -> Iterable[str]:
    """The streams a command is about that are forgotten some time after their end."""
    job_id, project_id = getattr(body, "job_id", None), getattr(body, "project_id", None)
    if job_id is not None:
        yield verification_stream(job_id) if isinstance(body, VerificationCommand) else job_stream(job_id)
    if project_id is not None and isinstance(body, VerificationCommand):
        yield project_stream(project_id)


def _repeated(command: CommandEnvelope, recorded: RecordedCommand) -> Answer:
    """The answer to a command id that was seen before: the same again, unless something else was asked."""
    if command.fingerprint == recorded.fingerprint:
        return recorded.answer
    message = f"command {command.command_id} was seen before with another request; use a new idempotency key"
    return Answer(command_id=command.command_id, code=Rejection.IDEMPOTENCY_MISMATCH.value, message=message)
