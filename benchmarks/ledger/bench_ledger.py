"""`make bench-ledger`: the ledger beside the `eventsourcing` library, on one Postgres, in one run.

Both write durably (fsync on) and do the same work: one command is one event with a version check, and ours also records
the command and its view. Both replay a log of as many events of about the same size, which is measured and printed (180
bytes of JSON each), from what is stored to the state of every aggregate, in this process: fetch, decode and fold are in
the figure of either. Prints a table with ratios and writes JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import bench_live
import bench_log
import structlog
import uvloop
from bench_peer import Peer

from lutlab_events import commands as c
from lutlab_events.envelope import CommandEnvelope
from lutlab_ledger.migrate import migrate
from lutlab_scheduler.adapters.postgres_leader import Ledger
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.world import World
from lutlab_scheduler.app.writer import Writer, recover
from lutlab_scheduler.settings import Settings
from lutlab_stack.postgres import prepare_postgres, remove_postgres
from lutlab_stack.running import running
from lutlab_transport.clock import SystemClock

OURS = "select avg(octet_length(data::text)) from events"
THEIRS = "select avg(octet_length(state)) from application_events"
GC_THRESHOLDS = (50_000, 20, 100)
"""As the shipped scheduler sets them; they hold for the peer as well."""


@contextmanager
def postgres() -> Iterator[str]:
    """A durable server of its own."""
    base = Path(tempfile.mkdtemp(prefix="lutlab-bench-"))
    base.chmod(0o711)
    try:
        cluster = prepare_postgres(base / "pg", settings={"max_connections": "100"})
        with running(cluster, base / "pg.log"):
            yield cluster.url()
    finally:
        remove_postgres(base / "pg")
        shutil.rmtree(base, ignore_errors=True)


async def database(server: str) -> str:
    """A new, empty database; its URL."""
    name = f"bench_{uuid4().hex[:10]}"
    db = await asyncpg.connect(server)
    await db.execute(f"create database {name}")
    await db.close()
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


async def migrated(server: str) -> str:
    """A new database with our schema."""
    url = await database(server)
    await migrate(url)
    return url


def envelope(number: int, client: int) -> CommandEnvelope:
    """One command that makes one event."""
    ident = uuid4()
    body = c.IssueKey(key_id=ident, key_sha256=ident.hex * 2, owner=f"owner{client}", label=f"label{number}")
    return CommandEnvelope(
        command_id=ident, body=body, actor="bench", site="main", correlation_id=ident, issued_at=SystemClock().now()
    )


async def append(server: str, clients: int, seconds: float) -> float:
    """Commands a second through the real writer; each client waits for its answer before the next command."""
    url = await migrated(server)
    async with Ledger(url).lead() as leadership:
        recovered = await recover(leadership.store)
        writer = Writer(
            store=leadership.store,
            recovered=recovered,
            tail=Tail(leadership.store, 0),
            rules=Settings().rules(),
            clock=SystemClock(),
        )
        running_writer = asyncio.create_task(writer.run())
        end = time.perf_counter() + seconds

        async def client(number: int) -> int:
            count = 0
            while time.perf_counter() < end:
                ticket = await writer.submit(envelope(count, number))
                assert (await ticket.done).accepted
                count += 1
            return count

        began = time.perf_counter()
        total = sum(await asyncio.gather(*(client(number) for number in range(clients))))
        rate = total / (time.perf_counter() - began)
        running_writer.cancel()
        await asyncio.gather(running_writer, return_exceptions=True)
    return rate


async def replay(url: str) -> tuple[float, float]:
    """Decoded and folded events a second: by the clock, and by this process's processor time."""
    async with Ledger(url).lead() as leadership:
        began, cpu, world = time.perf_counter(), time.process_time(), World()
        end = (await leadership.store.head()).position
        await leadership.store.replay(world.replay)
        return end / (time.perf_counter() - began), end / (time.process_time() - cpu)


async def event_bytes(url: str, query: str) -> float:
    """How large a stored event is, on average."""
    db = await asyncpg.connect(url)
    try:
        return float(await db.fetchval(query))
    finally:
        await db.close()


def matching(boards: int, jobs: int) -> float:
    """Milliseconds of one decision: a board is free, `jobs` wait."""
    return bench_live.matching_ms(boards, jobs)


async def measure(args: argparse.Namespace, server: str) -> list[dict[str, Any]]:
    """Everything, one after another."""
    rows: list[dict[str, Any]] = []

    def note(what: str, unit: str, ours: float, peer: float | None, target: str) -> None:
        rows.append({"what": what, "unit": unit, "lutlab": ours, "eventsourcing": peer, "target": target})
        print(f"  {what}: {ours:,.1f} {unit}" + (f", eventsourcing {peer:,.1f}" if peer else ""), flush=True)

    for clients, wanted in ((8, "4x"), (64, "8x")):
        peer = Peer(await database(server), clients)
        theirs = await asyncio.to_thread(peer.append, clients, args.seconds)
        peer.close()
        note(f"durable append, {clients} clients", "1/s", await append(server, clients, args.seconds), theirs, wanted)
    url = await migrated(server)
    db = await asyncpg.connect(url)
    events = await bench_log.write(db, args.events)
    await db.close()
    peer_url = await database(server)
    peer = Peer(peer_url, 2)
    await asyncio.to_thread(peer.fill, args.events if args.peer_events is None else args.peer_events)
    note("stored event", "bytes", await event_bytes(url, OURS), await event_bytes(peer_url, THEIRS), "the same")
    gc.collect()
    theirs_wall, theirs_cpu = await asyncio.to_thread(peer.replay)
    peer.close()
    gc.collect()
    ours_wall, ours_cpu = await replay(url)
    note("replay, decode and fold", "events/s", ours_wall, theirs_wall, "3x, 250,000/s")
    note("replay, per second of processor", "events/s", ours_cpu, theirs_cpu, "")
    note(f"start with {events:,} events", "s", await bench_live.start_s(url), None, "< 10 s")
    for name, value, target in await bench_live.latencies(await migrated(server), args.seconds):
        note(name, "ms", value, None, target)
    note("decision, 2,000 boards, 50,000 jobs", "ms", matching(2000, 50_000), None, "< 50 ms")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """For a person."""
    lines = [f"{'':42} {'lutlab':>12} {'peer':>12} {'ratio':>7}  target"]
    for row in rows:
        peer = row["eventsourcing"]
        ratio = f"{row['lutlab'] / peer:.1f}x" if peer else ""
        shown = f"{peer:,.0f}" if peer else ""
        name = f"{row['what']} ({row['unit']})"
        lines.append(f"{name:42} {row['lutlab']:>12,.1f} {shown:>12} {ratio:>7}  {row['target']}")
    return "\n".join(lines)


def main() -> int:
    """Parse, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each rate (%(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="of either log (%(default)s)")
    parser.add_argument("--peer-events", type=int, help="of the peer's log, if it is to have fewer")
    parser.add_argument("--json", type=Path, default=Path("bench-ledger.json"))
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    gc.set_threshold(*GC_THRESHOLDS)
    load = os.getloadavg()[0]
    with postgres() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(measure(args, server))
    print(table(rows))
    print(f"{os.cpu_count()} processors, load {load:.1f} before and {os.getloadavg()[0]:.1f} after; fsync on")
    args.json.write_text(json.dumps({"rows": rows, "load": [load, os.getloadavg()[0]]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
