"""What must hold when a chaos run is over: nothing lost, nothing doubled, nothing stale, nothing stuck."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import asyncpg
from chaos_load import COUNT, OPEN, WRITE, Told

from lutlab_events import events as e
from lutlab_events.codec import decode_event_body
from lutlab_events.ids import command_id_for_key

BIN = Path(sys.executable).parent
SETTLE_TIMEOUT_S = 120.0
BETWEEN = {"programming", "resetting", "restoring", "queued", "building", "reserved"}


async def settled(db: asyncpg.Pool) -> list[str]:
    """Wait until nothing is under way; what still is, if nothing has changed for `SETTLE_TIMEOUT_S`.

    Nobody helps: built jobs that wait for a board get one after another, and each session lasts until it expires.
    """
    left: list[str] = []
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            jobs = await db.fetch("select job_id, status from jobs where status = any($1::text[])", list(OPEN))
            boards = await db.fetch("select fpga_id, state from boards where state = any($1::text[])", list(BETWEEN))
            now = [f"stuck: job {r[0]} is {r[1]}" for r in jobs] + [f"stuck: fpga {r[0]} is {r[1]}" for r in boards]
            if not now:
                return []
            if len(jobs) < sum(text.startswith("stuck: job") for text in left):
                deadline = time.monotonic() + SETTLE_TIMEOUT_S
            left = now
        await asyncio.sleep(1.0)
    return left


async def check(db: asyncpg.Pool, told: Told, database_url: str) -> list[str]:
    """Everything that is wrong."""
    problems = [*told.problems, *await settled(db)]
    problems += await _lost(db, told)
    problems += await _doubled(db, told)
    problems += await _boards(db, told)
    problems += await _log(db)
    for command in (["audit", "verify"], ["replay", "--verify"]):
        problems += _tool(command, database_url)
    return problems


async def _lost(db: asyncpg.Pool, told: Told) -> list[str]:
    """Every answer is recorded as it was given, and what it spoke of is there."""
    known = {row[0]: row[1] for row in await db.fetch("select command_id, code from commands")}
    problems = [f"lost: command {i} ({a.code})" for i, a in told.direct.items() if known.get(i) != a.code]
    keys = {row[0] for row in await db.fetch("select key_id from api_keys")}
    problems += [f"lost: key {i}" for i in told.rotated if i not in keys]
    problems += [f"lost: key {i} of an HTTP answer" for i in told.labels.values() if UUID(i) not in keys]
    jobs = {str(row[0]) for row in await db.fetch("select job_id from jobs")}
    return problems + [f"lost: job {i}" for i in told.jobs.values() if i not in jobs]


async def _doubled(db: asyncpg.Pool, told: Told) -> list[str]:
    """Each acknowledged command has exactly one effect, in the log and in what it counts."""
    problems = [*await _effects(db, told), *await _keys(db, told), *await _jobs(db, told)]
    rows = await db.fetch(
        "select causation_id, stream, type, count(*) from events group by 1, 2, 3 having count(*) > 1"
    )
    return problems + [f"doubled: command {r[0]} has {r[3]} {r[2]} in {r[1]}" for r in rows]


def _miscounted(what: object, found: int, wanted: int) -> list[str]:
    return [f"{'doubled' if found > wanted else 'lost'}: {what}: {found}, not {wanted}"] * (found != wanted)


async def _effects(db: asyncpg.Pool, told: Told) -> list[str]:
    """One event of each command over NATS that was accepted, none of each that was not."""
    problems: list[str] = []
    effects = {row[0]: row[1] for row in await db.fetch("select causation_id, count(*) from events group by 1")}
    for ident, answer in told.direct.items():
        problems += _miscounted(f"events of command {ident}", effects.get(ident, 0), int(answer.accepted))
    return problems


async def _keys(db: asyncpg.Pool, told: Told) -> list[str]:
    """A key's events count what was done to it, whichever command did it; a label belongs to one request."""
    problems: list[str] = []
    rows = await db.fetch("select stream, type, count(*) from events where stream like 'key-%' group by 1, 2")
    done = {(row[0], row[1]): row[2] for row in rows}
    for key, rotations in told.rotated.items():
        stream = f"key-{key}"
        problems += _miscounted(f"issues of key {key}", done.get((stream, "key.issued.v1"), 0), 1)
        problems += _miscounted(f"rotations of key {key}", done.get((stream, "key.rotated.v1"), 0), rotations)
    problems += [f"doubled: {s} was revoked {n} times" for (s, t), n in done.items() if t == "key.revoked.v1" and n > 1]
    labels = {row[0]: row[1] for row in await db.fetch("select label, count(*) from api_keys group by 1")}
    for label in told.labels:
        problems += _miscounted(f"keys of request {label}", labels.get(label, 0), 1)
    return problems


