"""Job logs from NATS into Postgres."""

from __future__ import annotations

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, subjects
from lutlab_events.work import LogChunk
from lutlab_scheduler.adapters.nats_bus import translated
from lutlab_scheduler.adapters.nats_pull import pulling
from lutlab_scheduler.app.logs import LogIngest
from lutlab_scheduler.app.ports import Letters, Unstorable

log = structlog.get_logger(__name__)

BATCH_MAX = 64
PENDING_MAX = 256
ACK_WAIT_S = 30.0


async def consume_logs(nc: Client, letters: Letters, ingest: LogIngest) -> None:
    """Ingest log chunks until cancelled; acknowledged once stored. Raises: BusUnavailable, StoreUnavailable."""
    async with pulling(
        nc,
        stream=subjects.LOGS.name,
        durable=subjects.LOG_DURABLE,
        subject="log.>",
        ack_wait_s=ACK_WAIT_S,
        batch_max=BATCH_MAX,
        max_ack_pending=PENDING_MAX,
    ) as pull:
        while True:
            messages = await pull.batch()
            try:
                await ingest.take([chunk for message in messages for chunk in await _decode(message, letters)])
            except Unstorable:
                for message in messages:
                    await _take_one(message, letters, ingest)
            for message in messages:
                with translated():
                    await message.ack()


async def _take_one(message: Msg, letters: Letters, ingest: LogIngest) -> None:
    """Store a chunk, or set it aside if it holds a value that no database can hold."""
    try:
        await ingest.take(await _decode(message, letters))
    except Unstorable as error:
        log.error("log_unstorable", subject=message.subject, reason=str(error))
        await letters.bury(subjects.LOGS.name, message.subject, message.data, str(error))


async def _decode(message: Msg, letters: Letters) -> list[LogChunk]:
    """The chunk; nothing after it was set aside."""
    try:
        return [codec.decode_log_chunk(message.data)]
    except codec.Undecodable as error:
        log.error("log_undecodable", subject=message.subject, reason=str(error))
        await letters.bury(subjects.LOGS.name, message.subject, message.data, str(error))
        return []
