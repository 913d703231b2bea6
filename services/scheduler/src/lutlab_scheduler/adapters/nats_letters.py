"""Dead letters that others set aside on the stream, copied into Postgres, where they stay; and sent again if wished."""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, queries, subjects
from lutlab_scheduler.adapters.nats_bus import PUBLISH_TIMEOUT_S, translated
from lutlab_scheduler.adapters.nats_pull import pulling
from lutlab_scheduler.app.ports import BusUnavailable, Letters, StoreUnavailable

log = structlog.get_logger(__name__)

BATCH_MAX = 64
PENDING_MAX = 256
ACK_WAIT_S = 30.0
KEPT_ALREADY = frozenset({subjects.COMMANDS.name})
"""Origins whose letters the scheduler itself puts into Postgres, before it shows them on the stream."""
WISHES = f"qry.*.{queries.REPLAY}"
WISHES_MAX = 64
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


async def replay_letters(nc: Client, letters: Letters) -> None:
    """Send letters again as it is wished, until cancelled. Raises: BusUnavailable."""

    async def replay(message: Msg) -> None:
        try:
            error = await _send(nc, letters, queries.decode_replay_wish(message.data))
        except (codec.Undecodable, StoreUnavailable, BusUnavailable) as failure:
            error = str(failure)
        try:
            with translated():
                await message.respond(msgspec.json.encode(queries.ReplayAnswer(error=error)))
        except BusUnavailable as failure:
            log.info("replay_unanswered", reason=str(failure))

    with translated():
        subscription = await nc.subscribe(WISHES, cb=replay, pending_msgs_limit=WISHES_MAX)
    try:
        await asyncio.Event().wait()
    finally:
        if not nc.is_closed:
            await subscription.unsubscribe()


async def _send(nc: Client, letters: Letters, wish: queries.ReplayWish) -> str:
    """Publish a letter durably; why it was not, or "". Raises: StoreUnavailable, BusUnavailable."""
    letter = await letters.letter(wish.letter_id)
    if letter is None:
        return f"there is no dead letter {wish.letter_id}"
    if not subjects.is_of(letter.origin, letter.subject):  # whoever set it aside wrote the subject
        return f"{letter.subject!r} is no subject of {letter.origin}; such a letter is not sent"
    with translated():
        await nc.jetstream().publish(letter.subject, letter.data, timeout=PUBLISH_TIMEOUT_S)
    log.info("dead_letter_replayed", letter_id=str(wish.letter_id), subject=letter.subject)
    return ""
