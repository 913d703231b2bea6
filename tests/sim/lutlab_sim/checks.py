"""What must hold when a run is over."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from lutlab_events import events as e
from lutlab_events import verification as v
from lutlab_ledger.chain import GENESIS, chain_hash
from lutlab_scheduler.adapters.postgres import log_row
from lutlab_scheduler.app.projections import KEYS, project
from lutlab_scheduler.app.world import World as Lab

OPEN = {"queued", "running"}
UNSETTLED = {"programming", "resetting", "restoring", "queued", "building", "reserved"}


def after(world: Any) -> None:
    """Every check, the cheapest first; each calls `world.fail`."""
    for problem in (
        *_log(world),
        *_answers(world),
        *_sessions(world),
        *_views(world),
        *_published(world),
        *_kept(world),
        *unfinished(world),
    ):
        world.fail(problem)


def unfinished(world: Any) -> list[str]:
    """Jobs that did not end, boards in between, questions without an answer."""
    views = world.database.views
    jobs = [*views["jobs"].items(), *views["verifications"].items()]
    problems = [f"job {k} is still {r['status']}" for k, r in jobs if r["status"] in OPEN]
    problems += [f"fpga {k} is still {r['state']}" for k, r in views["boards"].items() if r["state"] in UNSETTLED]
    problems += [f"{key} is plugged in, but lost to the ledger" for key in _unseen(world)]
    if world.api.waiting or not world.load_over.is_set():
        problems.append(f"{world.api.waiting} commands are still unanswered")
    return problems


def _unseen(world: Any) -> list[str]:
    """Boards that are there, and that the ledger has for lost."""
    lost = {row["board_key"] for row in world.database.views["boards"].values() if row["state"] == "lost"}
    return [key for host in world.agents for key, board in host.boards.boards.items() if board.present and key in lost]


def _log(world: Any) -> list[str]:
    """Positions and versions without gaps, ids once, causes recorded, hashes right."""
    database, problems = world.database, []
    versions: dict[str, int] = {}
    previous = GENESIS
    for position, (event, stored) in enumerate(zip(database.events, database.hashes, strict=True), 1):
        versions[event.stream] = versions.get(event.stream, 0) + 1
        previous = chain_hash(previous, log_row(event))
        if event.position != position or event.version != versions[event.stream]:
            problems.append(f"at {position}: position {event.position}, {event.stream} version {event.version}")
        if event.causation_id not in database.commands:
            problems.append(f"event {position} was caused by {event.causation_id}, which is not recorded")
        if stored != previous:
            problems.append(f"the hash of event {position} is wrong")
    doubled = [i for i, n in Counter(event.event_id for event in database.events).items() if n > 1]
    return problems + [f"event {i} is in the log more than once" for i in doubled]


def _answers(world: Any) -> list[str]:
    """Each answered command is recorded with that answer, and what it did is in the log."""
    database, problems = world.database, []
    causes = {event.causation_id for event in database.events}
    for asked in world.api.asked:
        recorded = database.commands.get(asked.command_id)
        for answer in asked.answers:
            if recorded is None:
                problems.append(f"lost: {asked.command_id} was answered {answer.code} and is not recorded")
            elif recorded.answer != answer:
                problems.append(f"{asked.command_id} was answered {answer}, but recorded is {recorded.answer}")
            elif answer.position is not None and asked.command_id not in causes:
                problems.append(f"lost: {asked.command_id} was accepted, and nothing of it is in the log")
    return problems


def _sessions(world: Any) -> list[str]:
    """At most one session per board at any position, epochs that grow, and no renewal after the end."""
    problems: list[str] = []
    holder: dict[str, Any] = {}
    epochs: dict[str, int] = {}
    for event in world.database.events:
        body, board = event.body, event.stream
        if isinstance(body, e.ProgrammingStarted | e.ResetStarted | e.RestoreStarted):
            if body.epoch <= epochs.get(board, 0):
                problems.append(f"{board} goes from epoch {epochs[board]} to {body.epoch} at {event.position}")
            epochs[board] = body.epoch
        if isinstance(body, e.BoardProgrammed):
            if holder.get(board) is not None:
                problems.append(f"{board} has two sessions at position {event.position}")
            if body.epoch != epochs.get(board):
                problems.append(f"{board}: the load of epoch {body.epoch} is taken for that of {epochs.get(board)}")
            holder[board] = body.session_id
        elif isinstance(body, e.BoardReset | e.BoardRestored) and body.epoch != epochs.get(board):
            problems.append(f"{board}: the load of epoch {body.epoch} is taken for that of {epochs.get(board)}")
        elif isinstance(body, e.SessionEnded):
            holder[board] = None
        elif isinstance(body, e.SessionRenewed):
            used = getattr(world.database.bodies.get(event.causation_id), "session_id", None)
            if holder.get(board) != body.session_id:
                problems.append(f"{board}: session {body.session_id} is renewed after its end, at {event.position}")
            if used != body.session_id:
                problems.append(f"{board}: session {body.session_id} is renewed by the use of {used}")
    return problems


def _views(world: Any) -> list[str]:
    """Replay equals live: every view, folded again from the log, is what the views say."""
    lab = Lab()
    rebuilt: dict[str, dict[str, Any]] = {table: {} for table in KEYS}
    for event in world.database.events:
        lab.apply(event)
        state = lab.state(event.stream)
        assert state is not None
        row = project(state)
        values = msgspec.to_builtins(row.values)
        rebuilt[row.table][str(values[KEYS[row.table]])] = values
    return [
        f"view {table} row {key}: live {world.database.views[table].get(key)}, replayed {rebuilt[table].get(key)}"
        for table in KEYS
        for key in rebuilt[table].keys() | world.database.views[table].keys()
        if rebuilt[table].get(key) != world.database.views[table].get(key)
    ]


def _published(world: Any) -> list[str]:
    """Every event reached the outside, once."""
    events, position = world.database.events, world.subscriber.position
    problems = []
    if position < len(events):
        problems.append(f"event {position + 1} of {len(events)} was never published")
    for stream in world.server.streams.values():
        if stream.name == "EVENTS":
            copies = Counter((m.headers or {}).get("Nats-Msg-Id") for m in stream.messages.values())
            problems += [f"event {i} is {n} times in EVENTS" for i, n in copies.items() if n > 1]
    return problems


def _kept(world: Any) -> list[str]:
    """Whatever the ledger knows to have been made is in it, wherever it has been since."""
    blobs, problems = world.database.blobs, []
    for event in world.database.events:
        match event.body:
            case e.BuildSucceeded() | e.BaseBuilt():
                made = [event.body.bitstream.digest]
            case v.StageCompleted(outcome=outcome):
                made = [artifact.digest for artifact in outcome.artifacts]
                made += [] if outcome.details_digest is None else [outcome.details_digest]
            case _:
                made = []
        problems += [f"blob {name} of {event.stream} at {event.position} is lost" for name in made if name not in blobs]
    return problems
