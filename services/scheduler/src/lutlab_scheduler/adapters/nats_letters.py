"""Dead letters that others set aside on the stream, copied into Postgres, where they stay."""

from __future__ import annotations

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import subjects
from lutlab_scheduler.adapters.nats_bus import translated
from lutlab_scheduler.adapters.nats_pull import pulling
from lutlab_scheduler.app.ports import Letters

log = structlog.get_logger(__name__)

BATCH_MAX = 64
PENDING_MAX = 256
ACK_WAIT_S = 30.0
KEPT_ALREADY = frozenset({subjects.COMMANDS.name})
"""Origins whose letters the scheduler itself puts into Postgres, before it shows them on the stream."""
UNSAID = "its reader could not understand it"


async def keep_letters(nc: Client, letters: Letters) -> None:
    """Copy letters until cancelled; acknowledged once stored. Raises: BusUnavailable, StoreUnavailable."""
    async with pulling(
        nc,
        stream=subjects.DEAD.name,
        durable=subjects.DEAD_DURABLE,
        subject="dead.>",
        ack_wait_s=ACK_WAIT_S,
        batch_max=BATCH_MAX,
        max_ack_pending=PENDING_MAX,
    ) as pull:
        while True:
            for message in await pull.batch():
                await _keep(message, letters)
                with translated():
                    await message.ack()


async def _keep(message: Msg, letters: Letters) -> None:
    headers = message.headers or {}
    origin = message.subject.rpartition(".")[2]
    if origin in KEPT_ALREADY:
        return
    subject = headers.get(subjects.H_DEAD_SUBJECT, "")
    await letters.bury(origin, subject, message.data, headers.get(subjects.H_DEAD_REASON, UNSAID))
    log.warning("dead_letter_kept", origin=origin, subject=subject)
