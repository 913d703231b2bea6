"""A log of any length, as a busy lab would have written it: jobs from submit to session, boards from load to reset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from lutlab_events import events as e
from lutlab_events.envelope import EventEnvelope
from lutlab_events.ids import derived, event_id
from lutlab_events.values import BitstreamRef, JobType, SessionEnd
from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_scheduler.adapters.postgres import log_row
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import World

PROFILE = "lfe5u-25f"
BOARDS = 20
T0 = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 20_000


def bitstream(name: str) -> BitstreamRef:
    """A bitstream nobody built."""
    digest = derived(name).hex * 2
    return BitstreamRef(
        digest=digest,
        size_bytes=582_000,
        build_key=digest,
        build_id=int(digest[:8], 16),
        profile=PROFILE,
        clk_hz=50_000_000,
        baud=12_500_000,
    )


def _beginning() -> Iterator[tuple[str, e.Event]]:
    yield "profile-" + PROFILE, e.BaseBuilt(profile=PROFILE, bitstream=bitstream("base"))
    keys = tuple(f"bench{i}" for i in range(BOARDS))
    yield "agent-bench", e.AgentRegistered(agent_id="bench", incarnation=UUID(int=1), board_keys=keys)
    for i, key in enumerate(keys):
        yield f"board-{i}", e.BoardRegistered(fpga_id=i, board_key=key, agent_id="bench", profile=PROFILE)


def _job(number: int) -> Iterator[tuple[str, e.Event]]:
    """15 events: one job, from submit to the board's reset after its session."""
    job_id, session_id, fpga_id = derived("job", number), derived("session", number), number % BOARDS
    owner, at, epoch = f"owner{number % 50}", T0 + timedelta(seconds=number), 2 * (number // BOARDS) + 1
    job, board, bits = f"job-{job_id}", f"board-{fpga_id}", bitstream(f"bits{number}")
    yield (
        job,
        e.JobSubmitted(
            job_id=job_id,
            job_type=JobType.BUILD_AND_PROGRAM,
            owner=owner,
            source_digest=derived("source", number).hex * 2,
            filename="design.v",
            profile=PROFILE,
        ),
    )
    yield job, e.BuildStarted(attempt=1, builder_id="builder-1", deadline_at=at + timedelta(minutes=30))
    for stage in ("elaborate", "synthesize", "place-and-route", "pack"):
        yield job, e.BuildStageEntered(attempt=1, stage=stage)
    yield job, e.BuildSucceeded(attempt=1, bitstream=bits, report={"ok": True, "fmax_mhz": 91.4}, cached=False)
    loading = e.ProgrammingStarted(
        job_id=job_id,
        owner=owner,
        job_created_at=at,
        session_id=session_id,
        epoch=epoch,
        bitstream=bits,
        deadline_at=at + timedelta(seconds=90),
    )
    yield board, loading
    yield job, e.JobBoardAssigned(fpga_id=fpga_id, epoch=epoch)
    begun = e.BoardProgrammed(
        job_id=job_id,
        owner=owner,
        session_id=session_id,
        epoch=epoch,
        session_created_at=at,
        session_expires_at=at + timedelta(hours=1),
    )
    yield board, begun
    yield job, e.JobCompleted(result={"fpga_id": fpga_id, "session_id": str(session_id)})
    yield board, e.SessionRenewed(session_id=session_id, expires_at=at + timedelta(hours=2))
    yield board, e.SessionEnded(session_id=session_id, owner=owner, reason=SessionEnd.RELEASED)
    reset = e.ResetStarted(epoch=epoch + 1, attempt=1, deadline_at=at, bitstream=bitstream("base"))
    yield board, reset
    yield board, e.BoardReset(epoch=epoch + 1)


def log(count: int) -> Iterator[EventEnvelope]:
    """At least `count` events, whole jobs."""
    versions: dict[str, int] = {}
    position, number = 0, 0
    bodies = _beginning()
    while True:
        cause = derived("cause", number)
        for index, (stream, body) in enumerate(bodies):
            position += 1
            version = versions[stream] = versions.get(stream, 0) + 1
            yield EventEnvelope(
                position=position,
                event_id=event_id(cause, index),
                stream=stream,
                version=version,
                body=body,
                causation_id=cause,
                correlation_id=cause,
                actor="bench",
                site="main",
                at=T0 + timedelta(seconds=number),
            )
            if stream.startswith("job-") and isinstance(body, e.JobCompleted):
                del versions[stream]
        if position >= count:
            return
        bodies = _job(number)
        number += 1


async def write(db: asyncpg.Connection, count: int) -> int:
    """Copy a log with its views into an empty database; how many events it has."""
    world, previous, rows, total = World(), GENESIS, [], 0
    names = [*LogRow.__struct_fields__, "hash"]
    ended: dict[str, None] = {}
    for event in log(count):
        row = log_row(event)
        previous = chain_hash(previous, row)
        rows.append((*(getattr(row, name) for name in LogRow.__struct_fields__), previous))
        world.apply(event)
        world.settle()
        ended[event.stream] = None
        total += 1
        if len(rows) == CHUNK:
            await db.copy_records_to_table("events", records=rows, columns=names)
            rows.clear()
    await db.copy_records_to_table("events", records=rows, columns=names)
    await _write_views(db, world, ended)
    await db.execute("vacuum analyze")
    return total


async def _write_views(db: asyncpg.Connection, world: World, streams: dict[str, None]) -> None:
    """Rows of what the world still knows; its oldest ended jobs it has forgotten."""
    import msgspec  # noqa: PLC0415 - only here

    by_table: dict[str, list[object]] = {}
    for stream in streams:
        state = world.state(stream)
        if state is not None:
            row = project(state)
            by_table.setdefault(row.table, []).append(row.values)
    for table, values in by_table.items():
        document = msgspec.json.encode(values).decode()
        await db.execute(
            f"insert into {table} select * from json_populate_recordset(null::{table}, $1::json)", document
        )
