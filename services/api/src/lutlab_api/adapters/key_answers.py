"""Answers agents whether a key is still good: they serve TCP bridges that were opened with it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_api.domain.errors import Unavailable
from lutlab_events import subjects
from lutlab_events.busmsg import KeyAnswer

log = structlog.get_logger(__name__)

QUEUE = "api"
"""One process of a lab's APIs answers a question."""
PENDING_MAX = 1024
NAME_BYTES_MAX = 200


class KeyAnswers:
    """Answers on a connection.

    Attributes:
        refusal: why the key with this name is no longer good, None while it is. Raises: Unavailable.
    """

    def __init__(self, *, site: str) -> None:
        self.refusal: Callable[[str], Awaitable[str | None]] | None = None
        self._subject = subjects.key_question(site)

    async def subscribe(self, client: Client) -> None:
        """Answer on a connection; it goes on after it was interrupted."""

        async def answer(message: Msg) -> None:
            if self.refusal is None:
                return
            try:
                refused = await self.refusal(message.data[:NAME_BYTES_MAX].decode(errors="replace"))
                await message.respond(msgspec.json.encode(KeyAnswer(refused=refused or "")))
            except (Unavailable, nats.errors.Error) as error:  # whoever asks goes on, and asks again
                log.warning("key_question_unanswered", reason=str(error))

        with contextlib.suppress(nats.errors.Error):
            await client.subscribe(self._subject, QUEUE, cb=answer, pending_msgs_limit=PENDING_MAX)
