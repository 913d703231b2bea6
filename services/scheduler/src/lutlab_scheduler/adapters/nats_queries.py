"""Answers to the questions of `lutlab_events.queries`, by whoever leads."""

from __future__ import annotations

import asyncio

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import codec, queries
from lutlab_scheduler.adapters.nats_bus import translated
from lutlab_scheduler.app.inspect import state_at
from lutlab_scheduler.app.ports import BusUnavailable, History, StoreUnavailable, Unstorable

log = structlog.get_logger(__name__)

QUERIES = f"qry.*.{queries.STATE}"
PENDING_MAX = 64
"""How many questions may wait; the asker of one more is not answered and tries again."""


async def answer_queries(nc: Client, history: History) -> None:
    """Answer until cancelled. Raises: BusUnavailable."""

    async def answer(message: Msg) -> None:
        try:
            told = await state_at(history, queries.decode_state_query(message.data))
        except (codec.Undecodable, StoreUnavailable, Unstorable) as error:  # the last: a name no database can hold
            log.warning("query_failed", subject=message.subject, reason=str(error))
            told = queries.StateAnswer(stream="", error=str(error))
        try:
            with translated():
                await message.respond(queries.encode_state_answer(told, nc.max_payload))
        except BusUnavailable as error:
            log.info("query_unanswered", reason=str(error))

    with translated():
        subscription = await nc.subscribe(QUERIES, cb=answer, pending_msgs_limit=PENDING_MAX)
    try:
        await asyncio.Event().wait()
    finally:
        if not nc.is_closed:
            await subscription.unsubscribe()
