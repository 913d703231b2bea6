"""What every taker of work does with a message in hand: keep it alive, or put it aside for a person."""

from __future__ import annotations

import asyncio
import contextlib

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError

from lutlab_events import subjects

log = structlog.get_logger(__name__)

NATS_ERRORS = (nats.errors.Error, JetStreamError, OSError)
"""Every way in which talking to NATS can fail."""


async def keep_alive(message: Msg, *, every_s: float) -> None:
    """Tell the server again and again that the work is still being carried out; cancel it when it is done."""
    while True:
        await asyncio.sleep(every_s)
        with contextlib.suppress(*NATS_ERRORS):
            await message.in_progress()


async def bury(js: JetStreamContext, site: str, message: Msg) -> None:
    """Keep work that cannot be understood for a person to see, and take it off the queue."""
    try:
        where = {subjects.H_DEAD_SUBJECT: message.subject}
        await js.publish(subjects.dead(site, subjects.WORK.name), message.data, headers=where)
        await message.term()
    except NATS_ERRORS as error:
        log.warning("work_not_buried", error=repr(error))  # it comes again
