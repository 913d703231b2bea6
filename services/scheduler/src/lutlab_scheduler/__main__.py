"""`lutlab-scheduler`: the only writer of the event log; matches jobs to boards, dispatches work, keeps deadlines.

Several may run on one database: one leads, the others stand by and take over when its connection to Postgres ends.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
import uvloop
from nats.aio.client import Client

from lutlab_events.codec import Undecodable
from lutlab_scheduler.adapters.gauges import Gauges
from lutlab_scheduler.adapters.nats_bus import NatsBlobs, NatsBus
from lutlab_scheduler.adapters.nats_commands import CommandConsumer
from lutlab_scheduler.adapters.nats_link import POSTPONED, NatsLink
from lutlab_scheduler.adapters.nats_sync import UnsafeSync
from lutlab_scheduler.adapters.postgres import PostgresLetters
from lutlab_scheduler.adapters.postgres_attic import PostgresAttic
from lutlab_scheduler.adapters.postgres_leader import Leadership, Ledger
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.checkpoints import keep_checkpoints
from lutlab_scheduler.app.dispatch import Dispatcher
from lutlab_scheduler.app.housekeeping import keep_house
from lutlab_scheduler.app.inside import Inside
from lutlab_scheduler.app.intake import Intake
from lutlab_scheduler.app.leases import Leases
from lutlab_scheduler.app.line import Line
from lutlab_scheduler.app.logs import LogIngest, note_of
from lutlab_scheduler.app.ports import AppendConflict, Clock, StoreUnavailable, first_reason
from lutlab_scheduler.app.postponed import Postponed
from lutlab_scheduler.app.retention import keep_tidy, make_room
from lutlab_scheduler.app.storage import Storage, instead
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.world import UnknownStream
from lutlab_scheduler.app.writer import Writer, recover
from lutlab_scheduler.collector import calm
from lutlab_scheduler.domain.machine import IllegalTransition
from lutlab_scheduler.settings import Settings
from lutlab_transport.clock import SteadyClock
from lutlab_transport.connection import connect
from lutlab_transport.ending import until_signal
from lutlab_transport.logging import setup_logging
from lutlab_transport.metrics import serve_metrics
from lutlab_transport.settings import explained, read
from lutlab_transport.tracing import start_tracing, stop_tracing

log = structlog.get_logger(__name__)

UNREADABLE = (
    "the log has an event that this version cannot read: a newer version wrote it, so start that one again, or the log "
    "is damaged (`lutlab audit verify`)"
)
RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Around:
    """What outlives a term of leadership."""

    nc: Client
    reconnected: asyncio.Event
    gauges: Gauges


async def serve(settings: Settings, clock: Clock | None = None) -> None:
    """Lead whenever possible, until cancelled."""
    reconnected, gauges = asyncio.Event(), Gauges()
    stop_metrics = serve_metrics(settings.scheduler_metrics_port, gauges.read)
    try:
        nc = await connect(
            settings.nats_url,
            name="lutlab-scheduler",
            nkey_seed_file=settings.nats_nkey_seed_file,
            token=settings.nats_token,
            reconnected=reconnected.set,
        )
        try:
            await _terms(settings, clock or SteadyClock(), Around(nc, reconnected, gauges))
        finally:
            await nc.close()
    finally:
        stop_metrics()


async def _terms(settings: Settings, clock: Clock, around: Around) -> None:
    """One term of leadership after another; each begins with what the log says."""
    ledger = Ledger(settings.database_url)
    attempt = 0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            # In a task of its own: before Python 3.13 a task group leaves its task marked as being cancelled.
            await asyncio.create_task(_lead(settings, clock, around, ledger))
        except* (StoreUnavailable, AppendConflict) as group:
            lasted_s = asyncio.get_running_loop().time() - began
            attempt = 0 if lasted_s > RETRY_WAITS_S[-1] else attempt + 1
            wait_s = RETRY_WAITS_S[min(attempt, len(RETRY_WAITS_S) - 1)]
            log.warning("term_ended", reason=first_reason(group), retry_in_s=wait_s)
        await asyncio.sleep(wait_s)


async def _lead(settings: Settings, clock: Clock, around: Around, ledger: Ledger) -> None:
    async with ledger.lead() as leadership:
        await _term(settings, clock, around, leadership)


async def _term(settings: Settings, clock: Clock, around: Around, leadership: Leadership) -> None:
    checkpoints = await leadership.shelf.kept()
    recovered = await recover(leadership.store, checkpoints)
    calm()
    world, rules = recovered.world, settings.rules()
    if isinstance(clock, SteadyClock):
        # Whoever led before may have had a clock ahead of ours; time in the log never runs back.
        for last in await leadership.store.read(recovered.head.position - 1, 1):
            clock.not_before(last.at)
    tail = Tail(leadership.store, recovered.head.position)
    storage = Storage()
    writer = Writer(store=leadership.store, recovered=recovered, tail=tail, rules=rules, clock=clock, storage=storage)
    inside = Inside(writer, site=settings.site, clock=clock)
    leases = Leases(lease=timedelta(seconds=settings.agent_lease_s), clock=clock)
    nc = around.nc
    bus, blobs = NatsBus(nc), NatsBlobs(nc)
    letters = PostgresLetters(leadership.pool, clock)
    carrier = Carrier(leadership.archive, blobs)
    intake = Intake(leadership.archive, blobs, carrier, lambda body: instead(body, world, storage, rules))
    ingest = LogIngest(leadership.archive, bytes_max=settings.job_log_bytes_max)
    postponed = Postponed(
        clock=clock,
        owe=partial(leadership.positions.keep, POSTPONED),
        make_room=lambda: make_room(blobs, carrier, world, clock, 0),
    )
    dispatcher = Dispatcher(
        world=world,
        bus=bus,
        carrier=carrier,
        inside=inside,
        rules=rules,
        postponed=postponed,
        line=Line(clock),
        tell=lambda job, line: ingest.take([note_of(job, line, clock.now())]),
    )
    link = NatsLink(
        nc=nc,
        bus=bus,
        commands=CommandConsumer(nc=nc, bus=bus, intake=intake, writer=writer, site=settings.site, letters=letters),
        ingest=ingest,
        dispatcher=dispatcher,
        postponed=postponed,
        carrier=carrier,
        leases=leases,
        positions=leadership.positions,
        tail=tail,
        world=world,
        letters=letters,
        history=leadership.history,
        reconnected=around.reconnected,
        replicas=settings.nats_replicas,
        monitor_url=settings.nats_monitor_url,
        allow_unsafe_sync=settings.allow_unsafe_sync,
    )
    log.info("leading", position=recovered.head.position, boards=len(world.boards()), open_jobs=len(world.open_jobs()))
    with around.gauges.leading(world, tail):
        house = keep_house(tail, world, inside, leases, clock, boards_max=rules.owner_boards_max)
        attic = PostgresAttic(leadership.pool)
        tidy = keep_tidy(
            attic=attic,
            blobs=blobs,
            carrier=carrier,
            world=world,
            clock=clock,
            retention=settings.retention(),
            storage=storage,
        )
        await _work(leadership, writer, link, house, tidy, keep_checkpoints(world, leadership.shelf, checkpoints))


async def _work(leadership: Leadership, writer: Writer, link: NatsLink, *keeping: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leadership.watch())
        tasks.create_task(writer.run())
        tasks.create_task(link.run())
        for chore in keeping:
            tasks.create_task(chore)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="lutlab-scheduler",
        description="The only writer of the event log; matches jobs to boards, dispatches work,\n"
        "keeps deadlines. Several may run on one database: one leads, the others stand by\n"
        "and take over when its connection to Postgres ends.",
        epilog=explained(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    settings = read(Settings, "lutlab-scheduler")
    setup_logging("scheduler", level=settings.log_level)
    start_tracing("scheduler", settings.otlp_endpoint)
    refusal = ""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_signal(serve(settings)))
    except* UnsafeSync as group:
        refusal = first_reason(group)
    except* (Undecodable, UnknownStream, IllegalTransition) as group:
        refusal = f"{UNREADABLE}: {first_reason(group)}"
    finally:
        stop_tracing()
    if refusal:
        sys.exit(f"lutlab-scheduler: {refusal}")


if __name__ == "__main__":
    main()