async def _jobs(db: asyncpg.Pool, told: Told) -> list[str]:
    """Each submit that was accepted made one job, and a job begins and ends once."""
    problems: list[str] = []
    rows = await db.fetch("select causation_id, actor from events where type = 'job.submitted.v1'")
    submitted = Counter(row[0] for row in rows)
    owners = {row[1] for row in rows}
    for key in told.jobs:
        made = sum(submitted[command_id_for_key(owner, key)] for owner in owners)
        problems += _miscounted(f"jobs of submit {key}", made, 1)
    rows = await db.fetch(
        "select stream, count(*) from events where type = any($1::text[]) group by 1 having count(*) > 1",
        ["job.completed.v1", "job.failed.v1", "job.cancelled.v1"],
    )
    return problems + [f"doubled: {r[0]} ended {r[1]} times" for r in rows]


async def _boards(db: asyncpg.Pool, told: Told) -> list[str]:
    """What boards were really told: each recorded write once, each that nobody knows about once at most."""
    rows = await db.fetch(
        "select type, data from events where type = any($1::text[]) order by position",
        ["board.programmed.v1", "board.restore_started.v1", "job.run_recorded.v1"],
    )
    bodies = [decode_event_body(kind, data) for kind, data in rows]
    # A board that lost its power is loaded again, and counts from zero.
    restored = {body.session_id for body in bodies if isinstance(body, e.RestoreStarted)}
    job_of = {body.session_id: str(body.job_id) for body in bodies if isinstance(body, e.BoardProgrammed)}
    runs = [body for body in bodies if isinstance(body, e.RunRecorded)]
    good = {str(run.job_id) for run in runs if run.failure is None}
    problems = [f"lost: run {job_id}" for job_id in told.runs if job_id not in good]
    writes: Counter[UUID] = Counter()
    failed: Counter[UUID] = Counter()
    for run in runs:
        if run.failure is not None:
            failed[run.session_id] += 1
        elif run.op == WRITE:
            writes[run.session_id] += 1
        elif run.address_bytes == COUNT:
            counted, known = run.data[0], writes[run.session_id]
            told.counted += counted
            # One that was answered as unknown may be among the recorded ones, so this is a bound.
            perhaps = failed[run.session_id] + told.unanswered[job_of[run.session_id]]
            if counted > known + perhaps:
                problems.append(f"doubled: {run} counted {counted} of {known} writes and {perhaps} unknown ones")
            elif counted < known and run.session_id not in restored:
                problems.append(f"lost: {run} counted {counted} of {known} writes")
    return problems


async def _log(db: asyncpg.Pool) -> list[str]:
    """Positions and versions without gaps, every event once, one session per board, epochs that grow."""
    problems: list[str] = []
    count, last = await db.fetchrow("select count(*), coalesce(max(position), 0) from events")
    if count != last:
        problems.append(f"the log has {count} events and ends at {last}")
    gaps = await db.fetch("select stream from events group by stream having count(*) <> max(version)")
    problems += [f"{row[0]} has a gap" for row in gaps]
    orphans = await db.fetchval(
        "select count(*) from events e where not exists (select from commands c where c.command_id = e.causation_id)"
    )
    if orphans:
        problems.append(f"{orphans} events were caused by no recorded command")
    holder: dict[str, UUID | None] = {}
    epochs: dict[str, int] = {}
    rows = await db.fetch("select stream, type, data from events where stream like 'board-%' order by position")
    for stream, kind, data in rows:
        body = decode_event_body(kind, data)
        if isinstance(body, e.ProgrammingStarted | e.ResetStarted | e.RestoreStarted):
            if body.epoch <= epochs.get(stream, 0):
                problems.append(f"stale: {stream} goes from epoch {epochs[stream]} to {body.epoch}")
            epochs[stream] = body.epoch
        elif isinstance(body, e.BoardProgrammed):
            if holder.get(stream) or body.epoch != epochs.get(stream):
                problems.append(f"stale: {stream} is given under epoch {body.epoch} while {holder.get(stream)} has it")
            holder[stream] = body.session_id
        elif isinstance(body, e.SessionEnded):
            holder[stream] = None
    return problems


def _tool(command: list[str], database_url: str) -> list[str]:
    """The lab's own verifiers, where this version has them."""
    done = subprocess.run([BIN / "lutlab", *command, "--help"], capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    environment = {**os.environ, "LUTLAB_DATABASE_URL": database_url}
    done = subprocess.run(
        [BIN / "lutlab", *command, "--database-url", database_url],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    print(f"lutlab {' '.join(command)}: {(done.stdout + done.stderr).strip()[-300:]}")
    return [] if done.returncode == 0 else [f"lutlab {' '.join(command)} ended with {done.returncode}"]
