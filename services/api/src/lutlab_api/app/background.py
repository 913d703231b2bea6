"""What runs beside the requests as long as the server does: a defect there must show, and not end it in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

AGAIN_S = 1.0


async def kept_running(name: str, run: Callable[[], Awaitable[None]], again_s: float = AGAIN_S) -> None:
    """Run something to its end; if it fails, say so and begin again, until cancelled."""
    while True:
        try:
            return await run()
        except Exception:
            log.exception("background_failed", task=name, again_in_s=again_s)
            await asyncio.sleep(again_s)
