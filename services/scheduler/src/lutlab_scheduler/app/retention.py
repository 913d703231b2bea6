"""What is not kept for ever: job logs, blobs that nothing has needed for long, and blobs on their way through NATS.

Events and the answers to commands stay: they are the ledger, and the same key gets the same answer for ever. Logs and
blobs are by-products. They go some time after their job has ended, and only where nothing else speaks of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.ports import Attic, Blobs, BlobUnavailable, BusUnavailable, Clock, StoreUnavailable
from lutlab_scheduler.app.storage import Storage
from lutlab_scheduler.app.world import World

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
LOOK_EVERY_S = 60.0
"""How often to see whether NATS holds too many blobs: it refuses all of them once its bucket is full."""
ARRIVES_WITHIN = timedelta(minutes=10)
"""How long a builder may take between putting what it made into NATS and its report; else it is made again."""
UNSPOKEN_KEPT = timedelta(hours=1)
"""How long a blob is kept of which no job and no project speaks: until the command that brings it is decided."""
BEFORE_EVERYTHING = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 500
"""Jobs whose logs, or blobs, that go in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept; None for ever.

    Attributes:
        logs, blobs: how long after the end of their job, or after a project's file was replaced. The files of a project
            that was deleted, and what no job and no project speaks of, go after `UNSPOKEN_KEPT` in any case.
        transit_bytes: how much NATS may hold before what nobody needs now is taken away there.
    """

    logs: timedelta | None
    blobs: timedelta | None
    transit_bytes: int


async def keep_tidy(
    *,
    attic: Attic,
    blobs: Blobs,
    carrier: Carrier,
    world: World,
    clock: Clock,
    retention: Retention,
    storage: Storage,
) -> None:
    """Clear out every `EVERY_S`, and NATS whenever it holds too much, until cancelled."""
    for look in itertools.count(1):
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await make_room(blobs, carrier, world, clock, retention.transit_bytes)
            if look % (EVERY_S // LOOK_EVERY_S) == 0 and await clear_out(attic, clock, retention):
                storage.forget()
        except (StoreUnavailable, BusUnavailable) as error:
            log.warning("clearing_out_failed", reason=str(error))


async def make_room(blobs: Blobs, carrier: Carrier, world: World, clock: Clock, bytes_max: int) -> None:
    """Take from NATS what nobody needs now, if it holds too much. Raises: StoreUnavailable, BusUnavailable."""
    if await blobs.stored_bytes() <= bytes_max:
        return
    count = 0
    with carrier.watching() as asked:
        # Looked at once, and first: what is put, or asked for, after this stays.
        found = await blobs.listed()
        if sum(blob.size_bytes for blob in found) <= bytes_max:
            return
        since = clock.now() - ARRIVES_WITHIN
        # A builder puts what it made, and then reports it; until that is archived, it is nowhere else.
        arriving = await carrier.arriving({blob.digest for blob in found if blob.put_at >= since})
        files = await needed_files(world, carrier)
        kept = needed(world) | files | arriving
        for blob in found:
            if blob.digest not in kept and await carrier.take_out(blob.digest, asked):
                count += 1
    if count:
        log.info("room_made", blobs=count)


async def clear_out(attic: Attic, clock: Clock, retention: Retention) -> int:
    """Forget what has been kept long enough; how many blobs that were. Raises: StoreUnavailable."""
    now = clock.now()
    if retention.logs is not None:
        await _all_of("logs", partial(attic.forget_logs, now - retention.logs))
    before = BEFORE_EVERYTHING if retention.blobs is None else now - retention.blobs
    kept = UNSPOKEN_KEPT if retention.blobs is None else min(UNSPOKEN_KEPT, retention.blobs)
    return await _all_of("blobs", partial(attic.forget_blobs, before, kept))


async def _all_of(what: str, forget: Callable[[int], Awaitable[int]]) -> int:
    total, count = 0, BATCH
    while count >= BATCH:
        count = await forget(BATCH)
        total += count
        if count:
            log.info("forgotten", what=what, count=count)
    return total


def needed(world: World) -> frozenset[str]:
    """Digests of what builders and agents may ask NATS for now."""
    wanted: set[str | None] = set()
    for job in world.open_jobs():
        wanted.add(job.bitstream.digest if job.bitstream else job.source_digest)
    for board in world.boards():
        base = world.base(board.profile)
        wanted |= {bits.digest for bits in (base, board.loaded) if bits}
        wanted |= {board.loading.bitstream.digest} if board.loading and board.loading.bitstream else set()
        wanted |= {board.session.bitstream.digest} if board.session else set()
    return frozenset(digest for digest in wanted if digest)


async def needed_files(world: World, carrier: Carrier) -> frozenset[str]:
    """Digests of the files that open verification jobs work on. Raises: StoreUnavailable."""
    wanted: set[str] = set()
    for files_digest in {job.files_digest for job in world.open_verifications()}:
        with contextlib.suppress(BlobUnavailable):  # its stage says so itself
            wanted |= {files_digest, *await carrier.files_of(files_digest)}
    return frozenset(wanted)
